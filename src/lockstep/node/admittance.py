"""How much of what is submitted may wait, and when who finds no room shall come again.

Beyond the bounds nothing is looked at: to refuse costs next to nothing, and memory stays bounded
however many come.
"""

from collections import deque
from collections.abc import Collection, Iterable
from itertools import repeat
from typing import Final

from lockstep.primitives.params import POOL_TRANSACTIONS_MAX
from lockstep.rpc.faults import SubmissionBusy

WAITING_BYTES_MAX: Final = 32 * 1024 * 1024
"""Encoded bytes of payments that are not judged yet."""
OPEN_MIN: Final = 2_000
"""Payments handed in here and not final that are always let be, whatever the pace is."""
OPEN_S: Final = 2
"""Beyond those, as many as become final in this time: more would only wait for longer."""
REOPENING_PARTS: Final = 4
"""Who is full takes nothing until one in so many of those has become final."""
PACE_S: Final = 8
"""The time over which the pace of finality is taken; an epoch's end makes it pause."""
FORGOTTEN_S: Final = 10.0
"""A payment that is open for longer waits for something else, and counts no more."""
RETRY_MS_MIN: Final = 50
RETRY_MS_MAX: Final = 5_000
"""Bounds of the hint when to come again."""
BUSY_SENTENCE: Final = "as many payments wait at this node as it takes in"
_PACE_WEIGHT: Final = 4
"""A batch counts for one part in so many of the pace that is told."""


class OpenPayments:
    """Payments handed in here that are not final yet, and how many the network makes final.

    A queue that is longer than what becomes final in two seconds makes everybody wait and nothing
    quicker, and keeps its length when the flood is over.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._since_s: dict[bytes, float] = {}
        self._ended: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._since_s)

    def __contains__(self, txid: bytes) -> bool:
        """Tell whether a payment is open."""
        return txid in self._since_s

    def begin(self, txid: bytes, now_s: float) -> None:
        """Count a payment in."""
        self._since_s[txid] = now_s

    def begin_all(self, txids: Iterable[bytes], now_s: float) -> None:
        """Count payments in."""
        self._since_s.update(dict.fromkeys(txids, now_s))

    def end(self, txids: Collection[bytes], now_s: float) -> None:
        """Count payments out that are final, decided, refused or dropped, where they are open."""
        open_since = self._since_s
        if open_since.keys().isdisjoint(txids):
            return
        before = len(open_since)
        deque(map(open_since.pop, txids, repeat(None)), maxlen=0)
        count = before - len(open_since)
        second = int(now_s)
        if self._ended and self._ended[-1][0] == second:
            count += self._ended.pop()[1]
        self._ended.append((second, count))

    def limit(self, now_s: float) -> int:
        """Return how many may be open; what has been open for long is forgotten."""
        while self._since_s:
            txid, since_s = next(iter(self._since_s.items()))
            if now_s - since_s <= FORGOTTEN_S:
                break
            del self._since_s[txid]
        while self._ended and self._ended[0][0] <= int(now_s) - PACE_S:
            self._ended.popleft()
        return max(OPEN_MIN, sum(count for _, count in self._ended) * OPEN_S // PACE_S)


class Admittance:
    """Bounds what waits: payments for finality, for an answer, bytes for judgement.

    Owned by the submitter.

    Attributes:
        open: Payments handed in here that are not final.
    """

    def __init__(self) -> None:
        """Begin with nothing that waits and no pace known."""
        self.open = OpenPayments()
        self._count = 0
        self._size_bytes = 0
        self._pace_us = 0
        self._is_full = False

    def check(self, waiting: int, *, now_s: float) -> None:
        """Refuse whoever comes while there is no room at all; `waiting` lack an answer.

        Raises:
            SubmissionBusy: With a hint when to come again.
        """
        if not self._has_room(0, waiting, now_s):
            raise SubmissionBusy(BUSY_SENTENCE, retry_after_ms=self.retry_after_ms(waiting))

    def enter(self, txid: bytes, size_bytes: int, *, waiting: int, now_s: float) -> bool:
        """Count a payment in, if there is room for it; tell whether there was."""
        if not self._has_room(size_bytes, waiting, now_s):
            return False
        self.open.begin(txid, now_s)
        self._count += 1
        self._size_bytes += size_bytes
        return True

    def enter_all(
        self, txids: Collection[bytes], size_bytes: int, *, waiting: int, now_s: float
    ) -> bool:
        """Count payments in, if there is room for all of them; tell whether there was."""
        count = len(txids)
        if not self._has_room(size_bytes, waiting, now_s, count=count):
            return False
        self.open.begin_all(txids, now_s)
        self._count += count
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
        if len(self.open) >= OPEN_MIN:
            half_ms = max(half_ms, 500 * OPEN_S)
        return max(RETRY_MS_MIN, min(RETRY_MS_MAX, half_ms))

    def _has_room(self, size_bytes: int, waiting: int, now_s: float, *, count: int = 1) -> bool:
        # What nobody waits for any longer is still to be judged, so both numbers are looked at.
        return (
            max(self._count, waiting) + count <= POOL_TRANSACTIONS_MAX
            and self._size_bytes + size_bytes < WAITING_BYTES_MAX
            and self._is_open_to(count, now_s)
        )

    def _is_open_to(self, count: int, now_s: float) -> bool:
        """Tell whether so many more may be open.

        If every place were given away as it falls free, there would be many small batches, and
        what is refused would have been opened for nothing.
        """
        limit = self.open.limit(now_s)
        if self._is_full and len(self.open) > limit - limit // REOPENING_PARTS:
            return False
        self._is_full = len(self.open) + count > limit
        return not self._is_full
