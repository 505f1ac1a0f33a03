"""The sum of the coins, folded beside the votes in short slices [S1].

A closing block commits to the coins above the closing block before it, so there is an epoch's time
to fold in what the epoch before has changed; a node that has not finished finishes then.
"""

from collections.abc import Iterable
from typing import Final

from lockstep.errors import Fatal
from lockstep.ledger.blocks import is_closing_height
from lockstep.ledger.coins import CoinDelta
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.replica.core import Core
from lockstep.replica.events import TimerKind

FOLD_SLICE: Final = 100
"""The least number of changes folded in one step: some tenths of a millisecond."""
SLICES_AN_EPOCH: Final = 200
"""Into so many slices a long epoch's changes are cut, so that they are done in half of the next.

All nodes begin at once: where they share processors, votes would wait for the slices of them all.
"""
FOLD_PAUSE_MS: Final = 10
"""Between two slices."""


class ChangesMissing(Fatal):
    """The blocks' changes of coins that the database kept do not reach from the sum to the tip."""

    code = "journal.changes"
    hint = "keep the directory for study, and let a node with a new key sync anew"


def follow(core: Core, delta: CoinDelta, *, by_sync: bool) -> None:
    """Gather what a decided block changed; where it ends an epoch, that epoch's changes are due.

    The core's state is the one above the block. Synced blocks come faster than slices, so each
    brings its share of what is due, lest the closing block bring all.
    """
    was_folding = core.folding.has_work
    core.folding.add(delta)
    if is_closing_height(delta.height, core.genesis.closing_every):
        core.folding.close()
        core.fold_slice = core.folding.due // SLICES_AN_EPOCH
    elif by_sync:
        core.folding.fold(-(-core.folding.due // (core.closing_height - delta.height)))
    elif _is_late(core):
        # Where the loop is busy the timer comes late, and slices are fewer than they should be.
        core.fold_slice = 2 * max(FOLD_SLICE, core.fold_slice)
    if not was_folding:
        fold_later(core)


def fold_later(core: Core) -> None:
    """Let the clock bring the next slice, if there is one."""
    if core.folding.has_work or core.outlived:
        core.set_timer(TimerKind.FOLD, FOLD_PAUSE_MS)


def on_fold_timer(core: Core) -> None:
    """Fold a slice in, and free some of what ended with the epoch that is folded."""
    limit = max(FOLD_SLICE, core.fold_slice)
    core.folding.fold(limit)
    _free(core, limit)
    fold_later(core)


def _is_late(core: Core) -> bool:
    """Tell whether more is due than should be at this height, to be done in half of the epoch."""
    folding, every = core.folding, core.genesis.closing_every
    passed = every - (core.closing_height - core.state.height)
    return folding.due * every > folding.due_at_close * max(0, every - 2 * passed)


def _free(core: Core, limit: int) -> None:
    """Free some of what ended with an epoch: payments of batches, and rows of what they were in."""
    while limit > 0 and core.outlived:
        held = core.outlived[0]
        if isinstance(held, VerifiedBatch):
            limit -= len(held.txids)
            core.outlived.popleft()
            continue
        for _ in range(min(limit, len(held))):
            held.popitem()
            limit -= 1
        if not held:
            core.outlived.popleft()


def recall(core: Core, deltas: Iterable[CoinDelta]) -> None:
    """Gather again what the blocks changed above the height whose sum the state has [D2].

    Raises:
        ChangesMissing: If the deltas are not of all these heights, in order.
    """
    height = core.state.summed_height
    for delta in deltas:
        height += 1
        if delta.height != height:
            break
        core.folding.add(delta)
        if is_closing_height(height, core.genesis.closing_every):
            core.folding.close()
    if height != core.state.height:
        raise ChangesMissing(f"the changes of height {height} are not those that were kept")
