"""The hash of a set is the sum of its elements, whatever the order and however often it changed."""

import random
import struct

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.hashing import tagged_hash
from lockstep.crypto.lattice_hash import EMPTY_SUM, SUM_BYTES, adjust_sum

elements = st.lists(st.binary(max_size=90), max_size=200)


def add_plainly(parts: list[bytes]) -> bytes:
    """Add up elements lane by lane, in the words of [S1]."""
    key = tagged_hash("lattice-element", b"")
    lanes = [0] * 1024
    for part in parts:
        new = struct.unpack("<1024H", blake3(part, key=key).digest(length=SUM_BYTES))
        lanes = [(old + value) % 65536 for old, value in zip(lanes, new, strict=True)]
    return struct.pack("<1024H", *lanes)


@given(elements, elements, st.randoms(use_true_random=False))
def test_sum_is_the_plain_one_in_any_order(
    kept: list[bytes], gone: list[bytes], dice: random.Random
) -> None:
    """[S1] More than a batch of 64 at once, one by one, shuffled, and with some taken back."""
    together = [*kept, *gone]
    dice.shuffle(together)
    total = adjust_sum(EMPTY_SUM, added=together, removed=gone)
    assert total == add_plainly(kept)
    for part in kept:
        total = adjust_sum(total, added=(), removed=[part])
    assert total == EMPTY_SUM


def test_lanes_wrap_around() -> None:
    full = b"\xff" * SUM_BYTES
    part = add_plainly([b"x"])
    added = adjust_sum(full, added=[b"x"])
    for place in range(0, SUM_BYTES, 2):
        lane = int.from_bytes(part[place : place + 2], "little")
        assert int.from_bytes(added[place : place + 2], "little") == (lane - 1) % 65536
    assert adjust_sum(EMPTY_SUM, added=(), removed=[b"x"]) == adjust_sum(
        adjust_sum(EMPTY_SUM, added=(), removed=[b"x", b"x"]), added=[b"x"]
    )
