"""Bitmaps against sets of positions [B2]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.primitives.bitmap import (
    MalformedBitmap,
    bitmap_bytes,
    collect_bits,
    iterate_bits,
    parse_bitmap,
    select_bits,
)

POSITIONS = st.sets(st.integers(0, 399), min_size=1)


@given(POSITIONS)
def test_bit_i_is_bit_i_and_7_of_byte_i_shifted_by_3(positions: set[int]) -> None:
    """[B2]."""
    data = bitmap_bytes(collect_bits(positions), 400)
    assert len(data) == 50
    assert {i for i in range(400) if data[i >> 3] >> (i & 7) & 1} == positions


@given(POSITIONS, st.integers(0, 20))
def test_parsing_undoes_writing(positions: set[int], more: int) -> None:
    """[B2]."""
    count = max(positions) + 1 + more
    bits = parse_bitmap(bitmap_bytes(collect_bits(positions), count), count)
    assert list(iterate_bits(bits)) == sorted(positions)


@given(st.sets(st.integers(0, 399)), st.integers(0, 400))
def test_items_are_selected_by_position(positions: set[int], more: int) -> None:
    items = [f"item {i}" for i in range(max(positions, default=-1) + 1 + more)]
    selected = select_bits(items, collect_bits(positions))
    assert list(selected) == [items[i] for i in sorted(positions)]
    assert list(select_bits(items, (1 << len(items)) - 1)) == items


@given(st.lists(st.integers(0, 5000)))
def test_order_and_repetition_mean_nothing(positions: list[int]) -> None:
    """[B4]."""
    bits = collect_bits(positions)
    assert bits == sum(1 << i for i in set(positions))
    assert list(iterate_bits(bits)) == sorted(set(positions))


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 8),
        (b"\x01\x00", 8),
        (b"\x01", 9),
        (b"\x00", 8),
        (b"\x00\x00", 16),
        (b"\x10", 4),
        (b"\x00\x02", 9),
        (b"\x01", 0),
        (b"", 0),
    ],
)
def test_wrong_length_surplus_bits_and_emptiness_are_refused(data: bytes, count: int) -> None:
    """[B2]."""
    with pytest.raises(MalformedBitmap):
        parse_bitmap(data, count)


def test_a_list_of_a_freeze_may_be_empty_but_not_wrong() -> None:
    """[T7]."""
    assert parse_bitmap(b"\x00\x00", 9, may_be_empty=True) == 0
    assert parse_bitmap(b"", 0, may_be_empty=True) == 0
    for data in (b"", b"\x00", b"\x00\x00\x00", b"\x00\x02"):
        with pytest.raises(MalformedBitmap):
            parse_bitmap(data, 9, may_be_empty=True)
