"""The simulator by its own command, at the size that each kind of check asks for.

Each run must reach its verdicts and its work floors; `lockstep sim --seed N ...`, printed with any
failure, runs that world again.
"""

import json
import subprocess
import sys
from typing import Any, Final

import pytest

import reporting

SWARM_SEEDS: Final = 600
TWINS_OF_FOUR: Final = 260
TWINS_OF_SEVEN: Final = 60


def run_sim(name: str, *words: str, limit_s: int) -> tuple[int, dict[str, Any], str]:
    """Run the command and return its exit code, its JSON and what it said on the way."""
    done = subprocess.run(
        [sys.executable, "-m", "lockstep", "sim", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    reporting.note(name, {"command": ["sim", *words], "result": result})
    return done.returncode, result, done.stderr


def check_swarm(name: str, seeds: int, *words: str, limit_s: int) -> None:
    code, result, said = run_sim(name, "--seeds", f"0:{seeds}", *words, limit_s=limit_s)
    assert (result["failures"], result["floors_missed"]) == ([], []), said
    assert (code, result["pass"], result["floors_ok"]) == (0, seeds, True)


@pytest.mark.worlds
def test_swarm_passes() -> None:
    check_swarm("swarm", SWARM_SEEDS, limit_s=900)


@pytest.mark.worlds
def test_one_liar_of_four_changes_nothing() -> None:
    words = ("--nodes", "4", "--byzantine", "1")
    check_swarm("twins-of-four", TWINS_OF_FOUR, *words, limit_s=900)


@pytest.mark.worlds
def test_two_liars_of_seven_change_nothing() -> None:
    words = ("--nodes", "7", "--byzantine", "2")
    check_swarm("twins-of-seven", TWINS_OF_SEVEN, *words, limit_s=900)


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(20, marks=pytest.mark.worlds),
        pytest.param(50, marks=pytest.mark.long),
    ],
)
def test_two_liars_of_four_are_seen_and_named(seeds: int) -> None:
    words = ("--seeds", f"0:{seeds}", "--nodes", "4", "--byzantine", "2")
    code, result, said = run_sim("control", *words, limit_s=600)
    diverged = [failure for failure in result["failures"] if failure["verdict"] == "diverged"]
    assert (code, len(diverged)) == (0, result["diverged"]), said
    assert result["diverged"] >= 1
    assert any(failure["culprits"] for failure in diverged)


@pytest.mark.long
def test_small_models_hold_and_every_mutant_is_caught() -> None:
    code, result, said = run_sim("exhaustive", "--exhaustive", limit_s=900)
    assert (code, result["violations"]) == (0, 0), said
    assert result["states"] >= 100_000
    assert all(mutant["caught"] for mutant in result["mutants"])


@pytest.mark.long
def test_two_thousand_seeds_pass() -> None:
    check_swarm("long-swarm", 2_000, limit_s=3_000)


@pytest.mark.long
def test_a_thousand_worlds_with_a_liar_pass() -> None:
    words = ("--nodes", "4", "--byzantine", "1")
    check_swarm("long-twins-of-four", 1_000, *words, limit_s=3_000)


@pytest.mark.long
def test_two_hundred_worlds_with_two_liars_pass() -> None:
    words = ("--nodes", "7", "--byzantine", "2")
    check_swarm("long-twins-of-seven", 200, *words, limit_s=3_000)


@pytest.mark.long
def test_every_planted_bug_is_caught_by_the_command() -> None:
    code, result, said = run_sim("planted", "--planted", limit_s=3_000)
    assert (code, result["missed"]) == (0, []), said
    assert result["canary"]["reported_as_failing"]
