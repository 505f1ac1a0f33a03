"""Everything a replica can ask for: effects, the stages they are carried out in, records, notices.

An effect never answers. Disk first, then peers and timers, then our own listeners: a message leaves
only when its record and every earlier one are synced [F5, D1].
"""

from enum import IntEnum
from typing import ClassVar

from msgspec import Struct

from lockstep.ledger.blocks import AssembledBlock, make_block
from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import Ballot, CommitCertificate, Proposal
from lockstep.primitives.evidence import Evidence, Subject
from lockstep.primitives.ids import Counter, Hash, SignedRound
from lockstep.primitives.messages import DecidedBlock, Message, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote
from lockstep.replica.events import Timer


class Stage(IntEnum):
    """The order in which effects of one step are carried out."""

    PERSIST = 0
    SEND = 1
    NOTIFY = 2


class BatchHeld(Struct, frozen=True, array_like=True, tag=1):
    """A batch body to keep until it is dropped; `faults` are positions with a bad witness [B3]."""

    batch_id: Hash
    body: bytes
    faults: tuple[tuple[int, str], ...]


class OwnVote(Struct, frozen=True, array_like=True, tag=2):
    """This node's Vote: the locks it stands for are held until the epoch closes [F1]."""

    vote: Vote


class OwnConfirm(Struct, frozen=True, array_like=True, tag=3):
    """This node's Confirm with the Votes that make up its certificates [F3]."""

    confirm: Vote
    certificate: tuple[Vote, ...]


class QuorumConfirmed(Struct, frozen=True, array_like=True, tag=4):
    """The Confirms of others on which something is called final [F4]."""

    confirms: tuple[Vote, ...]


class RoundSigned(Struct, frozen=True, array_like=True, tag=5):
    """What this node signed in a round, and the driver's lock and valid value with it [2.6].

    `message` is the proposal or the ballot about to be sent; `block` is the proposed block where it
    was not recorded before; `polc` the prevotes behind a lock.
    """

    height: Counter
    round: Counter
    proposal: Proposal | None
    ballot: Ballot | None
    locked_round: SignedRound
    locked_value: Hash | None
    valid_round: SignedRound
    valid_value: Hash | None
    block: ProposalMessage | None
    polc: tuple[Ballot, ...]


class BlockDecided(Struct, frozen=True, array_like=True, tag=6):
    """A decision as one write: block, certificate, coins, state, and what ends with it [T8].

    `freeze` is this node's own FREEZE when the next height is closing [T5]. When `closes_epoch`,
    all earlier journal records but evidence are over; `dropped_batches` are the batches nothing
    pending stands in, `dropped_evidence` what the chain has used or will take no more [N4].
    """

    block: AssembledBlock
    certificate: CommitCertificate
    delta: CoinDelta
    state: ChainState
    freeze: Freeze | None
    closes_epoch: bool
    dropped_batches: tuple[bytes, ...]
    dropped_evidence: tuple[Subject, ...] = ()

    @property
    def decided(self) -> DecidedBlock:
        """Return block and certificate as they are sent; every transaction is decoded for it."""
        return DecidedBlock(make_block(self.block), self.certificate)


class EvidenceHeld(Struct, frozen=True, array_like=True, tag=7):
    """A piece of evidence to keep until it is dropped; it replaces one of the same subject [N4]."""

    evidence: Evidence


class OwnFreeze(Struct, frozen=True, array_like=True, tag=16):
    """This node's FREEZE where it could not sign it with the decision below [T5, D3]."""

    freeze: Freeze


class AmnesiaNoted(Struct, frozen=True, array_like=True, tag=17):
    """The journal lacks what the key has signed: nothing is signed through `last_epoch` [D3].

    It is None as long as too few peers have said how far the network is.
    """

    last_epoch: Counter | None


class AmnesiaEnded(Struct, frozen=True, array_like=True, tag=18):
    """The silence is over: from here on the journal holds all that the key signs [D3]."""


Record = (
    BatchHeld
    | OwnVote
    | OwnConfirm
    | QuorumConfirmed
    | RoundSigned
    | BlockDecided
    | EvidenceHeld
    | OwnFreeze
    | AmnesiaNoted
    | AmnesiaEnded
)


class TransactionsAccepted(Struct, frozen=True):
    """These payments are held durably and will be voted on; `voted` tells which already were."""

    txids: tuple[bytes, ...]
    voted: tuple[bool, ...]


class TransactionsRefused(Struct, frozen=True):
    """These payments were refused: (txid, code, sentence) each."""

    refusals: tuple[tuple[bytes, str, str], ...]


class TransactionsFinal(Struct, frozen=True):
    """These payments are final by Confirms of quorum weight, in this order [F4].

    `weight` is the least weight behind any of them; `confirms` the messages, for a recount.
    """

    txids: tuple[bytes, ...]
    epoch: int
    weight: int
    confirms: tuple[Vote, ...]


class TransactionsDropped(Struct, frozen=True):
    """These payments can never be valid again: another transaction spent their coins [T8]."""

    txids: tuple[bytes, ...]
    code: str


class BlockAdded(Struct, frozen=True):
    """A block is decided and synced; its payments are final by it [F4]."""

    height: int
    block_id: bytes
    epoch: int
    closing: bool
    time_ms: int
    txids: tuple[bytes, ...]
    round: int
    by_sync: bool


class Alarm(Struct, frozen=True):
    """Something that must never happen was seen; people are to look."""

    code: str
    sentence: str


class VotingChanged(Struct, frozen=True):
    """This node has begun to sign, or knows now in which epoch it may [D3]."""

    is_voting: bool
    sentence: str


Notice = (
    TransactionsAccepted
    | TransactionsRefused
    | TransactionsFinal
    | TransactionsDropped
    | BlockAdded
    | Alarm
    | VotingChanged
)


class Persist(Struct, frozen=True):
    """Write the record, synced, before anything of a later stage."""

    stage: ClassVar[Stage] = Stage.PERSIST
    record: Record


class Broadcast(Struct, frozen=True):
    """Send to every connected peer.

    What is free says nothing of this node's own, as the body of a batch: it waits for no record.
    """

    stage: ClassVar[Stage] = Stage.SEND
    message: Message
    is_free: bool = False


class Send(Struct, frozen=True):
    """Send to one peer, if it is still connected."""

    stage: ClassVar[Stage] = Stage.SEND
    peer: bytes
    message: Message


class ServeBlock(Struct, frozen=True):
    """Read one page of a decided block and send it to the peer; nothing if it is not there."""

    stage: ClassVar[Stage] = Stage.SEND
    peer: bytes
    height: int
    page: int


class SetTimer(Struct, frozen=True):
    """Post TimerFired(timer) after the delay; setting the same timer again replaces it."""

    stage: ClassVar[Stage] = Stage.SEND
    timer: Timer
    delay_ms: int


class Penalise(Struct, frozen=True):
    """The peer did something no honest node does; `code` says what."""

    stage: ClassVar[Stage] = Stage.SEND
    peer: bytes
    code: str


class Notify(Struct, frozen=True):
    """Tell our own listeners."""

    stage: ClassVar[Stage] = Stage.NOTIFY
    notice: Notice


Effect = Persist | Broadcast | Send | ServeBlock | SetTimer | Penalise | Notify
