"""Virtual time: a heap of what is to happen, and the order in which it does."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Clock:
    """The time of a simulated world; equal times happen in the order they were asked for.

    Attributes:
        now_ms: Virtual milliseconds since the beginning.
    """

    def __init__(self) -> None:
        """Start at 0 with nothing to happen."""
        self.now_ms = 0
        self._sequence = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` in so many milliseconds."""
        self.at(self.now_ms + delay_ms, action, *arguments)

    def at(self, time_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action(*arguments)` at a time, at the earliest now."""
        self._sequence += 1
        heappush(self._heap, (max(time_ms, self.now_ms), self._sequence, action, arguments))

    def advance(self) -> bool:
        """Let the next thing happen; False where nothing is left."""
        if not self._heap:
            return False
        self.now_ms, _, action, arguments = heappop(self._heap)
        action(*arguments)
        return True
