"""The sum of the coins is folded beside the votes, and a restart finds all that it needs [S1]."""

from itertools import pairwise

import pytest

from building import sum_coins
from lockstep.ledger.folding import CoinFolding
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.replica import summing
from lockstep.replica.core import Core
from lockstep.replica.effects import Effect, SetTimer
from lockstep.replica.events import Event, Timer, TimerFired, TimerKind
from lockstep.replica.summing import ChangesMissing
from unit.replica.cluster import Cluster, Node

FOLD = Timer(TimerKind.FOLD)


def paid_cluster(height: int) -> Cluster:
    """Return nodes of epochs of four blocks that paid on their way to a height."""
    cluster = Cluster(coins=12)
    for index in range(9):
        cluster.submit(index % 4, cluster.pay_coin(index))
        cluster.run(300)
    cluster.run_to_height(height)
    return cluster


def test_slices_come_by_a_timer_until_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """[S1] No step folds more than a slice, and it is done long before it is needed."""
    monkeypatch.setattr(summing, "FOLD_SLICE", 2)
    folded: list[int] = []
    fold = CoinFolding.fold

    def count(self: CoinFolding, limit: int) -> None:
        before = self.due
        fold(self, limit)
        folded.append(before - self.due)

    monkeypatch.setattr(CoinFolding, "fold", count)
    cluster = Cluster(coins=12)
    fired: list[int] = []

    def note(node: Node, event: Event, effects: list[Effect]) -> None:
        asked = any(isinstance(e, SetTimer) and e.timer == FOLD for e in effects)
        if isinstance(event, TimerFired) and event.timer == FOLD:
            fired.append(node.index)
            assert asked == node.core.folding.has_work
        elif asked:
            assert node.core.folding.due > 0

    cluster.on_step = note
    for index in range(9):
        cluster.submit(index % 4, cluster.pay_coin(index))
        cluster.run(300)
    cluster.run_to_height(8)
    cluster.run(500)
    assert max(folded) == 2
    assert {0, 1, 2, 3} == set(fired)
    assert all(node.core.folding.due == 0 for node in cluster.nodes)


@pytest.mark.parametrize("height", [3, 5, 8, 10])
def test_a_restart_goes_on_with_the_same_sum(height: int) -> None:
    """[S1, D2] In the first epoch, in later ones, and at their ends."""
    cluster = paid_cluster(height)
    node = cluster.nodes[2]
    assert node.core.state.height >= height
    settled = node.core.folding.settled()
    cluster.crash(2)
    cluster.start(2)
    assert node.core.folding.settled() == settled
    cluster.run_to_height(height + 5, limit_ms=30_000)
    node.core.folding.close()
    assert node.core.folding.settled() == sum_coins(node.disk.coins)


def test_a_gap_in_what_was_kept_stops_the_node() -> None:
    """[D2] Else it would judge the next closing block by another sum."""
    cluster = paid_cluster(6)
    node = cluster.nodes[1]
    cluster.crash(1)
    heights = sorted(node.disk._spent)
    del node.disk._spent[heights[1]]
    with pytest.raises(ChangesMissing):
        cluster.start(1)


def test_synced_blocks_share_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """[S1, T9] A node that catches up folds with each block, not all at the closing one."""
    monkeypatch.setattr(summing, "FOLD_PAUSE_MS", 10**9)
    cluster = Cluster(coins=12, closing_every=8)
    cluster.run_to_height(1)
    cluster.crash(3)
    for index in range(12):
        cluster.submit(index % 3, cluster.pay_coin(index))
        cluster.run(50)
    cluster.run_to_height(15)
    folded: list[int] = []
    fold = CoinFolding.fold

    def count(self: CoinFolding, limit: int) -> None:
        before = self.due
        fold(self, limit)
        if self is cluster.nodes[3].core.folding and before != self.due:
            folded.append(before - self.due)

    monkeypatch.setattr(CoinFolding, "fold", count)
    cluster.start(3)
    cluster.run_until(lambda: cluster.nodes[3].core.state.height >= 15)
    assert cluster.nodes[3].core.folding.due == 0
    # The first shares may go into what cancels out, which folds nothing yet.
    assert len(folded) >= 6
    assert max(folded) <= 2 * min(folded)


def test_what_an_epoch_leaves_is_freed_beside_its_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """[S1, T8] Slice by slice, not in the step of the decision."""
    monkeypatch.setattr(summing, "FOLD_SLICE", 2)
    cluster = Cluster(coins=12, closing_every=4)
    for index in range(12):
        cluster.submit(index % 3, cluster.pay_coin(index))
        cluster.run(50)
    core = cluster.nodes[0].core
    cluster.run_until(lambda: core.state.epoch == 1)
    left: list[int] = [_count_outlived(core)]
    assert left[0] > 20
    while left[-1]:
        cluster.run(summing.FOLD_PAUSE_MS)
        assert core.state.epoch == 1
        left.append(_count_outlived(core))
    assert all(0 <= before - after <= 4 for before, after in pairwise(left))


def _count_outlived(core: Core) -> int:
    """Return the number of payments and rows that are to be freed yet."""
    return sum(len(h.txids) if isinstance(h, VerifiedBatch) else len(h) for h in core.outlived)


def test_slices_grow_where_the_clock_brings_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """[S1] Timers that come late must not leave the sum to the closing block."""
    monkeypatch.setattr(summing, "FOLD_SLICE", 1)
    monkeypatch.setattr(summing, "FOLD_PAUSE_MS", 300)
    cluster = Cluster(coins=24, closing_every=20)
    core = cluster.nodes[0].core
    for index in range(24):
        cluster.submit(index % 4, cluster.pay_coin(index))
        cluster.run(50)
    cluster.run_until(lambda: core.state.epoch == 1)
    due = core.folding.due_at_close
    assert due > 40
    cluster.run_to_height(35)
    assert core.folding.due == 0
    assert core.fold_slice > 1
