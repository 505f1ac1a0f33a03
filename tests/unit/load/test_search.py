"""The search for saturation, against networks made up of one number."""

import pytest

from lockstep.load.search import BISECTIONS, SaturationSearch, is_kept


def search(capacity: int, *, first: int = 1_000, ceiling: int = 50_000) -> tuple[int, list[int]]:
    """Search in a network that keeps every rate up to its capacity and no more than that."""
    found = SaturationSearch(first, ceiling_tps=ceiling)
    tried = []
    while (rate := found.next_rate()) is not None:
        tried.append(rate)
        found.note(rate, kept=is_kept(asked_tps=rate, final_tps=min(rate, capacity)))
    return found.best, tried


@pytest.mark.parametrize("capacity", [40, 700, 999, 1_000, 3_100, 6_500, 12_345, 49_999, 10**6])
def test_the_best_rate_is_kept_and_an_eighth_more_is_not(capacity: int) -> None:
    best, tried = search(capacity)
    assert best <= capacity / 0.95
    assert best == 50_000 or 0.95 * best * 1.13 > capacity or best * 1.05 > capacity
    assert len(tried) == len(dict.fromkeys(tried))
    assert len(tried) <= 8 + BISECTIONS


def test_doubling_first_then_halving_the_gap() -> None:
    assert search(6_500)[1] == [1_000, 2_000, 4_000, 8_000, 6_000, 7_000, 6_500]


def test_a_network_that_keeps_nothing_has_no_best_rate() -> None:
    best, tried = search(0)
    assert best == 0
    assert tried == [1_000, 500, 250, 125, 62, 31]


def test_the_ceiling_is_tried_and_ends_the_search() -> None:
    assert search(10**6, ceiling=3_000) == (3_000, [1_000, 2_000, 3_000])


def test_kept_is_from_95_percent_on() -> None:
    assert is_kept(asked_tps=1_000, final_tps=950)
    assert not is_kept(asked_tps=1_000, final_tps=949.9)
