"""The vote keeper against the public formal model, trace by trace [T1, B4].

Where we differ on purpose:

- The model counts a member's first ballot of a round and kind only. We count it once for each of
  its first two values [B4], or a quorum that others see could stay invisible here. So every trace
  runs twice: with the ballots the model counts, where all must agree, and with all ballots, where
  what is reached must be what a plain recount gives and each equivocation must be in the model's
  evidence.
- The model emits one threshold a ballot, a skip hiding the rest and being repeated. We announce all
  that a ballot brings about, each once: so what was announced so far must be what the model's
  books amount to, and contain whatever it emits.
- The model is silent on a skip to a round that is not ahead; ignoring it is the driver's work here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lockstep.consensus.votekeeper import Equivocated, Threshold, ThresholdKind, VoteKeeper
from lockstep.primitives.block import Ballot, BallotKind
from unit.consensus.cast import FixedWeights
from unit.consensus.itf import Variant, find_traces, load_states
from unit.consensus.model import to_ballot, to_value

EMITTED = {
    "PolkaAnyVKOutput": ThresholdKind.POLKA_ANY,
    "PolkaNilVKOutput": ThresholdKind.POLKA_NIL,
    "PolkaValueVKOutput": ThresholdKind.POLKA_VALUE,
    "PrecommitAnyVKOutput": ThresholdKind.PRECOMMIT_ANY,
    "PrecommitValueVKOutput": ThresholdKind.PRECOMMIT_VALUE,
    "SkipVKOutput": ThresholdKind.SKIP,
}


def to_threshold(emitted: Variant) -> Threshold | None:
    if emitted.tag == "NoVKOutput":
        return None
    if isinstance(emitted.value, tuple):
        round_number, value = emitted.value
        return Threshold(EMITTED[emitted.tag], round_number, value.encode())
    return Threshold(EMITTED[emitted.tag], emitted.value)


def recount(ballots: Iterable[Ballot], weights: FixedWeights) -> set[Threshold]:
    """Say from scratch which thresholds these ballots amount to."""
    kept = list(ballots)

    def weigh(voters: Iterable[bytes]) -> int:
        return sum(weights.weight_of(voter) for voter in set(voters))

    reached = set()
    for round_number in {b.round for b in kept}:
        here = [b for b in kept if b.round == round_number]
        if 3 * weigh(b.voter for b in here) > weights.total_weight:
            reached.add(Threshold(ThresholdKind.SKIP, round_number))
        for kind, any_kind, value_kind in (
            (BallotKind.PREVOTE, ThresholdKind.POLKA_ANY, ThresholdKind.POLKA_VALUE),
            (BallotKind.PRECOMMIT, ThresholdKind.PRECOMMIT_ANY, ThresholdKind.PRECOMMIT_VALUE),
        ):
            of_kind = [b for b in here if b.kind is kind]
            if 3 * weigh(b.voter for b in of_kind) > 2 * weights.total_weight:
                reached.add(Threshold(any_kind, round_number))
            for value in {b.block_id for b in of_kind}:
                weight = weigh(b.voter for b in of_kind if b.block_id == value)
                if 3 * weight <= 2 * weights.total_weight:
                    continue
                if value is not None:
                    reached.add(Threshold(value_kind, round_number, value))
                elif kind is BallotKind.PREVOTE:
                    reached.add(Threshold(ThresholdKind.POLKA_NIL, round_number))
    return reached


def books_of(state: dict[str, Any]) -> dict[tuple[int, BallotKind, bytes | None], int]:
    """Return the weight behind each value in the model's books."""
    return {
        (round_number, kind, to_value(value)): weight
        for round_number, votes in state["bookkeeper"]["rounds"].items()
        for kind, name in ((BallotKind.PREVOTE, "prevotes"), (BallotKind.PRECOMMIT, "precommits"))
        for value, weight in votes[name]["valuesWeights"].items()
    }


def read_steps(path: Path) -> tuple[FixedWeights, list[tuple[Ballot, int, dict[str, Any]]]]:
    """Return the weights, and for each step the ballot, the current round and the state after."""
    states = load_states(path)
    committee = states[0]["bookkeeper"]["validatorSet"]
    weights = FixedWeights({name.encode(): weight for name, weight in committee.items()})
    steps = []
    for state in states[1:]:
        vote, _, current = state["weightedVote"].value
        steps.append((to_ballot(vote), current, state))
    return weights, steps


TRACES = find_traces("votekeeper")


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.split(".")[0])
def test_ballots_the_model_counts_reach_what_the_model_reaches(path: Path) -> None:
    weights, steps = read_steps(path)
    keeper = VoteKeeper(weights)
    announced: set[Threshold] = set()
    counted: dict[tuple[bytes, int, BallotKind], Ballot] = {}
    for ballot, current, state in steps:
        first = counted.setdefault((ballot.voter, ballot.round, ballot.kind), ballot)
        outputs = keeper.add(ballot) if ballot == first else ()
        new = [output for output in outputs if isinstance(output, Threshold)]
        assert len(new) == len(outputs)
        assert announced.isdisjoint(new)
        announced.update(new)
        books = books_of(state)
        assert {place: keeper.weight_for(*place) for place in books} == books
        assert sum(books.values()) == sum(weights.weight_of(b.voter) for b in counted.values())
        assert announced == recount(counted.values(), weights)
        emitted = to_threshold(state["lastEmitted"])
        if emitted is None:
            assert all(t.kind is ThresholdKind.SKIP and t.round <= current for t in new)
        else:
            assert emitted in announced


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.split(".")[0])
def test_all_ballots_count_once_a_value_and_contradictions_are_reported(path: Path) -> None:
    weights, steps = read_steps(path)
    keeper = VoteKeeper(weights)
    announced: set[Threshold] = set()
    reported: list[Equivocated] = []
    values: dict[tuple[bytes, int, BallotKind], list[Ballot]] = {}
    for ballot, _, state in steps:
        said = values.setdefault((ballot.voter, ballot.round, ballot.kind), [])
        if len(said) < 2 and all(other.block_id != ballot.block_id for other in said):
            said.append(ballot)
        for output in keeper.add(ballot):
            if isinstance(output, Equivocated):
                reported.append(output)
            else:
                announced.add(output)
        assert announced == recount((b for said in values.values() for b in said), weights)
        evidence = [
            [to_ballot(vote) for vote in votes] for votes in state["bookkeeper"]["evidence"]
        ]
        pairs = [(e.first, e.second) for e in reported]
        assert sorted(pairs, key=str) == sorted(
            ((s[0], s[1]) for s in values.values() if len(s) == 2), key=str
        )
        assert all(any(a in votes and b in votes for votes in evidence) for a, b in pairs)
        assert bool(evidence) == bool(pairs)
