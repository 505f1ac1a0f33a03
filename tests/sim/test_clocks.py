"""Clocks that are off, jump, and step back: safety always, and all decided once it is over.

Story: a payment waits two seconds before a closing block may take it uncertified. A node counted
them by its wall clock, so that when all clocks were set back a day, contested coins were stuck for
that day.
"""

import pytest

from lockstep.sim.options import Options
from lockstep.sim.outcome import Outcome, Verdict
from lockstep.sim.swarm import run_seed
from lockstep.sim.world import World

DAY_MS = 86_400_000


def block_times(world: World) -> list[int]:
    return [decided.block.header.time_ms for decided in world.hosts[0].disk.blocks]


@pytest.mark.parametrize("distance_ms", [-DAY_MS, -5_000, DAY_MS])
def test_all_clocks_step_together_and_no_coin_is_stuck(distance_ms: int) -> None:
    options = Options(seconds=20, closing_every=4, payments=150, conflict_percent=60)
    world = World(1, options)
    for host in world.hosts:
        for time_ms in range(1_000, options.safety_ms, 2_000):
            world._clock.at(time_ms, host.move_clock, distance_ms)
    outcome = world.run()
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASS, "")
    times = block_times(world)
    assert times == sorted(set(times))


@pytest.mark.parametrize("seed", range(3))
def test_clocks_of_a_minority_move_no_block_time(seed: int) -> None:
    """Block time is a weighted median: it stays within the skew of those whose clocks are right."""
    outcome, world = run_with_jumps(seed)
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASS, "")
    assert outcome.counters["clock_jumps"] > 0
    genesis_ms = world.genesis.time_ms
    # A median moves on by itself by 1 ms a block at least, which is no jump.
    longest_ms = outcome.virtual_ms + outcome.counters["blocks"]
    assert all(genesis_ms < time_ms <= genesis_ms + longest_ms for time_ms in block_times(world))


def run_with_jumps(seed: int) -> tuple[Outcome, World]:
    world = World(seed, Options(seconds=20, closing_every=4, payments=60, clock_jumps=6))
    return world.run(), world


@pytest.mark.slow
@pytest.mark.parametrize("skew_ms", [5_000, 60_000])
def test_skewed_clocks_pass(skew_ms: int) -> None:
    for seed in range(4):
        outcome = run_seed(seed, overrides={"skew_ms": skew_ms, "clock_jumps": 4})
        assert (seed, outcome.verdict, outcome.sentence) == (seed, Verdict.PASS, "")
