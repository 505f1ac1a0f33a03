"""The small models: they hold, what they leave out changes nothing, and broken rules show up."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from lockstep.cli.sim_exhaustive import explore_mutant
from lockstep.replica.events import BatchReceived
from lockstep.sim.exhaustive.configurations import (
    CONFIGURATIONS,
    LONG_CONFIGURATIONS,
    Configuration,
)
from lockstep.sim.exhaustive.fingerprint import fingerprint
from lockstep.sim.exhaustive.machine import Facts
from lockstep.sim.exhaustive.promises import Promises
from lockstep.sim.exhaustive.scenario import BYZANTINE
from lockstep.sim.exhaustive.search import explore
from lockstep.sim.exhaustive.space import Space, State
from planted.mutants import MUTANTS, Mutant

BY_NAME = {configuration.name: configuration for configuration in CONFIGURATIONS}
PAIR = BY_NAME["pair"]
ONE = replace(PAIR, name="one", payments=PAIR.payments[:1])


def visit(configuration: Configuration) -> tuple[Space, set[State]]:
    """Return all states of a configuration within its depth."""
    space = Space(configuration)
    seen, level, depth = {space.first}, [space.first], 0
    while level and not (configuration.depth and depth == configuration.depth):
        found = (move.after for state in level for move in space.moves(state))
        level = [s for s in dict.fromkeys(found) if s is not None and s not in seen]
        seen.update(level)
        depth += 1
    return space, seen


def visible(configuration: Configuration) -> set[str]:
    """Return the states without who was counted, each as one text whoever sits where."""
    space, states = visit(configuration)
    marks: dict[tuple[int, int], str] = {}
    found = set()
    for chain, *nodes in states:
        row = []
        for place, node in enumerate(nodes):
            key = (0 if space.table.is_symmetric else place, node)
            if key not in marks:
                copy = space.machines[place].node(node)
                marks[key] = repr(fingerprint(copy, has_partial=False, has_disk=False))
            row.append(marks[key])
        turns = [[*row[turn:], *row[:turn]] for turn in range(len(row))]
        found.add(f"{space.chains[chain]} {min(turns)}")
    return found


@pytest.mark.parametrize("name", ["pair", "weights", "crash", "outvoted"])
def test_small_model_holds(name: str) -> None:
    result = explore(BY_NAME[name])
    assert result.violation == "", "\n".join(result.trace)
    assert result.is_complete
    assert result.states > 500


def test_words_by_themselves_lead_nowhere_else() -> None:
    assert visible(replace(ONE, each=True)) == visible(ONE)


@pytest.mark.slow
def test_rivals_word_by_word_lead_nowhere_else() -> None:
    assert visible(BY_NAME["words"]) <= visible(PAIR)


def test_turning_the_table_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    canonical = Space.canonical
    _, reduced = visit(PAIR)
    monkeypatch.setattr(Space, "canonical", lambda _space, chain, nodes: (chain, *nodes))
    space, whole = visit(PAIR)
    assert len(whole) > 2 * len(reduced)
    # Node states may be numbered otherwise, so the two are compared by what they are.
    assert len({canonical(space, chain, nodes) for chain, *nodes in whole}) == len(reduced)


def test_broken_promise_is_found_by_the_shortest_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(_: Promises, __: object, facts: Sequence[Facts]) -> str:
        return "canary" if any(seen.final for seen in facts) else ""

    monkeypatch.setattr(Promises, "judge", judge)
    result = explore(PAIR)
    assert result.violation == "canary"
    # Two honest nodes get a payment, certify it by each other's Vote, and one hears a Confirm.
    assert len(result.trace) == 5
    assert result.trace[0] == "1. node 1 gets payment A"
    assert "Confirm of A" in result.trace[-1]


def test_trace_tells_who_said_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Promises, "judge", lambda _, __, facts: "x" if facts[0].certified else "")
    for line in explore(PAIR).trace:
        who, _, heard = line.partition(" hears ")
        if heard:
            assert who.split(". ")[1] not in heard


def test_copies_of_a_node_go_their_own_ways() -> None:
    machine = Space(PAIR).machines[0]
    scenario = machine.setting.scenario
    one, other = machine.node(0), machine.node(0)
    before = fingerprint(other, has_partial=True, has_disk=True)
    one.take(BatchReceived(scenario.peers[BYZANTINE], scenario.batches["A"]))
    assert fingerprint(one, has_partial=True, has_disk=True) != before
    assert fingerprint(other, has_partial=True, has_disk=True) == before
    assert fingerprint(machine.node(0), has_partial=True, has_disk=True) == before


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_removed_rule_is_caught(mutant: Mutant) -> None:
    result = explore_mutant(mutant.name)
    assert result.violation.startswith(mutant.by)
    assert result.trace


@pytest.mark.long
@pytest.mark.parametrize("configuration", LONG_CONFIGURATIONS, ids=lambda c: c.name)
def test_large_model_holds(configuration: Configuration) -> None:
    result = explore(configuration)
    assert result.violation == "", "\n".join(result.trace)
