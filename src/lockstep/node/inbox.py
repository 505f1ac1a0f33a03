"""The inbox: the one queue by which events reach the replica, bounded.

Whoever brings events from outside waits while it is full, and so slows down what feeds it. The
node's own events (timers, disk, connections) are few by nature and never wait, so that the loop
cannot lock up on itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from lockstep.replica.events import Event

INBOX_EVENTS_MAX: Final = 128
"""Events that wait for the core; who brings one more waits."""


class Inbox:
    """A queue of events with one reader; used on the loop's thread alone."""

    def __init__(self, events_max: int = INBOX_EVENTS_MAX) -> None:
        """Begin empty, with room for `events_max` events from outside."""
        self._events: deque[Event] = deque()
        self._events_max = events_max
        self._reader: Callable[[], None] = _read_nothing
        self._is_due = False
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        """Return the number of events that wait."""
        return len(self._events)

    async def put(self, event: Event) -> None:
        """Queue an event from outside, when there is room."""
        while len(self._events) >= self._events_max:
            self._room.clear()
            await self._room.wait()
        self.put_now(event)

    def put_now(self, event: Event) -> None:
        """Queue one of the node's own events."""
        self._events.append(event)
        if not self._is_due:
            self.wake()

    def pop(self) -> Event | None:
        """Return the next event, None if there is none."""
        if not self._events:
            return None
        event = self._events.popleft()
        if len(self._events) < self._events_max:
            self._room.set()
        return event

    def serve(self, reader: Callable[[], None]) -> None:
        """Call the reader from now on, in a turn of the loop of its own, when there are events.

        It may leave some; then it is called after the next event, or when somebody calls `wake`.
        """
        self._reader = reader
        self.wake()

    def wake(self) -> None:
        """Have the reader called soon if there are events."""
        if self._events and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._call_reader)

    def _call_reader(self) -> None:
        self._is_due = False
        self._reader()


def _read_nothing() -> None:
    """Leave all events where they are."""
