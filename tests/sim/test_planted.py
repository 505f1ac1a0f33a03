"""A test of the tests: each planted bug must be caught where it is known to be seen.

A bug that no checker sees would mean that the swarm proves less than it says.
"""

import pytest

from lockstep.sim.swarm import run_seed
from planted.bugs import BUGS, CANARY
from planted.hunt import hunt

SEEDS = 40


def test_the_register_is_as_long_as_promised() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 24


def test_the_canary_is_reported() -> None:
    assert hunt(CANARY.name, 1).caught
    assert run_seed(CANARY.seed, seconds=5).sentence == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", [bug.name for bug in BUGS])
def test_planted_bug_is_caught(name: str) -> None:
    catch = hunt(name, SEEDS)
    assert catch.caught, catch.sentence
