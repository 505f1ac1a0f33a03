"""Each transcript is played again and must come out as it stands; REWRITE=1 writes it anew.

A rewritten transcript is reviewed as a change of behaviour: `git diff tests/interaction`. The table
of what they cover, in docs/internals/transcripts.md, is held here too.
"""

import os
from itertools import count
from pathlib import Path
from unittest.mock import patch

import pytest

from interaction.coverage import CLAUSES, HEADING, LINES, read_head, render
from interaction.script import Script
from lockstep.consensus.rounds import (
    TRANSITIONS,
    Phase,
    RoundInput,
    RoundOutput,
    RoundState,
    Trigger,
    advance,
)
from lockstep.errors import Misuse

ROOT = Path(__file__).parent
PAGE = ROOT.parent.parent / "docs" / "internals" / "transcripts.md"
TRANSCRIPTS = sorted(ROOT.glob("*/*.txt"))
TRANSCRIPTS_MIN = 40
MOVES_MAX = 2_000
# Whoever counts a quorum of precommits was taken to their round by a part of them before; only the
# tests of the driver itself get there.
UNREACHED = (Phase.UNSTARTED, Trigger.PROPOSAL_AND_COMMIT)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_transcript(path: Path) -> None:
    told = path.read_text()
    played = Script().play(told)
    if os.environ.get("REWRITE") == "1":
        path.write_text(played)
    else:
        assert played == told


def test_a_transcript_that_tells_another_story_fails() -> None:
    """A changed answer is found, and an unknown word is no answer."""
    told = (ROOT / "fast-path" / "one-payment.txt").read_text()
    assert Script().play(told.replace(" final ", " certified ")) != told.replace(
        " final ", " certified "
    )
    with pytest.raises(AssertionError):
        Script().play("> dance")


def test_every_clause_and_line_is_covered() -> None:
    """Clauses F1-F6 and T1-T10, and lines 11 to 67 of the pseudocode [T1]."""
    heads = [read_head(path) for path in TRANSCRIPTS]
    assert len(heads) >= TRANSCRIPTS_MIN
    clauses = {clause for head in heads for clause in head.clauses}
    assert not [clause for clause in CLAUSES if clause not in clauses]
    lines = {line for head in heads for line in head.lines}
    assert lines == set(LINES)


def test_the_table_in_the_docs_is_exact() -> None:
    page = PAGE.read_text()
    assert HEADING in page
    due = render(page, [read_head(path) for path in TRANSCRIPTS])
    if os.environ.get("REWRITE") == "1":
        PAGE.write_text(due)
    else:
        assert page == due


@pytest.mark.parametrize(
    "cell",
    [cell for cell in TRANSITIONS if cell != UNREACHED],
    ids=lambda cell: f"{cell[0].name}-{cell[1].name}".lower(),
)
def test_each_rule_of_a_round_is_missed_when_it_is_gone(cell: tuple[Phase, Trigger]) -> None:
    """The phase table without one of its transitions tells another story somewhere [T1]."""
    left = {key: value for key, value in TRANSITIONS.items() if key != cell}
    told = [path.read_text() for path in TRANSCRIPTS if path.parent.name == "rounds"]
    with patch("lockstep.consensus.rounds.TRANSITIONS", left):
        assert any(_tells_another_story(text) for text in told)


def _tells_another_story(told: str) -> bool:
    """Play a transcript with a damaged core, which may raise or go round in circles."""
    moves = count()

    def bounded(state: RoundState, event: RoundInput) -> tuple[RoundState, tuple[RoundOutput, ...]]:
        assert next(moves) < MOVES_MAX, "in circles"
        return advance(state, event)

    with patch("lockstep.consensus.driver.advance", bounded):
        try:
            return Script().play(told) != told
        except (Misuse, AssertionError):
            return True
