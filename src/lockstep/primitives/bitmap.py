"""Bitmaps over the transactions of a batch or block [B2].

On the wire a bitmap is ceil(count / 8) bytes, transaction i being bit i & 7 of byte i >> 3. In
memory it is one integer, which is the same bytes read little-endian, so that sets of transactions
are combined by integer arithmetic.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Final, TypeVar

from lockstep.errors import Rejected

_BITS_OF_BYTE: Final = tuple(
    tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256)
)


_BIT_OF_DIGIT: Final = bytes.maketrans(b"01", b"\0\1")

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
    """Yield the positions of the set bits in ascending order.

    Byte by byte, so that the work grows with the length of the bitmap and not with its square.
    """
    for place, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) >> 3, "little")):
        if byte:
            for bit in _BITS_OF_BYTE[byte]:
                yield place << 3 | bit


def select_bits(items: Sequence[T], bits: int) -> Sequence[T]:
    """Return the items at the positions of the set bits, in order; none lies beyond the items."""
    if bits == (1 << len(items)) - 1:
        return items
    digits = bin(bits)[:1:-1].encode().translate(_BIT_OF_DIGIT)
    return list(compress(items, digits))


def collect_bits(positions: Iterable[int]) -> int:
    """Return the bitmap with exactly these positions set."""
    data = bytearray()
    for position in positions:
        place = position >> 3
        if place >= len(data):
            data.extend(bytes(place + 1 - len(data)))
        data[place] |= 1 << (position & 7)
    return int.from_bytes(data, "little")
