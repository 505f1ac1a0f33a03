"""Each fault by itself strikes, is counted, and is borne; a computer does what it stands for."""

from random import Random
from typing import Any

import pytest

from lockstep.replica.effects import BlockDecided
from lockstep.sim.clock import Clock
from lockstep.sim.computer import Computer
from lockstep.sim.disk import Disk
from lockstep.sim.options import Options
from lockstep.sim.outcome import Verdict
from lockstep.sim.tape import Tape
from lockstep.sim.world import World

QUIET: dict[str, Any] = {"seconds": 16, "closing_every": 4, "payments": 60}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "delay": ({"delay_ms": 300, "jitter_ms": 60}, "blocks"),
    "loss": ({"loss_percent": 30}, "frames_lost"),
    "duplicate": ({"duplicate_percent": 50}, "frames_repeated"),
    "reorder": ({"reorder": True, "jitter_ms": 60}, "frames_overtaking"),
    "clog": ({"stall_percent": 2}, "frames_stalled"),
    "partition": ({"partitions": 4}, "partitions"),
    "crash": ({"crashes": 5}, "crashes"),
    "pause": ({"pauses": 5}, "pauses"),
    "lost disk": ({"wipes": 2}, "lost_disks"),
    "old backup": ({"backups": 2}, "lost_disks"),
    "skew": ({"skew_ms": 60_000}, "blocks"),
    "clock jump": ({"clock_jumps": 5}, "clock_jumps"),
    "slow disk": ({"disk_ms": 30, "slow_disk_ms": 1_000}, "blocks"),
    "stuck disk": ({"stuck_disks": 3}, "stuck_disks"),
    "conflicts": ({"conflict_percent": 80}, "conflicts"),
    "chained": ({"chained_percent": 90}, "final"),
    "skewed weights": ({"weights": (10, 9, 8, 7)}, "final"),
}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_by_itself_is_counted_and_borne(fault: str, seed: int) -> None:
    changes, counter = FAULTS[fault]
    outcome = World(seed, Options(**{**QUIET, **changes})).run()
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASS, "")
    assert outcome.counters[counter] > 0


def test_quiet_world_has_no_fault() -> None:
    counters = World(1, Options(**QUIET)).run().counters
    strikes = [name for _, name in FAULTS.values() if name not in ("blocks", "final", "conflicts")]
    assert {name: counters[name] for name in strikes} == dict.fromkeys(strikes, 0)


def test_the_one_node_that_forgets_leaves_a_quorum() -> None:
    """With the liars it stays below a third; where that cannot be nobody forgets."""
    for seed, byzantine in ((1, 0), (2, 0), (3, 1)):
        options = Options(**{**QUIET, "seconds": 8, "wipes": 3, "byzantine": byzantine})
        world = World(seed, options)
        outcome = world.run()
        lost = [host.index for host in world.hosts if host.disks > 1]
        assert outcome.verdict is Verdict.PASS
        assert len(lost) == (0 if byzantine else 1)


class Worker(Computer):
    """A computer that writes down what reaches it."""

    def __init__(self, clock: Clock) -> None:
        world = World(0, Options())
        super().__init__(0, clock=clock, tape=Tape(), genesis=world.genesis, skew_ms=0)
        self.done: list[tuple[int, int]] = []

    def work(self, number: int) -> None:
        if not self._is_held(self.work, number):
            self.done.append((self._clock.now_ms, number))

    def hold(self) -> None:
        self.pause()


def run_until(clock: Clock, time_ms: int) -> None:
    clock.at(time_ms, lambda: None)
    while clock.now_ms < time_ms:
        clock.advance()


def test_what_piles_up_in_a_pause_comes_at_once_and_in_order() -> None:
    clock = Clock()
    worker = Worker(clock)
    for number in range(6):
        clock.at(100 * number, worker.work, number)
    clock.at(150, worker.hold)
    clock.at(420, worker.resume)
    run_until(clock, 1_000)
    assert worker.done == [(0, 0), (100, 1), (420, 2), (420, 3), (420, 4), (500, 5)]


def test_a_stuck_disk_holds_every_commit_until_it_is_free() -> None:
    clock = Clock()
    worker = Worker(clock)
    run_until(clock, 50)
    assert worker._commit_ends(10) == 60
    worker.stick_disk(500)
    assert worker._commit_ends(10) == 550
    run_until(clock, 545)
    assert worker._commit_ends(10) == 555


def test_a_backup_is_what_the_disk_was_and_stays_so() -> None:
    world = World(2, Options(**QUIET))
    disk = world.hosts[0].disk
    copies: list[tuple[Disk, Any]] = []

    def copy() -> None:
        copies.append((disk.copy(), snapshot(disk)))

    for time_ms in range(0, 16_000, 500):
        world._clock.at(time_ms + Random(time_ms).randrange(400), copy)
    assert world.run().verdict is Verdict.PASS
    assert all(snapshot(kept) == then for kept, then in copies)
    assert len({len(kept.blocks) for kept, _ in copies}) > 5
    newest = copies[-1][0]
    before = snapshot(disk)
    rest = [r for r in newest.journal() if not isinstance(r, BlockDecided)]
    newest.commit(rest)
    assert snapshot(disk) == before


def snapshot(disk: Disk) -> tuple[Any, ...]:
    return disk.state, dict(disk.coins), list(disk.blocks), disk.journal()
