"""Each scenario is played again and must come out as it stands; REWRITE=1 writes it anew.

A rewritten scenario is reviewed as a change of behaviour: `git diff tests/scenarios`. The tables of
docs/internals/conformance.md are held here too.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest

from lockstep.consensus.rounds import TRANSITIONS, Action, Phase, Trigger
from lockstep.consensus.votekeeper import VoteKeeper
from lockstep.errors import Misuse
from scenarios.catalogue import (
    COUNT,
    HEADING,
    OWN,
    ROOT,
    find_scenarios,
    read_head,
    render,
    retell,
)
from scenarios.lines import LINES, format_lines, parse_lines
from scenarios.script import Script

PAGE = ROOT.parent.parent / "docs" / "internals" / "conformance.md"
REWRITE = os.environ.get("REWRITE") == "1"
Table = Mapping[tuple[Phase, Trigger], tuple[Phase, Action]]


@pytest.mark.parametrize("path", find_scenarios(), ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    told = path.read_text("utf-8")
    retold = retell(told)
    if REWRITE:
        path.write_text(retold, "utf-8")
    else:
        assert retold == told


def test_every_scenario_is_told_once() -> None:
    heads = [read_head(path) for path in find_scenarios()]
    assert [head.number for head in heads] == list(range(1, len(heads) + 1))
    assert len({head.title for head in heads}) == len(heads)
    names = [head.name for head in heads if head.name != OWN]
    assert names == [head.name for head in heads[:COUNT]]
    assert len(set(names)) == COUNT


def test_the_names_are_those_of_the_public_suites(vectors: Path) -> None:
    text = (vectors / "scenarios.md").read_text("utf-8")
    names = [line[2:].strip() for line in text.splitlines() if line.startswith("- ")]
    assert [read_head(path).name for path in find_scenarios()][:COUNT] == names


def test_every_rule_of_a_height_is_carried_out() -> None:
    """Lines 11 to 51 and 55 to 67, by drivers alone; `covers` says what really happened."""
    heads = [read_head(path) for path in find_scenarios() if path.parent.name == "driver"]
    assert set(LINES) == {line for head in heads for line in head.lines}


def test_the_tables_in_the_docs_are_exact() -> None:
    page = PAGE.read_text("utf-8")
    assert HEADING in page
    due = render(page, [read_head(path) for path in find_scenarios()])
    if REWRITE:
        PAGE.write_text(due, "utf-8")
    else:
        assert page == due


def tells_another_story() -> bool:
    """Play every scenario until one does not come out as it stands."""
    for path in find_scenarios():
        told = path.read_text("utf-8")
        try:
            if Script().play(told) != told:
                return True
        except (Misuse, AssertionError):
            return True
    return False


@pytest.mark.parametrize(
    "cell", TRANSITIONS, ids=lambda cell: f"{cell[0].name}-{cell[1].name}".lower()
)
def test_a_rule_that_is_gone_is_missed(cell: tuple[Phase, Trigger]) -> None:
    left = {key: value for key, value in TRANSITIONS.items() if key != cell}
    with patch("lockstep.consensus.rounds.TRANSITIONS", left):
        assert tells_another_story()


@pytest.mark.parametrize("rule", ["_is_quorum", "_is_skip"])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_threshold_that_is_off_by_one_is_noticed(rule: str, more: int) -> None:
    whole = getattr(VoteKeeper, rule)
    with patch.object(VoteKeeper, rule, lambda self, weight: whole(self, weight + more)):
        assert tells_another_story()


def test_a_false_answer_and_an_unknown_word_are_noticed() -> None:
    told = find_scenarios()[0].read_text("utf-8")
    assert "prevotes v" in told
    assert retell(told.replace("  prevotes v", "  prevotes w")) == told
    with pytest.raises(AssertionError, match="no such command"):
        Script().play("> dance")


def test_lines_are_written_as_they_are_read() -> None:
    assert format_lines({11, 12, 14, 15, 16, 67}) == "L11 L12 L14-L16 L67"
    assert parse_lines("L11 L12 L14-L16 L67") == {11, 12, 14, 15, 16, 67}
