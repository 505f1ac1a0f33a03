"""When the index follows the chain: after so many changes or so long, on a thread of its own [T8].

The chain's commits never wait for it, but where it is far behind: then the next commit waits, so
that the layers in memory stay bounded.
"""

import threading
import time
from contextlib import suppress
from typing import Final

from msgspec import Struct

from lockstep.storage.directory import is_want_of_room
from lockstep.storage.faults import DiskFull, StorageFailed
from lockstep.storage.index import Index
from lockstep.storage.layers import Layers

CHANGES_MAX: Final = 300_000
"""Coins made, coins spent and transactions of decided blocks with which the index follows.

Each row of a flush changes a page of a large index, so that pages are what a flush costs, and the
fewer flushes the fewer of them. They take 90 MB of memory meanwhile.
"""
AGE_S_MAX: Final = 20.0
"""How long a decided block waits for the index, where blocks are few."""
BACKLOG_MAX: Final = 3
"""A commit waits while there are so many times the changes at which a flush begins."""
HURRY: Final = 2
"""With so many times the changes the flusher takes no rests, nor when the store is to close."""
REST: Final = 4
"""How many times the processor's time of a slice the flusher rests after it, while nothing hurries.

Blocks come to all nodes at once, and so do their flushes: where several nodes share a machine, or
one has few cores, votes would wait for the processor behind all of them.
"""
PAUSE_S: Final = 0.0005
"""The least pause, so that the loop need not wait for the interpreter to be taken away."""
RETRY_S: Final = 1.0
"""How long a flush that found no room waits before it is tried again."""


class FlushLimits(Struct, frozen=True):
    """When a flush begins.

    Attributes:
        changes: Coins made, coins spent and transactions; a payment has about four.
        age_s: How long the lowest block that the index lacks has been waiting.
        is_concurrent: On a thread of its own; else within the commit, for tests and tools.
    """

    changes: int = CHANGES_MAX
    age_s: float = AGE_S_MAX
    is_concurrent: bool = True


class Flusher:
    """Writes layers to the index; its thread starts with the first flush."""

    def __init__(self, index: Index, layers: Layers, limits: FlushLimits) -> None:
        """Watch over these layers."""
        self._index = index
        self._layers = layers
        self._limits = limits
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._is_due = False
        self._is_stopping = False
        self._shortage: DiskFull | None = None
        self._failure: Exception | None = None

    def make_room(self) -> None:
        """Wait until the layers are few enough for another commit.

        Raises:
            DiskFull: If the index finds no room on the disk.
            Fatal: If the index has failed.
        """
        if self._failure is not None:
            raise self._failure
        if not self._is_over(BACKLOG_MAX):
            return
        if not self._limits.is_concurrent:
            self.flush()
            return
        self._wake()
        with self._changed:
            self._changed.wait_for(lambda: self._is_answered() or not self._is_over(BACKLOG_MAX))
        if self._failure is not None:
            raise self._failure
        if self._shortage is not None and self._is_over(BACKLOG_MAX):
            raise self._shortage

    def nudge(self) -> None:
        """Begin a flush if one is due; called after each commit.

        Raises:
            CorruptedRecord, StorageFailed: From a flush within the commit.
        """
        if not self._is_wanted():
            return
        if self._limits.is_concurrent:
            self._wake()
        else:
            # The commit is on the disk; the index may follow when there is room.
            with suppress(DiskFull):
                self.flush()

    def close(self, *, is_sound: bool) -> None:
        """End the thread; then flush what is left of a sound store, for a quick next start.

        Raises:
            CorruptedRecord, StorageFailed: If the index cannot be written.
        """
        if self._thread is not None:
            with self._changed:
                self._is_stopping = True
                self._changed.notify_all()
            self._thread.join()
            self._thread = None
        if is_sound and self._failure is None:
            # Without room the blocks are read again at the next start.
            with suppress(DiskFull):
                self.flush()

    def flush(self, *, rest: int | None = None) -> None:
        """Write all synced layers to the index, with rests of so many times the work before.

        Raises:
            DiskFull: If there is no room; nothing was written.
            CorruptedRecord, StorageFailed: If the index cannot be written.
        """
        layers = self._layers.begin_flush()
        if not layers:
            return
        try:
            started_s = time.thread_time()
            for _ in self._index.flush(layers):
                if rest is not None and not self._is_stopping and not self._is_over(HURRY):
                    spent_s = time.thread_time() - started_s
                    time.sleep(max(PAUSE_S, rest * self._leisure() * spent_s))
                    started_s = time.thread_time()
        except (DiskFull, StorageFailed) as fault:
            if not is_want_of_room(fault, self._index.path):
                raise
            raise DiskFull("the disk is full; the index waits for room") from fault
        self._layers.landed(layers[-1].height)

    def _is_wanted(self) -> bool:
        return self._is_over(1) or self._layers.age_s() >= self._limits.age_s

    def _is_over(self, times: int) -> bool:
        return self._layers.changes >= times * self._limits.changes

    def _leisure(self) -> float:
        """Return 1 where no more waits than begins a flush, 0 where everything hurries."""
        return min(1.0, HURRY - self._layers.changes / self._limits.changes)

    def _is_answered(self) -> bool:
        return self._failure is not None or self._shortage is not None

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="index", daemon=True)
            self._thread.start()
        with self._changed:
            self._is_due = True
            self._changed.notify_all()

    def _run(self) -> None:
        while self._failure is None:
            with self._changed:
                timeout_s = RETRY_S if self._shortage is not None else None
                self._changed.wait_for(lambda: self._is_due or self._is_stopping, timeout_s)
                if self._is_stopping:
                    return
                self._is_due = False
            if not self._is_wanted():
                # Commits that came while the last flush was under way asked for one more.
                continue
            shortage: DiskFull | None = None
            failure: Exception | None = None
            try:
                self.flush(rest=REST)
            except DiskFull as fault:
                shortage = fault
            except Exception as fault:  # noqa: BLE001  # The next commit raises it, whatever it is.
                failure = fault
            with self._changed:
                self._shortage, self._failure = shortage, failure
                self._changed.notify_all()
