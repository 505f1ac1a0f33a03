"""The standard swarm: the real core under faults, safety first and liveness after healing.

`lockstep sim --seed N --trace FILE` replays any seed that fails here.
"""

import msgspec
import pytest

from lockstep.sim.outcome import FLOORS, Verdict, missed_floors
from lockstep.sim.swarm import run_seed


@pytest.mark.parametrize("seed", [pytest.param(3, marks=pytest.mark.slow), 11])
def test_smoke_seed_passes(seed: int) -> None:
    outcome = run_seed(seed)
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASS, "")
    assert outcome.counters["closings"] > 0
    assert outcome.counters["final"] > 0


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
