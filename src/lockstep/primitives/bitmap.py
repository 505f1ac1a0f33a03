"""Bitmaps over the transactions of a batch or block [B2].

On the wire a bitmap is ceil(count / 8) bytes, transaction i being bit i & 7 of byte i >> 3. In
memory it is one integer, which is the same bytes read little-endian, so that sets of transactions
are combined by integer arithmetic.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count
from typing import Final, TypeVar

from lockstep.errors import Rejected

_BIT_OF_DIGIT: Final = bytes.maketrans(b"01", b"\0\1")
_DIGIT_OF_BIT: Final = bytes.maketrans(b"\0\1", b"01")

T = TypeVar("T")


class MalformedBitmap(Rejected):
    """A bitmap has the wrong length, a surplus bit, or no bit at all."""

    code = "bitmap.malformed"


def bitmap_bytes(bits: int, count: int) -> bytes:
    """Write the set `bits` over `count` transactions in wire form [B2]."""
    return bits.to_bytes((count + 7) >> 3, "little")


def parse_bitmap(data: bytes, count: int, *, may_be_empty: bool = False) -> int:
    """Read a wire bitmap over `count` transactions as an integer [B2].

    Raises:
        MalformedBitmap: If the length is wrong, a surplus bit is set, or no bit is and one must be.
    """
    bits = int.from_bytes(data, "little")
    if len(data) != (count + 7) >> 3 or bits >> count or not (bits or may_be_empty):
        raise MalformedBitmap(f"not a bitmap over {count} transactions")
    return bits


def iterate_bits(bits: int) -> Iterator[int]:
    """Return the positions of the set bits in ascending order, one after the other.

    Digit by digit, so that the work grows with the length of the bitmap and not with its square.
    """
    return compress(count(), _digits_of(bits))


def select_bits(items: Sequence[T], bits: int) -> Sequence[T]:
    """Return the items at the positions of the set bits, in order; none lies beyond the items."""
    if bits == (1 << len(items)) - 1:
        return items
    return list(compress(items, _digits_of(bits)))


def collect_bits(positions: Iterable[int]) -> int:
    """Return the bitmap with exactly these positions set."""
    places = list(positions)
    if not places:
        return 0
    digits = bytearray(max(places) + 1)
    for place in places:
        digits[place] = 1
    digits.reverse()
    return int(digits.translate(_DIGIT_OF_BIT), 2)


def _digits_of(bits: int) -> bytes:
    """Return a byte for each bit, 0 or 1, the lowest bit first."""
    return bin(bits)[:1:-1].encode().translate(_BIT_OF_DIGIT)
