"""Ed25519 eight signatures at a time, by a kernel that is handed in.

The kernel is a function of five addresses, of eight pointers each (the lengths are eight 32-bit
integers): R, S, message, message length, public key. It returns a status word with four bits a
lane. This module puts signatures into lanes and reads the word; it finds and loads no library, and
the same rules go before the kernel as before any other backend [M3].
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, compress
from typing import Final

from lockstep.crypto.keys import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    SignatureCheck,
    are_surely_within_bounds,
    have_length,
    is_within_bounds,
    sodium_holds,
    verify,
)

LANES: Final = 8
"""Signatures that the kernel judges in one call."""
LANES_MIN: Final = 2
"""A call costs the same for one signature as for eight, as much as libsodium for one and a half."""
STATUS_GOOD: Final = 0
STATUS_BAD: Final = 8
"""The kernel's word for a signature that does not hold; any other is no verdict."""
DESK_CHECKS: Final = 128
"""Checks laid out at a time: as many as are judged in one step."""

_LANE_BITS: Final = 4
_LANE_MASK: Final = (1 << _LANE_BITS) - 1
_POINTER_BYTES: Final = 8
_LENGTH_BYTES: Final = 4
_SCALAR_AT: Final = SIGNATURE_BYTES // 2
_DIGEST_BYTES: Final = 32

Kernel = Callable[[int, int, int, int, int], int]
_Addresses = tuple[int, int, int, int, int]


class MultiBufferVerifier:
    """The verifier over a kernel of eight lanes; a lone signature goes to libsodium.

    Threads may share it: whoever verifies takes a desk, or brings a new one, and puts it back.
    """

    name = "crypto_mb"

    def __init__(self, kernel: Kernel) -> None:
        """Take the kernel; whether it can be trusted is for `selftest` to say."""
        self._kernel = kernel
        self._desks: list[_Desk] = []

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Return whether each check holds, in order [M3]."""
        if len(checks) < LANES_MIN:
            return [verify(*check) for check in checks]
        verdicts: list[bool] = []
        for start in range(0, len(checks), DESK_CHECKS):
            verdicts += self._judge(checks[start : start + DESK_CHECKS])
        return verdicts

    def _judge(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Judge as many checks as a desk takes."""
        keys, _, signatures = zip(*checks, strict=True)
        if are_surely_within_bounds(keys, signatures):
            return self._decide(checks)
        within = [is_within_bounds(key, signature) for key, _, signature in checks]
        decided = iter(self._decide(list(compress(checks, within))))
        return [fits and next(decided) for fits in within]

    def _decide(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Let the backends decide on checks that are within the bounds."""
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
        try:
            desk = self._desks.pop()
        except IndexError:
            desk = _Desk()
        count, kernel = len(checks), self._kernel
        refused: list[tuple[int, int]] = []
        for group, addresses in enumerate(desk.lay_out(checks)):
            word = kernel(*addresses)
            if word != STATUS_GOOD:
                first = group * LANES
                refused += _read_status(word, first, min(LANES, count - first))
        self._desks.append(desk)
        return refused


class _Desk:
    """Memory for the checks of one call, and the addresses of their parts by group of eight.

    It is made once: to lay out other checks of the same shape is to copy three columns. What was
    handed to the kernel lives as long as the desk.
    """

    def __init__(self) -> None:
        keys = array("B", bytes(KEY_BYTES * DESK_CHECKS))
        signatures = array("B", bytes(SIGNATURE_BYTES * DESK_CHECKS))
        digests = array("B", bytes(_DIGEST_BYTES * DESK_CHECKS))
        keys_at, signatures_at = keys.buffer_info()[0], signatures.buffer_info()[0]
        self._points = _places(signatures_at, SIGNATURE_BYTES)
        self._scalars = _places(signatures_at + _SCALAR_AT, SIGNATURE_BYTES)
        self._key_places = _places(keys_at, KEY_BYTES)
        self._digest_places = _places(digests.buffer_info()[0], _DIGEST_BYTES)
        self._digest_lengths = array("I", [_DIGEST_BYTES] * DESK_CHECKS)
        self._digest_groups = self._groups(self._digest_places, self._digest_lengths)
        self._keys = memoryview(keys)
        self._signatures = memoryview(signatures)
        self._digests = memoryview(digests)

    def lay_out(self, checks: Sequence[SignatureCheck]) -> Sequence[_Addresses]:
        """Copy the checks in; return what the kernel is handed for each group of eight.

        A lane without a check of its own repeats the last one.
        """
        keys, messages, signatures = zip(*checks, strict=True)
        spare = -len(checks) % LANES
        if spare:
            keys += keys[-1:] * spare
            messages += messages[-1:] * spare
            signatures += signatures[-1:] * spare
        count = len(keys)
        self._keys[: count * KEY_BYTES] = b"".join(keys)
        self._signatures[: count * SIGNATURE_BYTES] = b"".join(signatures)
        if not have_length(messages, _DIGEST_BYTES):
            return self._lay_out_long(messages)
        self._digests[: count * _DIGEST_BYTES] = b"".join(messages)
        return self._digest_groups[: count // LANES]

    def _lay_out_long(self, messages: Sequence[bytes]) -> Sequence[_Addresses]:
        """Lay out messages of other lengths than a digest's; nobody signs such ones, vectors do."""
        lengths = array("I", map(len, messages))
        # One byte more, so that there is an address where all are empty.
        self._long = array("B", b"".join(messages) + b"\0")
        start = self._long.buffer_info()[0]
        places = array("Q", accumulate(lengths[:-1], initial=start))
        self._long_columns = places, lengths
        return self._groups(places, lengths)

    def _groups(self, messages: "array[int]", lengths: "array[int]") -> list[_Addresses]:
        columns = (self._points, self._scalars, messages, lengths, self._key_places)
        points, scalars, texts, sizes, keys = [column.buffer_info()[0] for column in columns]
        groups: list[_Addresses] = []
        for first in range(0, len(messages), LANES):
            by = first * _POINTER_BYTES
            size = sizes + first * _LENGTH_BYTES
            groups.append((points + by, scalars + by, texts + by, size, keys + by))
        return groups


def _places(start: int, size: int) -> "array[int]":
    return array("Q", range(start, start + size * DESK_CHECKS, size))


def _read_status(word: int, first: int, lanes: int) -> list[tuple[int, int]]:
    statuses = [(word >> lane * _LANE_BITS) & _LANE_MASK for lane in range(lanes)]
    return [(first + lane, status) for lane, status in enumerate(statuses) if status != STATUS_GOOD]
