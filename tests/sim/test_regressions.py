"""Seeds that failed once stay in every run, with their stories, in `regressions.txt`."""

from pathlib import Path

import pytest

from lockstep.cli.sim import sim
from lockstep.cli.sim_options import parse_world
from lockstep.sim.outcome import Verdict
from lockstep.sim.swarm import run_seed

LINES = [
    line
    for line in (Path(__file__).parent / "regressions.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition(" # ")[0])
def test_seed_that_failed_once_passes(line: str) -> None:
    words, _, story = line.partition(" # ")
    assert story.endswith("."), "a seed without its story teaches nobody"
    given = sim.make_context("sim", words.split()).params
    outcome = run_seed(given["seed"], **parse_world(given).as_arguments())
    assert (outcome.verdict, outcome.sentence) == (Verdict.PASS, "")
