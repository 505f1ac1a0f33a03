"""Bitmaps over the transactions of a batch or block [B2].

On the wire a bitmap is ceil(count / 8) bytes, transaction i being bit i & 7 of byte i >> 3. In memory
it is one integer, which is the same bytes read little-endian, so that sets of transactions are
combined by integer arithmetic.
"""

from collections.abc import Iterable, Iterator

from lockstep.errors import Rejected


class MalformedBitmap(Rejected):
    """A bitmap has the wrong length, a surplus bit, or no bit at all."""

    code = "bitmap.malformed"


def bitmap_bytes(bits: int, count: int) -> bytes:
    """Write the set `bits` over `count` transactions in wire form [B2]."""
    return bits.to_bytes((count + 7) >> 3, "little")


def parse_bitmap(data: bytes, count: int) -> int:
    """Read a wire bitmap over `count` transactions as an integer [B2].

    Raises:
        MalformedBitmap: If the length is wrong, a surplus bit is set, or no bit is.
    """
    bits = int.from_bytes(data, "little")
    if len(data) != (count + 7) >> 3 or bits >> count or not bits:
        raise MalformedBitmap(f"not a bitmap over {count} transactions")
    return bits


def iterate_bits(bits: int) -> Iterator[int]:
    """Yield the positions of the set bits in ascending order."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def collect_bits(positions: Iterable[int]) -> int:
    """Return the bitmap with exactly these positions set."""
    bits = 0
    for position in positions:
        bits |= 1 << position
    return bits
