"""Shares hold over any stretch of payments, and payments come due when the profile says."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.load.mix import PAIRED, Mix, WrongMix, parse_mix
from lockstep.load.pacing import Profile, WrongRamp, parse_ramp
from lockstep.load.payments import Kind
from lockstep.load.plan import Plan, WrongPlan, check_plan, make_overload

shares = st.dictionaries(st.sampled_from(list(Kind)), st.integers(1, 100), min_size=1)


@given(shares, st.lists(st.integers(1, 400), max_size=60))
def test_shares_hold_over_any_stretch(given_shares: dict[Kind, int], portions: list[int]) -> None:
    mix = Mix(given_shares)
    seen: Counter[Kind] = Counter()
    for portion in portions:
        parts = mix.divide(portion)
        seen.update(parts)
        assert all(parts[kind] % 2 == 0 for kind in PAIRED & parts.keys())
    total = sum(given_shares.values())
    for kind, share in given_shares.items():
        exact = sum(portions) * share / total
        assert exact - 2 < seen[kind] <= exact


@pytest.mark.parametrize(
    "text", ["", "one", "one=", "one=0", "one=-1", "one=x", "gold=1", "one=1,one=2"]
)
def test_what_is_no_mix(text: str) -> None:
    with pytest.raises(WrongMix):
        parse_mix(text)


def test_a_mix_is_written_as_it_is_read() -> None:
    text = "one=70,two=10,chained=10,conflicting=5,multisig=5"
    assert Mix(parse_mix(text)).describe() == text


@given(
    st.integers(0, 20_000),
    st.integers(0, 20_000),
    st.integers(1, 120),
    st.integers(0, 20_000),
    st.integers(0, 60),
)
def test_what_is_due_never_shrinks_and_ends_at_the_area_under_the_rate(
    low: int, high: int, seconds: int, after_tps: int, after_s: int
) -> None:
    profile = Profile(low, high, float(seconds), after_tps=after_tps, after_s=float(after_s))
    moments = [seconds * step / 20 for step in range(50)]
    assert all(a <= b for a, b in pairwise(map(profile.due, moments)))
    area = (low + high) * seconds / 2 + after_tps * after_s
    assert abs(profile.total - area) <= 1
    assert profile.due(10**6) == profile.total


def test_a_portion_is_what_comes_due_in_a_tick() -> None:
    for rate in (1, 10, 500, 2_000, 6_000, 50_000):
        profile = Profile(rate, rate, 30.0)
        assert 1 <= profile.portion_size <= 400
        assert profile.portion_size >= rate * profile.tick_s / 10
    assert Profile(2_000, 2_000, 30.0, portion=1).tick_s == 0.005
    sizes = [
        Profile(rate, rate, 30.0).portion_size for rate in (5, 300, 1_500, 3_000, 4_000, 12_000)
    ]
    assert sizes == [1, 30, 100, 200, 300, 400]


def test_what_follows_a_flood_has_portions_and_ticks_of_its_own() -> None:
    flood = Profile(8_000, 8_000, 10.0, after_tps=2_000, after_s=60.0)
    for elapsed_s, rate in ((0.0, 8_000), (9.9, 8_000), (10.0, 2_000), (70.0, 2_000)):
        alone = Profile(rate, rate, 30.0)
        part = flood.part_at(elapsed_s)
        assert (part.portion_size, part.tick_s) == (alone.portion_size, alone.tick_s)


@given(st.lists(st.integers(0, 350), min_size=1, max_size=40), st.integers(1, 120))
def test_whole_portions_go_and_nothing_waits_for_two_ticks(come: list[int], size: int) -> None:
    profile = Profile(2_000, 2_000, 30.0, portion=size)
    held_back = 0
    for number in come:
        waited, due = held_back, held_back + number
        held_back = profile.hold_back(due, waited)
        sent = due - held_back
        assert sent >= waited
        assert sent % size == 0 or sent == due < size


@pytest.mark.parametrize("text", ["", "5", "a:b", "1:2:3", "0:0", "1:50001", "-1:5"])
def test_what_is_no_ramp(text: str) -> None:
    with pytest.raises(WrongRamp):
        parse_ramp(text)
    assert parse_ramp("500:4000") == (500, 4_000)


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan(rate=5, closed=5),
        Plan(rate=5, is_saturating=True),
        Plan(ramp=(1, 2), overload=4),
        Plan(closed=3, overload=4),
    ],
)
def test_a_plan_names_one_load(plan: Plan) -> None:
    with pytest.raises(WrongPlan):
        check_plan(plan)
    check_plan(Plan(is_saturating=True, overload=4))


def test_an_overload_is_followed_by_saturation_without_a_pause() -> None:
    profile = make_overload(Plan(seconds=10, overload=4), 1_000)
    assert profile.due(10) == 40_000
    assert profile.due(11) == 41_000
