"""Ed25519 eight signatures at a time, by a kernel that is handed in.

The kernel is a function of five addresses, of eight pointers each (the lengths are eight 32-bit
integers): R, S, message, message length, public key. It returns a status word with four bits a
lane. This module puts signatures into lanes and reads the word; it finds and loads no library, and
the same rules go before the kernel as before any other backend [M3, 2.8].
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, compress
from typing import Final

from lockstep.crypto.keys import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    SignatureCheck,
    is_within_bounds,
    sodium_holds,
)

LANES: Final = 8
"""Signatures that the kernel judges in one call."""
LANES_MIN: Final = 2
"""A call costs the same for one signature as for eight, as much as libsodium for one and a half."""
STATUS_GOOD: Final = 0
STATUS_BAD: Final = 8
"""The kernel's word for a signature that does not hold; any other is no verdict."""

_LANE_BITS: Final = 4
_LANE_MASK: Final = (1 << _LANE_BITS) - 1
_POINTER_BYTES: Final = 8
_LENGTH_BYTES: Final = 4
_FIXED_BYTES: Final = KEY_BYTES + SIGNATURE_BYTES

Kernel = Callable[[int, int, int, int, int], int]


class MultiBufferVerifier:
    """The verifier over a kernel of eight lanes; a lone signature goes to libsodium.

    It holds nothing between two calls, so threads may share it.
    """

    name = "crypto_mb"

    def __init__(self, kernel: Kernel) -> None:
        """Take the kernel; whether it can be trusted is for `selftest` to say."""
        self._kernel = kernel

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Return whether each check holds, in order [M3]."""
        within = [is_within_bounds(key, signature) for key, _, signature in checks]
        if all(within):
            return self._decide(checks)
        decided = iter(self._decide(list(compress(checks, within))))
        return [fits and next(decided) for fits in within]

    def _decide(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        count = len(checks)
        rest = count % LANES
        in_lanes = count - rest if rest < LANES_MIN else count
        verdicts = [True] * count
        if in_lanes:
            for place, status in self._refused(checks[:in_lanes]):
                verdicts[place] = status != STATUS_BAD and sodium_holds(*checks[place])
        for place in range(in_lanes, count):
            verdicts[place] = sodium_holds(*checks[place])
        return verdicts

    def _refused(self, checks: Sequence[SignatureCheck]) -> list[tuple[int, int]]:
        """Return place and status of each check that the kernel did not find good."""
        count = len(checks)
        # One piece of memory holds key, message and signature of all, one check after the other.
        # The arrays below point into it, and all of them live until the last call has returned.
        memory = array("B", b"".join(chain.from_iterable(checks)))
        lengths = array("I", [len(message) for _, message, _ in checks])
        keys, start = _locate(lengths, memory.buffer_info()[0])
        messages = array("Q", [address + KEY_BYTES for address in keys])
        scalars = array("Q", [address - SIGNATURE_BYTES // 2 for address in (*keys[1:], start)])
        points = array("Q", [address - SIGNATURE_BYTES // 2 for address in scalars])
        empty = -count % LANES
        columns = (points, scalars, messages, lengths, keys)
        for column in columns:
            # A lane without a check of its own repeats the last one.
            column.extend(column[-1:] * empty)
        at = [column.buffer_info()[0] for column in columns]
        refused: list[tuple[int, int]] = []
        kernel = self._kernel
        for first in range(0, count, LANES):
            pointers, sizes = first * _POINTER_BYTES, first * _LENGTH_BYTES
            word = kernel(
                at[0] + pointers,
                at[1] + pointers,
                at[2] + pointers,
                at[3] + sizes,
                at[4] + pointers,
            )
            if word != STATUS_GOOD:
                refused += _read_status(word, first, min(LANES, count - first))
        return refused


def _locate(lengths: Sequence[int], start: int) -> tuple["array[int]", int]:
    """Return where each check begins in memory that begins at `start`, and where the last ends."""
    size = _FIXED_BYTES + lengths[0]
    end = start + size * len(lengths)
    if lengths.count(lengths[0]) == len(lengths):
        return array("Q", range(start, end, size)), end
    sizes = [_FIXED_BYTES + length for length in lengths]
    *places, end = accumulate(sizes, initial=start)
    return array("Q", places), end


def _read_status(word: int, first: int, lanes: int) -> list[tuple[int, int]]:
    statuses = [(word >> lane * _LANE_BITS) & _LANE_MASK for lane in range(lanes)]
    return [(first + lane, status) for lane, status in enumerate(statuses) if status != STATUS_GOOD]
