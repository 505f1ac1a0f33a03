"""Bugs planted into Votes, Confirms and their counting [F1-F4, B4, M2]."""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from lockstep.consensus.finality import TransactionFinality
from lockstep.consensus.tally import BatchTally
from lockstep.primitives.committee import Committee
from lockstep.primitives.votes import VoteKind
from lockstep.replica import exchange, tx_path, voting
from planted.patching import Patch


def quorum_of_half(patch: Patch) -> None:
    """Take half of the weight for a quorum [M1]."""
    make = Committee.__init__

    def init(committee: Committee, members: Iterable[Any]) -> None:
        make(committee, members)
        committee.quorum = committee.total_weight // 2

    patch.setattr(Committee, "__init__", init)


def quorum_of_votes_received(patch: Patch) -> None:
    """Take two thirds of the votes that came for a quorum, not of the set's weight [M1]."""
    count = BatchTally.count

    def counted(tally: Any, vote: Any, bits: int, *, member_index: int, weight: int) -> int:
        heard = {index for kind, index in tally._seen if kind == vote.kind} | {member_index}
        tally._planes[vote.kind]._threshold = 2 * len(heard) // 3 + 1
        return count(tally, vote, bits, member_index=member_index, weight=weight)

    patch.setattr(BatchTally, "count", counted)


def quorum_of_heads(patch: Patch) -> None:
    """Count members, not their weight [M1]."""
    count, make = BatchTally.count, BatchTally.__init__

    def counted(tally: Any, vote: Any, bits: int, *, member_index: int, weight: int) -> int:
        return count(tally, vote, bits, member_index=member_index, weight=weight and 1)

    def init(tally: Any, batch_id: bytes, txids: Any, quorum: int) -> None:
        make(tally, batch_id, txids, 3)

    patch.setattr(BatchTally, "count", counted)
    patch.setattr(BatchTally, "__init__", init)


def repeated_vote_counted(patch: Patch) -> None:
    """Count a member's vote as often as it comes [B4]."""
    count = BatchTally.count

    def counted(tally: Any, vote: Any, bits: int, *, member_index: int, weight: int) -> int:
        tally._seen.pop((vote.kind, member_index), None)
        return count(tally, vote, bits, member_index=member_index, weight=weight)

    patch.setattr(BatchTally, "count", counted)


def certificate_of_one_vote(patch: Patch) -> None:
    """Confirm and include what a single member voted for [F2]."""
    make = BatchTally.__init__

    def init(tally: Any, batch_id: bytes, txids: Any, quorum: int) -> None:
        make(tally, batch_id, txids, quorum)
        tally._planes[VoteKind.VOTE]._threshold = 1

    patch.setattr(BatchTally, "__init__", init)


def no_lock(patch: Patch) -> None:
    """Vote for whatever comes [F1]."""
    patch.setattr(TransactionFinality, "lock", lambda *_: True)


def lock_dropped_by_timer(patch: Patch) -> None:
    """Give the locks free when a height takes long, and vote again [F1]."""
    on_resend_timer = exchange.on_resend_timer

    def resend(core: Any, timer: Any) -> None:
        on_resend_timer(core, timer)
        core.finality._locks = {}
        voting.vote_on(core, core.pool.waiting())

    patch.setattr(exchange, "on_resend_timer", resend)


def vote_without_epoch(patch: Patch) -> None:
    """Count what was said in the epoch before as if it were said in this one [M2]."""
    on_vote = tx_path.on_vote

    def vote(core: Any, peer: bytes, message: Any) -> None:
        if message.epoch == core.state.epoch - 1:
            message = replace(message, epoch=core.state.epoch)
        on_vote(core, peer, message)

    patch.setattr(tx_path, "on_vote", vote)
