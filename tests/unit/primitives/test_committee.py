"""Weights, quorums and the order of proposers [M1, T1]."""

from collections import Counter
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import Misuse
from lockstep.primitives.committee import Committee, Member

WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=7)


def make_committee(weights: list[int]) -> Committee:
    return Committee(
        Member(bytes([i + 1]) * 32, bytes([i]) * 32, bytes(32), weight, 1, bytes(32))
        for i, weight in enumerate(weights)
    )


@given(WEIGHTS)
def test_quorum_is_the_least_weight_above_two_thirds(weights: list[int]) -> None:
    """[M1]."""
    committee = make_committee(weights)
    total = sum(weights)
    assert committee.quorum == min(q for q in range(total + 2) if q > Fraction(2 * total, 3))


@given(WEIGHTS)
def test_two_quorums_share_an_honest_member(weights: list[int]) -> None:
    """[M1] Their overlap weighs at least a third, and less than a third is Byzantine."""
    committee = make_committee(weights)
    ids = [member.member_id for member in committee.members]
    groups = [set(group) for n in range(len(ids) + 1) for group in combinations(ids, n)]
    quorums = [group for group in groups if committee.weight_of_ids(group) >= committee.quorum]
    for first in quorums:
        for second in quorums:
            shared = committee.weight_of_ids(first & second)
            assert 3 * shared >= sum(weights)
            assert committee.is_skip(shared) or 3 * shared == sum(weights)


@given(WEIGHTS, st.lists(st.integers(0, 9)))
def test_weight_counts_each_member_once_and_strangers_not(
    weights: list[int], numbers: list[int]
) -> None:
    """[M1, M2]."""
    committee = make_committee(weights)
    ids = [bytes([number]) * 32 for number in numbers]
    expected = sum(weights[n - 1] for n in set(numbers) if 1 <= n <= len(weights))
    assert committee.weight_of_ids(ids) == expected


@given(WEIGHTS, st.integers(0, 100), st.integers(0, 100))
def test_each_member_proposes_as_often_as_it_weighs(
    weights: list[int], kind_index: int, round_number: int
) -> None:
    """[T1] In any W consecutive places, whether rounds or heights of a kind move them on."""
    committee = make_committee(weights)
    expected = {member.member_id: member.weight for member in committee.members}
    total = sum(weights)
    by_height = Counter(
        committee.proposer(kind_index + i, round_number).member_id for i in range(total)
    )
    by_round = Counter(
        committee.proposer(kind_index, round_number + i).member_id for i in range(total)
    )
    assert by_height == by_round == expected


@given(st.integers(2, 40))
def test_equal_members_never_propose_twice_in_a_row(count: int) -> None:
    """[T1] The stride spreads turns; a silent member costs one round, not several."""
    committee = make_committee([1] * count)
    turns = [committee.proposer(place, 0).member_id for place in range(count)]
    assert len(set(turns)) == count


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_order_of_entry_means_nothing(weights: list[int], random: object) -> None:
    """[M1] A committee is a function of its members."""
    members = list(make_committee(weights).members)
    committee = Committee(reversed(members))
    assert committee.members == tuple(members)
    assert committee.set_hash == make_committee(weights).set_hash
    assert [committee.index_of(m.member_id) for m in members] == list(range(len(members)))


def test_set_hash_covers_members_keys_and_weights() -> None:
    """[T2]."""
    hashes = {make_committee(weights).set_hash for weights in ([1, 2], [2, 1], [1, 2, 3], [3])}
    assert len(hashes) == 4


@pytest.mark.parametrize("members", [[], make_committee([1]).members * 2])
def test_no_empty_set_and_nobody_twice(members: list[Member]) -> None:
    with pytest.raises(Misuse):
        Committee(members)
