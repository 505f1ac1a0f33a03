"""Everything that can happen to a replica: the Event union.

Signatures were checked by the ingress before an event is made of them; a time comes in with each
step. `peer` is the 32-byte node key that TLS proved, or None for what this node's own people
submitted.
"""

from enum import IntEnum

from msgspec import Struct

from lockstep.primitives.block import Ballot
from lockstep.primitives.evidence import Evidence
from lockstep.primitives.messages import (
    DecidedBlock,
    GetBatches,
    GetBlock,
    GetOwnWords,
    GetVotes,
    OwnWords,
    ProposalMessage,
    Status,
)
from lockstep.primitives.transaction import VerifiedBatch, VerifiedTransaction
from lockstep.primitives.votes import Freeze, Vote


class TimerKind(IntEnum):
    """What a timer is for; propose, prevote and precommit are the paper's time-outs [T1]."""

    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3
    NEXT_HEIGHT = 4
    RESEND = 5
    FETCH = 6
    CATCHUP = 7
    QUESTION = 8
    FOLD = 9


class Timer(Struct, frozen=True):
    """A named timer; one that fires late for its height or round is ignored."""

    kind: TimerKind
    height: int = 0
    round: int = 0


class Started(Struct, frozen=True):
    """The shell is up; recovery is done and messages may leave."""


class BatchReceived(Struct, frozen=True):
    """A batch whose bytes hash to its id and whose witnesses were judged [B1, B5]."""

    peer: bytes | None
    batch: VerifiedBatch


class VotesReceived(Struct, frozen=True):
    """Votes and Confirms of members, their signatures checked [B2]."""

    peer: bytes
    votes: tuple[Vote, ...]


class FreezeReceived(Struct, frozen=True):
    """A FREEZE of a member, its signature checked [T5]."""

    peer: bytes
    freeze: Freeze


class ProposalReceived(Struct, frozen=True):
    """A proposal; its signature, its POLC's and its carried certificate's were checked [T1].

    `inline` holds the verified transactions of the inline parts, in order.
    """

    peer: bytes
    message: ProposalMessage
    inline: tuple[VerifiedTransaction, ...]


class BallotsReceived(Struct, frozen=True):
    """Prevotes and precommits of members, their signatures checked [T1]."""

    peer: bytes
    ballots: tuple[Ballot, ...]


class RequestReceived(Struct, frozen=True):
    """A peer asks for something this node may hold."""

    peer: bytes
    request: GetBatches | GetVotes | GetBlock | GetOwnWords


class StatusReceived(Struct, frozen=True):
    """A peer says how far its chain goes."""

    peer: bytes
    status: Status


class EvidenceReceived(Struct, frozen=True):
    """A piece of evidence; what it says by itself was judged, signatures included [N4]."""

    peer: bytes
    evidence: Evidence


class OwnWordsReceived(Struct, frozen=True):
    """A peer's answer to what it holds of this node's key; every signature was checked [D3]."""

    peer: bytes
    words: OwnWords


class BlockFetched(Struct, frozen=True):
    """A decided block came by sync; certificate and witness signatures were checked [T9]."""

    peer: bytes
    decided: DecidedBlock
    transactions: tuple[VerifiedTransaction, ...]


class BlockFetchFailed(Struct, frozen=True):
    """A peer served a page that cannot be part of a good block, or none in time."""

    peer: bytes
    height: int


class PeerConnected(Struct, frozen=True):
    """A peer finished the handshake; messages reach it from now on."""

    peer: bytes


class PeerDisconnected(Struct, frozen=True):
    """A peer is gone."""

    peer: bytes


class TimerFired(Struct, frozen=True):
    """A timer asked for has run out."""

    timer: Timer


class Persisted(Struct, frozen=True):
    """All records up to this height's block are synced; the overlay may forget them."""

    height: int


Event = (
    Started
    | BatchReceived
    | VotesReceived
    | FreezeReceived
    | ProposalReceived
    | BallotsReceived
    | RequestReceived
    | StatusReceived
    | EvidenceReceived
    | OwnWordsReceived
    | BlockFetched
    | BlockFetchFailed
    | PeerConnected
    | PeerDisconnected
    | TimerFired
    | Persisted
)
