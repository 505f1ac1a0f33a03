"""The vote keeper against traces of the model's, ballot by ballot [T1, B4].

Where we differ on purpose:

- The model counts a member's first ballot of a round and kind only. We count it once for each of
  its first two values [B4], or a quorum that others see could stay invisible here. So every trace
  feeds two keepers: one gets the ballots the model counts, where all must agree; the other gets all
  of them, where what is reached must be what a plain recount gives and each contradiction must be
  in the model's evidence.
- The model emits one threshold a ballot, a skip hiding the rest and being repeated. We announce all
  that a ballot brings about, each once: so what was announced so far must be what the model's
  books amount to, and contain whatever it emits.
- The model is silent on a skip to a round that is not ahead; ignoring it is the driver's work here.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct

from lockstep.consensus.votekeeper import Equivocated, Threshold, ThresholdKind, VoteKeeper
from lockstep.primitives.block import Ballot, BallotKind
from lockstep.sim.conformance.books import compare_books
from lockstep.sim.conformance.itf import DamagedTrace, Variant
from lockstep.sim.conformance.mismatch import Mismatch, compare, compare_sets
from lockstep.sim.conformance.words import (
    BookWord,
    TraceWeights,
    VoteWord,
    look_up,
    read_record,
    to_ballot,
)

VARIABLES: Final = frozenset({"weightedVote", "bookkeeper", "lastEmitted"})
"""The variables by which a trace of this kind is known."""

_EMITTED: Final = {
    "PolkaAnyVKOutput": ThresholdKind.POLKA_ANY,
    "PolkaNilVKOutput": ThresholdKind.POLKA_NIL,
    "PolkaValueVKOutput": ThresholdKind.POLKA_VALUE,
    "PrecommitAnyVKOutput": ThresholdKind.PRECOMMIT_ANY,
    "PrecommitValueVKOutput": ThresholdKind.PRECOMMIT_VALUE,
    "SkipVKOutput": ThresholdKind.SKIP,
}
_Place = tuple[bytes, int, BallotKind]


class _Step(Struct, frozen=True):
    """One ballot, the round it came in, and what the model has afterwards."""

    ballot: Ballot
    current_round: int
    weight: int
    book: BookWord
    evidence: list[list[Ballot]]
    emitted: Threshold | None
    emitted_so_far: list[Threshold]


class VoteKeeperReplay:
    """One trace of the model's vote keeper, ready to be replayed."""

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        """Read the whole trace before anything of it is judged.

        Raises:
            DamagedTrace: If a state is not of the known model.
        """
        book = read_record(states[0]["bookkeeper"], BookWord)
        self._weights = TraceWeights(book.validator_set)
        # A state that repeats the one before it is a step of a test, which looked and did nothing.
        self._steps = [
            None if before == after else _read_step(after) for before, after in pairwise(states)
        ]
        self._counted: dict[_Place, Ballot] = {}
        self._values: dict[_Place, list[Ballot]] = {}
        self._given: dict[Ballot, None] = {}
        self._emitted: dict[Threshold, None] = {}
        self._evidence: dict[tuple[Ballot, ...], None] = {}
        self._reports: list[Equivocated] = []

    def __iter__(self) -> Iterator[Mismatch | None]:
        """Feed the ballots and say of each step how it differs, if it does."""
        strict, whole = VoteKeeper(self._weights), VoteKeeper(self._weights)
        announced: dict[Threshold, None] = {}
        announced_by_all: dict[Threshold, None] = {}
        for number, step in enumerate(self._steps, 1):
            if step is None:
                yield None
                continue
            self._given[step.ballot] = None
            yield (
                self._count_as_the_model(strict, announced, number=number, step=step)
                or self._compare_emitted(strict, announced, number=number, step=step)
                or self._count_all(whole, announced_by_all, number=number, step=step)
            )

    def _count_as_the_model(
        self, keeper: VoteKeeper, announced: dict[Threshold, None], *, number: int, step: _Step
    ) -> Mismatch | None:
        """Take the ballot if it is the member's first, as the model does: all must agree."""
        ballot = step.ballot
        place = (ballot.voter, ballot.round, ballot.kind)
        first = self._counted.setdefault(place, ballot)
        keeper.enter_round(step.current_round)
        outputs = keeper.add(ballot) if ballot == first else ()
        new = [output for output in outputs if isinstance(output, Threshold)]
        repeated = [threshold for threshold in new if threshold in announced]
        announced.update(dict.fromkeys(new))
        weight = self._weights.weight_of(ballot.voter)
        return (
            compare(number, "weight of the voter", expected=step.weight, found=weight)
            or compare_books(
                number,
                "",
                book=step.book,
                keeper=keeper,
                weights=self._weights,
                given=self._given,
            )
            or compare(number, "announced again", expected=[], found=repeated)
            or compare_sets(
                number,
                "thresholds so far",
                expected=_recount(self._counted.values(), self._weights),
                found=announced,
            )
        )

    def _compare_emitted(
        self, keeper: VoteKeeper, announced: dict[Threshold, None], *, number: int, step: _Step
    ) -> Mismatch | None:
        """Derive from what ours knows the one threshold that the model emits for this ballot."""
        due = _select_emitted(keeper, announced, step)
        if due is not None and due.kind is not ThresholdKind.SKIP and due in self._emitted:
            due = None
        if due is not None:
            self._emitted[due] = None
        return compare(number, "emitted", expected=step.emitted, found=due) or compare_sets(
            number, "emitted so far", expected=step.emitted_so_far, found=self._emitted
        )

    def _count_all(
        self, keeper: VoteKeeper, announced: dict[Threshold, None], *, number: int, step: _Step
    ) -> Mismatch | None:
        """Take every ballot: each of a member's first two values counts, and is reported."""
        ballot = step.ballot
        said = self._values.setdefault((ballot.voter, ballot.round, ballot.kind), [])
        if len(said) < 2 and all(other.block_id != ballot.block_id for other in said):
            said.append(ballot)
        keeper.enter_round(step.current_round)
        for output in keeper.add(ballot):
            if isinstance(output, Equivocated):
                self._reports.append(output)
            else:
                announced[output] = None
        pairs = [(report.first, report.second) for report in self._reports]
        proved = [pair for pair in pairs if any(set(pair) <= set(votes) for votes in step.evidence)]
        return (
            compare_sets(
                number,
                "thresholds of all ballots",
                expected=_recount(
                    (b for said in self._values.values() for b in said), self._weights
                ),
                found=announced,
            )
            or compare_sets(
                number,
                "contradictions",
                expected=[tuple(said) for said in self._values.values() if len(said) == 2],
                found=pairs,
            )
            or compare(number, "contradictions in the evidence", expected=proved, found=pairs)
            or self._compare_evidence(number, step)
        )

    def _compare_evidence(self, number: int, step: _Step) -> Mismatch | None:
        """The model keeps all words of a voter on one place, whenever it hears another."""
        place = (step.ballot.voter, step.ballot.round, step.ballot.kind)
        said = [b for b in self._given if (b.voter, b.round, b.kind) == place]
        if len(said) > 1:
            self._evidence[_in_order(said)] = None
        written = [_in_order(votes) for votes in step.evidence]
        return compare_sets(number, "evidence", expected=written, found=self._evidence)


