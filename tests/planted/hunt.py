"""The search for a planted bug: seed after seed, or the tests that are named for it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from msgspec import Struct

from lockstep.sim.outcome import Verdict
from lockstep.sim.swarm import run_seed
from planted import bugs
from planted.bugs import CANARY, SEEDS_MAX, Bug
from planted.patching import planted

ROOT: Final = Path(__file__).resolve().parents[2]
TEST_LIMIT_S: Final = 300
NEVER_CALLED: Final = "nobody called the planted "
_TESTS_FAILED: Final = 1


class Catch(Struct, frozen=True):
    """What became of one bug.

    Attributes:
        seed: The seed that caught it, None if a test did or nothing.
        seeds: How many seeds were run.
        sentence: The verdict, in its words.
    """

    name: str
    caught: bool
    seed: int | None
    seeds: int
    test: str
    sentence: str


def find_bug(name: str) -> Bug:
    """Return a bug of the register, or the canary, by name."""
    return next(bug for bug in (*bugs.BUGS, CANARY) if bug.name == name)


def hunt(name: str, seeds_max: int = SEEDS_MAX) -> Catch:
    """Plant a bug and look for it, from its known seed on.

    It is caught once a verdict names it and every function it set was called: one that nobody calls
    is planted beside the product.
    """
    bug = find_bug(name)
    return _hunt_by_test(bug) if bug.test else _hunt_by_seeds(bug, seeds_max)


def _hunt_by_seeds(bug: Bug, seeds_max: int) -> Catch:
    sentence = f"none of {seeds_max} seeds saw it"
    with planted(bug.plant) as patch:
        for count in range(seeds_max):
            seed = (bug.seed + count) % SEEDS_MAX
            outcome = run_seed(seed, **bug.shape)
            if outcome.verdict is Verdict.PASS:
                continue
            words = f"{outcome.verdict}: {outcome.sentence}"
            if any(rule in words for rule in bug.rules) and not patch.uncalled:
                return Catch(bug.name, True, seed, count + 1, "", words)
        if patch.uncalled:
            sentence += f"; {NEVER_CALLED}{', '.join(patch.uncalled)}"
    return Catch(bug.name, False, None, seeds_max, "", sentence)


def _hunt_by_test(bug: Bug) -> Catch:
    """Run the named tests with the bug planted: they must fail, and not for want of tests."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-p", "planted.plugin", bug.test]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"LOCKSTEP_PLANTED": bug.name, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=TEST_LIMIT_S,
        check=False,
    )
    lines = ended.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    uncalled = [line for line in lines if line.startswith(NEVER_CALLED)]
    caught = ended.returncode == _TESTS_FAILED and bool(failed) and not uncalled
    sentence = (uncalled or failed or [f"the tests ended with code {ended.returncode}"])[0]
    return Catch(bug.name, caught, None, 0, bug.test, sentence)
