"""The standard swarm: the real core under faults, safety first and liveness after healing.

`lockstep sim --seed N --trace FILE` replays any seed that fails here.
"""

import json
import subprocess
import sys

import msgspec
import pytest

from lockstep.sim.outcome import FLOORS, Verdict, missed_floors
from lockstep.sim.swarm import run_seed

SWARM_SEEDS = 50


@pytest.mark.parametrize("seed", [3, 11])
def test_smoke_seed_passes(seed: int) -> None:
    outcome = run_seed(seed)
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASS, "")
    assert outcome.counters["closings"] > 0
    assert outcome.counters["final"] > 0


@pytest.mark.slow
def test_standard_swarm_passes_and_works_hard() -> None:
    words = ["sim", "--seeds", f"0:{SWARM_SEEDS}", "--json"]
    command = [sys.executable, "-m", "lockstep", *words]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["pass"] == result["seeds"] == SWARM_SEEDS
    assert result["stuck"] == result["diverged"] == 0
    assert result["floors_ok"] is True
    assert result["seeds_per_second"] > 0
    counters = result["counters"]
    assert all(100 * counters[name] >= floor * SWARM_SEEDS for name, floor in FLOORS.items())
    assert counters["synced_blocks"] > 0
    assert counters["frames_lost"] > 0
    assert counters["frames_repeated"] > 0


def test_swarm_that_does_no_work_misses_its_floors() -> None:
    idle = run_seed(3, seconds=5)
    lazy = [msgspec.structs.replace(idle, counters={})] * 40
    assert len(missed_floors(lazy)) == len(FLOORS)
    assert missed_floors(lazy[:1]) == []


@pytest.mark.parametrize("weights", [(4, 3, 2, 2), (1, 1, 1, 1, 1)])
def test_given_weights_are_used(weights: tuple[int, ...]) -> None:
    outcome = run_seed(5, weights=weights, seconds=12)
    assert outcome.options.weights == weights
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASS, "")