def _read_step(state: dict[str, Any]) -> _Step:
    match state["weightedVote"]:
        case Variant("WV", (raw_vote, int(weight), int(current_round))):
            book = read_record(state["bookkeeper"], BookWord)
            emitted = [
                _to_threshold(e) for votes in book.rounds.values() for e in votes.emitted_outputs
            ]
            return _Step(
                ballot=to_ballot(read_record(raw_vote, VoteWord)),
                current_round=current_round,
                weight=weight,
                book=book,
                evidence=[[to_ballot(vote) for vote in votes] for votes in book.evidence],
                emitted=_to_threshold(read_record(state["lastEmitted"], Variant)),
                emitted_so_far=[threshold for threshold in emitted if threshold is not None],
            )
    raise DamagedTrace("a step of the trace has no vote")


def _in_order(votes: Iterable[Ballot]) -> tuple[Ballot, ...]:
    return tuple(sorted(votes, key=lambda ballot: ballot.block_id or b""))


def _select_emitted(
    keeper: VoteKeeper, announced: Iterable[Threshold], step: _Step
) -> Threshold | None:
    """Return what the model judges a ballot by: a skip first, then its own value, then anything."""
    ballot = step.ballot
    skip = Threshold(ThresholdKind.SKIP, ballot.round)
    if ballot.round > step.current_round and skip in announced:
        return skip
    is_prevote = ballot.kind is BallotKind.PREVOTE
    if keeper.has_quorum(ballot.round, ballot.kind, ballot.block_id):
        if ballot.block_id is not None:
            kind = ThresholdKind.POLKA_VALUE if is_prevote else ThresholdKind.PRECOMMIT_VALUE
            return Threshold(kind, ballot.round, ballot.block_id)
        if is_prevote:
            return Threshold(ThresholdKind.POLKA_NIL, ballot.round)
    if keeper.has_any_quorum(ballot.round, ballot.kind):
        kind = ThresholdKind.POLKA_ANY if is_prevote else ThresholdKind.PRECOMMIT_ANY
        return Threshold(kind, ballot.round)
    return None


def _to_threshold(emitted: Variant) -> Threshold | None:
    match emitted:
        case Variant("NoVKOutput", _):
            return None
        case Variant(_, (int(round_number), str(value))):
            return Threshold(look_up(_EMITTED, emitted), round_number, value.encode())
        case Variant(_, int(round_number)):
            return Threshold(look_up(_EMITTED, emitted), round_number)
    raise DamagedTrace(f"{emitted.tag!r} is no output of the model's vote keeper")


def _recount(ballots: Iterable[Ballot], weights: TraceWeights) -> list[Threshold]:
    """Say from scratch which thresholds these ballots amount to."""
    kept = list(ballots)

    def weigh(chosen: Iterable[Ballot]) -> int:
        return sum(weights.weight_of(voter) for voter in {ballot.voter for ballot in chosen})

    reached = []
    for round_number in {b.round for b in kept}:
        here = [b for b in kept if b.round == round_number]
        if 3 * weigh(here) > weights.total_weight:
            reached.append(Threshold(ThresholdKind.SKIP, round_number))
        for kind, any_kind, value_kind in (
            (BallotKind.PREVOTE, ThresholdKind.POLKA_ANY, ThresholdKind.POLKA_VALUE),
            (BallotKind.PRECOMMIT, ThresholdKind.PRECOMMIT_ANY, ThresholdKind.PRECOMMIT_VALUE),
        ):
            of_kind = [b for b in here if b.kind is kind]
            if 3 * weigh(of_kind) > 2 * weights.total_weight:
                reached.append(Threshold(any_kind, round_number))
            for value in {b.block_id for b in of_kind}:
                of_value = [b for b in of_kind if b.block_id == value]
                if 3 * weigh(of_value) <= 2 * weights.total_weight:
                    continue
                if value is not None:
                    reached.append(Threshold(value_kind, round_number, value))
                elif kind is BallotKind.PREVOTE:
                    reached.append(Threshold(ThresholdKind.POLKA_NIL, round_number))
    return reached
