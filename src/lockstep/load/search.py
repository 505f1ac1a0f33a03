"""The search for saturation: double the rate until too little is final, then halve the gap; pure.

A rate is *kept* when at least `KEPT_PERCENT` of what was asked for is final within the time of the
step: what the load could not send counts as not kept, so a slow generator cannot flatter a node.
"""

from typing import Final

KEPT_PERCENT: Final = 95
FIRST_TPS: Final = 1_000
LEAST_TPS: Final = 25
BISECTIONS: Final = 3
NEAR_PERCENT: Final = 5
"""Rates that are nearer to each other are not told apart."""


def is_kept(*, asked_tps: float, final_tps: float) -> bool:
    """Tell whether a step kept the rate it was asked for."""
    return final_tps * 100 >= asked_tps * KEPT_PERCENT


class SaturationSearch:
    """Which rate to try next.

    Attributes:
        best: The highest rate that was kept, 0 as long as none was.
    """

    def __init__(
        self, first_tps: int = FIRST_TPS, *, ceiling_tps: int, bisections: int = BISECTIONS
    ) -> None:
        """Begin at `first_tps`; never ask for more than `ceiling_tps`."""
        self.best = 0
        self._ceiling = ceiling_tps
        self._lost: int | None = None
        self._next = min(first_tps, ceiling_tps)
        self._bisections = bisections

    def next_rate(self) -> int | None:
        """Return the rate to try, None when the search is over."""
        return self._next or None

    def note(self, rate: int, *, kept: bool) -> None:
        """Note whether a rate was kept."""
        if kept:
            self.best = max(self.best, rate)
        else:
            self._lost = rate if self._lost is None else min(self._lost, rate)
        self._next = self._choose()

    def _choose(self) -> int:
        if self._lost is None:
            return 0 if self.best >= self._ceiling else min(2 * self.best, self._ceiling)
        if not self.best:
            half = self._lost // 2
            return half if half >= LEAST_TPS else 0
        gap = self._lost - self.best
        if not self._bisections or gap * 100 < self.best * NEAR_PERCENT:
            return 0
        self._bisections -= 1
        return self.best + gap // 2
