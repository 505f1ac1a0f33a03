"""Simulated links between each two nodes, one for each direction: delay, loss, repeats, partitions.

By default a link is what TCP gives, in order and without loss. Where frames vanish or overtake each
other nothing tells the nodes so, which is harsher than any real transport of ours.
"""

from collections.abc import Iterable
from random import Random

from lockstep.sim.options import Options

STALL_MAX_MS = 5_000

Direction = tuple[int, int]
"""(index of the sender, index of the receiver)."""


class Links:
    """Draws when each frame arrives; knows nothing of what it holds.

    Attributes:
        is_faulty: Whether frames may be lost, repeated, held up or overtaken.
        lost, repeated, stalled, overtaking: Frames so far.
    """

    def __init__(self, count: int, options: Options, dice: Random) -> None:
        """Lay the links among `count` nodes and draw their delays."""
        self.is_faulty = True
        self.lost = 0
        self.repeated = 0
        self.stalled = 0
        self.overtaking = 0
        self._dice = dice
        self._options = options
        self._jitter_ms = options.jitter_ms + 1
        self._delays_ms = {
            (sender, receiver): dice.randint(1, options.delay_ms)
            for sender in range(count)
            for receiver in range(count)
            if sender != receiver
        }
        self._blocked: dict[Direction, None] = {}
        self._last_ms: dict[Direction, int] = {}

    def block(self, directions: Iterable[Direction]) -> None:
        """Let nothing pass in these directions."""
        self._blocked.update(dict.fromkeys(directions))

    def unblock(self) -> None:
        """Let everything pass again."""
        self._blocked = {}

    def is_open(self, one: int, other: int) -> bool:
        """Tell whether frames pass both ways between two nodes."""
        return (one, other) not in self._blocked and (other, one) not in self._blocked

    def arrivals(self, sender: int, receiver: int, now_ms: int) -> tuple[int, ...]:
        """Return when the copies of a frame sent now arrive; none if it is lost."""
        direction = (sender, receiver)
        if direction in self._blocked:
            self.lost += 1
            return ()
        dice = self._dice
        options = self._options
        arrival_ms = now_ms + self._delays_ms[direction] + int(dice.random() * self._jitter_ms)
        if not self.is_faulty:
            return (self._in_order(direction, arrival_ms),)
        if options.loss_percent and dice.random() * 100 < options.loss_percent:
            self.lost += 1
            return ()
        if options.stall_percent and dice.random() * 100 < options.stall_percent:
            self.stalled += 1
            arrival_ms += dice.randint(100, STALL_MAX_MS)
        if options.reorder:
            self.overtaking += arrival_ms < self._last_ms.get(direction, 0)
            self._last_ms[direction] = arrival_ms
        else:
            arrival_ms = self._in_order(direction, arrival_ms)
        if options.duplicate_percent and dice.random() * 100 < options.duplicate_percent:
            self.repeated += 1
            return (arrival_ms, arrival_ms + dice.randint(1, 1_000))
        return (arrival_ms,)

    def _in_order(self, direction: Direction, arrival_ms: int) -> int:
        arrival_ms = max(arrival_ms, self._last_ms.get(direction, 0))
        self._last_ms[direction] = arrival_ms
        return arrival_ms
