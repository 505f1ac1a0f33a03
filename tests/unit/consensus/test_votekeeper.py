"""The vote keeper: against a recount, its bounds, and certificates judged by themselves [B4]."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.consensus.votekeeper import (
    ROUNDS_AHEAD_MAX,
    Equivocated,
    InvalidCertificate,
    Threshold,
    ThresholdKind,
    UnknownVoter,
    VoteKeeper,
)
from lockstep.primitives.block import Ballot, BallotKind
from unit.consensus.cast import PRECOMMIT, PREVOTE, FixedWeights, make_ballot

VOTERS = [b"a", b"b", b"c", b"d", b"e"]
EQUAL = FixedWeights(dict.fromkeys(VOTERS[:4], 1))

ballots = st.builds(
    make_ballot,
    st.sampled_from(BallotKind),
    st.integers(0, 2),
    st.sampled_from([None, b"v", b"w"]),
    st.sampled_from(VOTERS),
)
weightings = st.lists(st.integers(1, 9), min_size=5, max_size=5).map(
    lambda weights: FixedWeights(dict(zip(VOTERS, weights, strict=True)))
)


def feed(keeper: VoteKeeper, arriving: Iterable[Ballot]) -> list[Threshold | Equivocated]:
    return [output for ballot in arriving for output in keeper.add(ballot)]


def weigh_plainly(kept: list[Ballot], weights: FixedWeights) -> dict[object, int]:
    """Add up distinct members by value, by kind and by round, each from scratch."""
    books: dict[object, set[bytes]] = {}
    for b in kept:
        for place in ((b.round, b.kind, b.block_id), (b.round, b.kind), b.round):
            books.setdefault(place, set()).add(b.voter)
    return {place: sum(map(weights.weight_of, voters)) for place, voters in books.items()}


@given(weightings, st.lists(ballots, max_size=60), st.randoms(use_true_random=False))
def test_tally_is_a_recount_whatever_order_and_repetition(
    weights: FixedWeights, arriving: list[Ballot], dice: object
) -> None:
    # Two values a member and place at most, so that no bound is met and order cannot matter.
    said: dict[object, dict[bytes | None, None]] = {}
    kept = []
    for ballot in arriving:
        values = said.setdefault((ballot.voter, ballot.round, ballot.kind), {})
        if ballot.block_id in values or len(values) < 2:
            values[ballot.block_id] = None
            kept.append(ballot)
    shuffled = kept + kept[: len(kept) // 2]
    dice.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis draws a random.Random.
    keepers = VoteKeeper(weights), VoteKeeper(weights)
    announced = [
        [t for t in feed(keeper, order) if isinstance(t, Threshold)]
        for keeper, order in zip(keepers, (kept, shuffled), strict=True)
    ]
    plain = weigh_plainly(kept, weights)
    for keeper, once in zip(keepers, announced, strict=True):
        assert len(once) == len(set(once))
        for round_number in range(3):
            in_round = plain.get(round_number, 0)
            skip = Threshold(ThresholdKind.SKIP, round_number)
            assert (skip in once) == (3 * in_round > weights.total_weight)
            for kind in BallotKind:
                any_weight = plain.get((round_number, kind), 0)
                assert keeper.has_any_quorum(round_number, kind) == (
                    3 * any_weight > 2 * weights.total_weight
                )
                for value in (None, b"v", b"w"):
                    weight = plain.get((round_number, kind, value), 0)
                    assert keeper.weight_for(round_number, kind, value) == weight
                    voters = [b.voter for b in keeper.votes_for(round_number, kind, value)]
                    assert voters == sorted(set(voters))
                    assert sum(map(weights.weight_of, voters)) == weight
    assert set(announced[0]) == set(announced[1])


@given(weightings, st.lists(ballots, max_size=60))
def test_levels_say_what_was_announced(weights: FixedWeights, arriving: list[Ballot]) -> None:
    keeper = VoteKeeper(weights)
    announced = {t for t in feed(keeper, arriving) if isinstance(t, Threshold)}
    for r in range(3):
        levels = {
            Threshold(ThresholdKind.POLKA_ANY, r): keeper.has_any_quorum(r, PREVOTE),
            Threshold(ThresholdKind.PRECOMMIT_ANY, r): keeper.has_any_quorum(r, PRECOMMIT),
            Threshold(ThresholdKind.POLKA_NIL, r): keeper.has_quorum(r, PREVOTE, None),
        }
        for value in (b"v", b"w"):
            polka = Threshold(ThresholdKind.POLKA_VALUE, r, value)
            levels[polka] = keeper.has_quorum(r, PREVOTE, value)
            commit = Threshold(ThresholdKind.PRECOMMIT_VALUE, r, value)
            levels[commit] = keeper.has_quorum(r, PRECOMMIT, value)
        assert {t for t in announced if t.round == r and t.kind is not ThresholdKind.SKIP} == {
            t for t, holds in levels.items() if holds
        }
    skips = [t.round for t in announced if t.kind is ThresholdKind.SKIP]
    assert keeper.find_skip_round(above=0) == max((r for r in skips if r > 0), default=None)


def test_quorum_is_found_behind_an_equivocator() -> None:
    keeper = VoteKeeper(EQUAL)
    first, second = (make_ballot(PREVOTE, 0, value, b"d") for value in (b"w", b"v"))
    assert feed(keeper, [first, second]) == [Equivocated(first, second)]
    # Its weight counts once for a skip and for "any", else three members would look like four.
    feed(keeper, [make_ballot(PREVOTE, 0, b"v", b"a")])
    assert not keeper.has_any_quorum(0, PREVOTE)
    reached = feed(keeper, [make_ballot(PREVOTE, 0, b"v", b"b")])
    assert Threshold(ThresholdKind.POLKA_VALUE, 0, b"v") in reached
    assert [b.voter for b in keeper.votes_for(0, PREVOTE, b"v")] == [b"a", b"b", b"d"]


def test_times_alone_are_no_equivocation() -> None:
    keeper = VoteKeeper(EQUAL)
    ballot = make_ballot(PRECOMMIT, 0, b"v", b"a")
    later = make_ballot(PRECOMMIT, 0, b"v", b"a", time_ms=5)
    assert feed(keeper, [ballot, later]) == []
    assert keeper.votes_for(0, PRECOMMIT, b"v") == (ballot,)


def test_strangers_are_refused_and_leave_nothing() -> None:
    keeper = VoteKeeper(EQUAL)
    with pytest.raises(UnknownVoter):
        keeper.add(make_ballot(PREVOTE, 0, b"v", b"x"))
    assert keeper.count_ballots() == 0


def test_liar_cannot_fill_the_memory_nor_the_others_places() -> None:
    keeper = VoteKeeper(EQUAL)
    keeper.enter_round(0)
    for n in range(200):
        for kind in BallotKind:
            keeper.add(make_ballot(kind, n % 50, n.to_bytes(2, "big"), b"d"))
    # Two rounds within reach and ROUNDS_AHEAD_MAX beyond, two kinds, two values.
    assert keeper.count_ballots() == (2 + ROUNDS_AHEAD_MAX) * 2 * 2
    for voter in (b"a", b"b"):
        keeper.add(make_ballot(PREVOTE, 9, b"v", voter))
    assert keeper.find_skip_round(above=0) == 9


def test_newest_rounds_stay_and_a_dropped_threshold_is_announced_again() -> None:
    keeper = VoteKeeper(EQUAL)
    keeper.enter_round(0)
    skip = Threshold(ThresholdKind.SKIP, 2)
    pair = [make_ballot(PREVOTE, 2, None, voter) for voter in (b"a", b"b")]
    assert feed(keeper, pair) == [skip]
    feed(keeper, [make_ballot(PREVOTE, r, None, b"a") for r in range(3, 3 + ROUNDS_AHEAD_MAX)])
    assert keeper.find_skip_round(above=0) is None
    assert feed(keeper, [pair[0]]) == []  # Older than what it holds of this member.
    keeper.enter_round(1)
    assert feed(keeper, [pair[0]]) == [skip]


def test_certificate_is_judged_by_itself() -> None:
    keeper = VoteKeeper(EQUAL)
    # The liar has used up its two values here; a certificate with its third still counts whole.
    feed(keeper, [make_ballot(PREVOTE, 0, value, b"d") for value in (None, b"w")])
    certificate = [make_ballot(PREVOTE, 0, b"v", voter) for voter in (b"a", b"b", b"d")]
    assert feed(keeper, certificate[2:]) == []
    reached = keeper.add_certificate(certificate)
    assert Threshold(ThresholdKind.POLKA_VALUE, 0, b"v") in reached
    assert set(keeper.votes_for(0, PREVOTE, b"v")) == set(certificate)
    assert keeper.add_certificate(certificate) == ()


def test_certificate_outlives_later_rounds_of_its_voters() -> None:
    keeper = VoteKeeper(EQUAL)
    certificate = [make_ballot(PRECOMMIT, 7, b"v", voter) for voter in (b"a", b"b", b"d")]
    keeper.add(certificate[2])
    keeper.add_certificate(certificate)
    feed(keeper, [make_ballot(PREVOTE, r, None, b"d") for r in range(8, 30)])
    assert keeper.has_quorum(7, PRECOMMIT, b"v")


@pytest.mark.parametrize(
    "faulty",
    [
        [],
        [make_ballot(PREVOTE, 0, b"v", voter) for voter in (b"a", b"b")],
        [make_ballot(PREVOTE, 0, b"v", voter) for voter in (b"a", b"b", b"b")],
        [make_ballot(PREVOTE, r, b"v", voter) for r, voter in enumerate((b"a", b"b", b"c"))],
        [
            make_ballot(PREVOTE, 0, b"v", b"a"),
            make_ballot(PRECOMMIT, 0, b"v", b"b"),
            make_ballot(PREVOTE, 0, b"v", b"c"),
        ],
        [make_ballot(PREVOTE, 0, b"v" + voter, voter) for voter in VOTERS[:4]],
    ],
    ids=["empty", "light", "twice", "rounds", "kinds", "values"],
)
def test_faulty_certificates_change_nothing(faulty: list[Ballot]) -> None:
    keeper = VoteKeeper(EQUAL)
    with pytest.raises(InvalidCertificate):
        keeper.add_certificate(faulty)
    assert keeper.count_ballots() == 0


def test_own_ballots_come_back_in_order_for_resending() -> None:
    keeper = VoteKeeper(EQUAL)
    own = [
        make_ballot(kind, round_number, None, b"a")
        for round_number in range(2)
        for kind in (PREVOTE, PRECOMMIT)
    ]
    feed(keeper, [*reversed(own), make_ballot(PREVOTE, 0, None, b"b")])
    assert keeper.votes_of(b"a") == tuple(own)
