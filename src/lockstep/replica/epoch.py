"""From one epoch to the next: what is dropped, and what is tried anew [T8, M4]."""

from lockstep.consensus.finality import TransactionFinality
from lockstep.primitives.bitmap import collect_bits
from lockstep.primitives.evidence import spent_outpoints
from lockstep.primitives.messages import Status
from lockstep.primitives.votes import Vote
from lockstep.replica.core import Core
from lockstep.replica.quotas import BatchQuotas


def enter_epoch(core: Core) -> tuple[bytes, ...]:
    """Drop locks, confirmations, votes and certificates of the old epoch.

    The core's state is the new epoch's already. Batches in which nothing is pending any more are
    dropped too; their ids are returned. The caller votes anew on what is left.
    """
    pool = core.pool
    dropped = tuple(
        batch_id for batch_id, batch in core.batches.items() if not pool.holds_any(batch.txids)
    )
    # To free an epoch's objects takes tens of milliseconds, so it is done in slices (`summing`).
    core.outlived.clear()
    core.outlived.extend(core.batches.pop(batch_id) for batch_id in dropped)
    core.outlived.extend(core.finality.indices())
    pool.clear_votes()
    for entry in pool:
        entry.waiting = ""
    core.unconfirmed = {}
    core.durable = {}
    core.spoilt = {}
    core.reached.clear()
    core.conflicts.clear()
    core.fetches.enter_epoch()
    core.quotas = BatchQuotas()
    before = core.finality.batches
    core.finality = TransactionFinality(core.state.epoch, core.committee)
    for batch in core.batches.values():
        core.note(core.finality.add_batch(batch.batch_id, batch.txids, spent_outpoints(batch)))
        core.note_copies(batch)
        included = before[batch.batch_id].included
        core.finality.batches[batch.batch_id].included = included | collect_bits(
            position
            for position, entry in enumerate(pool.get_all(batch.txids))
            if entry is None
            and not included >> position & 1
            and core.overlay.height_of(batch.txids[position]) is not None
        )
    return dropped


def make_status(core: Core) -> Status:
    """Return what this node says of its chain to its peers [T9]."""
    return Status(core.state.height, core.state.block_id, core.state.epoch)


def own_votes(core: Core) -> list[Vote]:
    """Return our Votes and Confirms of this epoch for what is not in the chain [T10]."""
    if core.own_id is None:
        return []
    found: dict[bytes, Vote] = {}
    for tally in core.finality.batches.values():
        pending = (tally.own_voted | tally.own_confirmed) & ~tally.included
        if pending:
            for vote in tally.all_messages():
                if vote.voter == core.own_id:
                    found[vote.signature] = vote
    return list(found.values())
