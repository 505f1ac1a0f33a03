"""LtHash: a hash of a set that follows the set's changes, whatever their order [S1].

An element is stretched to 1,024 lanes of 16 bits by BLAKE3's keyed mode; the sum of a set is the
sum of its elements, lane by lane, modulo 2^16. Adding and removing cost the same and commute.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from lockstep.crypto.hashing import tagged_hash

SUM_BYTES: Final = 2048
"""Bytes of a sum: 1,024 little-endian lanes of 16 bits."""
EMPTY_SUM: Final = bytes(SUM_BYTES)
"""The sum of the empty set."""
_KEY: Final = tagged_hash("lattice-element", b"")
_LANES: Final = SUM_BYTES // 2
_TOGETHER: Final = 64
"""Elements added in one go: 128 KiB, which the processor's cache holds."""


def adjust_sum(total: bytes, *, added: Iterable[bytes], removed: Iterable[bytes] = ()) -> bytes:
    """Return the sum of `total`'s set with the elements `added` and `removed` [S1].

    About a microsecond an element where there are many, seven for a lone one.
    """
    lanes = np.frombuffer(total, "<u2").copy()
    for rows in _stretch(added):
        lanes += rows.sum(axis=0, dtype=np.uint16)
    for rows in _stretch(removed):
        lanes -= rows.sum(axis=0, dtype=np.uint16)
    return lanes.tobytes()


def _stretch(elements: Iterable[bytes]) -> Iterator[npt.NDArray[np.uint16]]:
    """Yield the lanes of the elements, a row each, some rows at a time.

    One hasher serves them all: to begin again costs it less than half of what a new one does.
    """
    hasher = blake3(key=_KEY)
    update, digest, begin_again = hasher.update, hasher.digest, hasher.reset
    rest = iter(elements)
    while True:
        few: list[bytes] = []
        for element in islice(rest, _TOGETHER):
            update(element)
            few.append(digest(SUM_BYTES))
            begin_again()
        if not few:
            return
        yield np.frombuffer(b"".join(few), "<u2").reshape(len(few), _LANES)
