"""Gathers submitted transactions into batches [B1]; time comes in with each call.

A lone payment on an idle node leaves at once, and so do many that came together. While a commit is
in flight gathering costs nothing, so a batch waits for its end, within a bound that grows with the
set. A batch costs the set as much as a hundred payments in it, so the next one is not sent after it
before it is final, within a bound as well: what comes meanwhile goes together.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Final, Generic, TypeVar

from lockstep.primitives.params import (
    BATCH_GATHER_MS,
    BATCH_LARGE_SET_MS,
    BATCH_LOAD_MS,
    BATCH_PACE_MS,
    LARGE_SET_MEMBERS,
)
from lockstep.primitives.transaction import (
    BATCH_BYTES_MAX,
    BATCH_TRANSACTIONS_MAX,
)

READY_TRANSACTIONS: Final = 64
"""So many fill the verifier's lanes and need no company on an idle node."""
_FRAMING_BYTES = 16

T = TypeVar("T")


class Batcher(Generic[T]):
    """Transactions that wait for their batch, in order of arrival, each txid once.

    In what form they wait is for the owner to say; here their size counts alone.
    """

    def __init__(self, *, members: int) -> None:
        """Gather for a set of this many members."""
        self._load_ms = BATCH_LARGE_SET_MS if members > LARGE_SET_MEMBERS else BATCH_LOAD_MS
        self._waiting: dict[bytes, tuple[T, int]] = {}
        self._size_bytes = 0
        self._first_ms = 0
        self._commits = 0
        self._pace_until_ms = 0

    def __len__(self) -> int:
        """Return how many transactions wait."""
        return len(self._waiting)

    def add(self, transaction: T, txid: bytes, *, size_bytes: int, time_ms: int) -> None:
        """Take a transaction in; one that waits already is not added again."""
        if not self._waiting:
            self._first_ms = time_ms
        if txid not in self._waiting:
            self._waiting[txid] = (transaction, size_bytes)
            self._size_bytes += size_bytes

    def add_all(self, rows: Mapping[bytes, tuple[T, int]], *, time_ms: int) -> None:
        """Take transactions in by txid, each with its size in bytes; as `add` does one by one."""
        if not self._waiting.keys().isdisjoint(rows):
            for txid, (transaction, size_bytes) in rows.items():
                self.add(transaction, txid, size_bytes=size_bytes, time_ms=time_ms)
            return
        if not self._waiting:
            self._first_ms = time_ms
        self._waiting.update(rows)
        self._size_bytes += sum([size_bytes for _, size_bytes in rows.values()])

    def due_ms(self, time_ms: int) -> int | None:
        """Return in how many milliseconds `take` is to be called: 0 is now, None nothing waits."""
        if not self._waiting:
            return None
        full = len(self._waiting) >= BATCH_TRANSACTIONS_MAX
        if full or self._size_bytes + _FRAMING_BYTES >= BATCH_BYTES_MAX:
            return 0
        pace_ms = max(0, self._pace_until_ms - time_ms)
        count = len(self._waiting)
        if not self._commits and (count == 1 or count >= READY_TRANSACTIONS):
            return pace_ms
        bound_ms = self._load_ms if self._commits else BATCH_GATHER_MS
        return max(pace_ms, self._first_ms + bound_ms - time_ms)

    def take(self, time_ms: int) -> list[T]:
        """Return the next batch's transactions, oldest first; the rest waits on."""
        self._first_ms = time_ms
        if (
            len(self._waiting) <= BATCH_TRANSACTIONS_MAX
            and self._size_bytes + _FRAMING_BYTES <= BATCH_BYTES_MAX
        ):
            batch = [transaction for transaction, _ in self._waiting.values()]
            self._waiting.clear()
            self._size_bytes = 0
            return batch
        batch = []
        size_bytes = _FRAMING_BYTES
        oldest = list(islice(self._waiting.items(), BATCH_TRANSACTIONS_MAX))
        for txid, (transaction, transaction_bytes) in oldest:
            size_bytes += transaction_bytes
            if batch and size_bytes > BATCH_BYTES_MAX:
                break
            batch.append(transaction)
            self._size_bytes -= transaction_bytes
            del self._waiting[txid]
        return batch

    def batch_left(self, time_ms: int) -> None:
        """Note that a batch is on its way, and hold back the next for a while."""
        self._pace_until_ms = time_ms + BATCH_PACE_MS

    def batch_ended(self) -> None:
        """Note that it is final, or came to nothing."""
        self._pace_until_ms = 0

    def commit_started(self) -> None:
        """Note that a commit is in flight."""
        self._commits += 1

    def commit_ended(self) -> None:
        """Note that a commit has ended."""
        self._commits -= 1
