"""The storage thread: does what it is given, one job after the other, and tells the loop.

A pool of one thread would do the same with a future, a condition and several locks a job.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

NAME: Final = "storage_0"

T = TypeVar("T")


class StorageThread:
    """One thread, started with its first job; used on the loop's thread alone."""

    def __init__(self) -> None:
        """Begin without a thread."""
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None]
        self._jobs = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], T], then: Callable[[T | BaseException], None]) -> None:
        """Do `work` in the thread, then hand what it returned or raised to `then`, on the loop."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, args=(loop,), name=NAME)
            self._thread.start()
        self._jobs.put((work, then))

    def close(self) -> None:
        """Wait until all that was given is done, and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            work, then = job
            try:
                outcome = work()
            except BaseException as fault:  # noqa: BLE001  # Whoever asked for the work raises it.
                outcome = fault
            loop.call_soon_threadsafe(then, outcome)
