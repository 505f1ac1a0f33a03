"""How much of what is submitted may wait, and when who finds no room shall come again.

Beyond the bounds nothing is looked at: to refuse costs next to nothing, and memory stays bounded
however many come.
"""

from typing import Final

from lockstep.primitives.params import POOL_TRANSACTIONS_MAX
from lockstep.rpc.faults import SubmissionBusy

WAITING_BYTES_MAX: Final = 32 * 1024 * 1024
"""Encoded bytes of payments that are not judged yet."""
RETRY_MS_MIN: Final = 50
RETRY_MS_MAX: Final = 5_000
"""Bounds of the hint when to come again."""
BUSY_SENTENCE: Final = "as many payments wait at this node as it takes in"
_PACE_WEIGHT: Final = 4
"""A batch counts for one part in so many of the pace that is told."""


class Admittance:
    """Bounds what waits: payments for an answer, bytes for judgement; owned by the submitter."""

    def __init__(self) -> None:
        """Begin with nothing that waits and no pace known."""
        self._count = 0
        self._size_bytes = 0
        self._pace_us = 0

    def check(self, waiting: int) -> None:
        """Refuse whoever comes while there is no room at all; `waiting` lack an answer.

        Raises:
            SubmissionBusy: With a hint when to come again.
        """
        if not self._has_room(0, waiting):
            raise SubmissionBusy(BUSY_SENTENCE, retry_after_ms=self.retry_after_ms(waiting))

    def enter(self, size_bytes: int, *, waiting: int) -> bool:
        """Count a payment in, if there is room for it; tell whether there was."""
        if not self._has_room(size_bytes, waiting):
            return False
        self._count += 1
        self._size_bytes += size_bytes
        return True

    def leave(self, count: int, size_bytes: int, *, seconds: float) -> None:
        """Count payments out that were judged together and handed on, in so many seconds."""
        self._count -= count
        self._size_bytes -= size_bytes
        pace_us = int(seconds * 1_000_000) // count
        self._pace_us += (pace_us - self._pace_us) // _PACE_WEIGHT

    def retry_after_ms(self, waiting: int) -> int:
        """Return when there should be room: when half of what waits is handed on at this pace."""
        half_ms = waiting * self._pace_us // 2_000
        return max(RETRY_MS_MIN, min(RETRY_MS_MAX, half_ms))

    def _has_room(self, size_bytes: int, waiting: int) -> bool:
        # What nobody waits for any longer is still to be judged, so both numbers are looked at.
        return (
            max(self._count, waiting) < POOL_TRANSACTIONS_MAX
            and self._size_bytes + size_bytes < WAITING_BYTES_MAX
        )
