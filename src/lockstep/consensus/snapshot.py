"""What a driver must find again after a crash so as never to sign twice [D2, 2.6].

The journal's owner makes it durable before a signed message leaves, and hands it back on restart.
"""

from msgspec import Struct

from lockstep.consensus.rounds import NO_ROUND, SendPrecommit, SendPrevote, SendProposal
from lockstep.errors import Fatal


class SnapshotContradiction(Fatal):
    """What the journal says we signed at this height cannot have been signed together."""

    code = "consensus.snapshot_contradiction"


class DriverSnapshot(Struct, frozen=True):
    """All a restart needs of an undecided height [D2].

    `round` is the lowest round that may still be signed in; the three messages are those signed in
    it. What was signed below needs no memory here, for no round is ever entered again. The polka of
    the valid value must be durable with it: a re-proposal carries it [T10].
    """

    round: int = 0
    proposal: SendProposal | None = None
    prevote: SendPrevote | None = None
    precommit: SendPrecommit | None = None
    locked_value: bytes | None = None
    locked_round: int = NO_ROUND
    valid_value: bytes | None = None
    valid_round: int = NO_ROUND


def check_snapshot(snapshot: DriverSnapshot) -> None:
    """Refuse what no driver can have signed [D2].

    Raises:
        SnapshotContradiction: If lock, valid value and signed messages do not fit together.
    """
    signed = (snapshot.proposal, snapshot.prevote, snapshot.precommit)
    if any(message is not None and message.round != snapshot.round for message in signed):
        raise SnapshotContradiction("a signed message is of another round than the snapshot")
    if not snapshot.locked_round <= snapshot.valid_round <= snapshot.round:
        raise SnapshotContradiction("the lock is newer than the valid value or the round")
    precommit = snapshot.precommit
    if precommit is not None and precommit.value is not None:
        locked = (snapshot.locked_value, snapshot.locked_round)
        if locked != (precommit.value, precommit.round):
            raise SnapshotContradiction("a precommit for a block was signed without its lock")
