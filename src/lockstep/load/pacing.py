"""When payments come due: at a rate, along a ramp, or as soon as others are final; pure."""

from typing import Final

from msgspec import Struct

from lockstep.errors import Rejected

TICK_S_MIN: Final = 0.005
TICK_S_MAX: Final = 0.1
WARM_UP_S: Final = 1.0
"""Rates are counted from then on, or from a fifth of a shorter step."""
PORTION_WISHED: Final = 100
"""So many are handed in together where nothing else is asked for, or what comes due in a tick."""
PORTION_WISHED_TPS: Final = 2_000
"""Above this rate a portion takes in what more comes due in a tick, up to a batch."""
PORTION_MAX: Final = 400
CLOSED_TICK_S: Final = 0.01
RATE_MAX: Final = 50_000


class WrongRamp(Rejected):
    """A ramp names no two rates."""

    code = "load.ramp"
    hint = f"write it like 500:4000, in payments a second, at most {RATE_MAX}"


class Profile(Struct, frozen=True):
    """How payments come due.

    Attributes:
        from_tps, to_tps: Payments a second at the start and at the end; between, a straight line.
        seconds: For how long; None for ever, at the first rate.
        closed: How many are kept under way instead; 0 for an open loop.
        portion: Payments handed in together; 0 for what comes due in 50 to 100 ms.
        after_tps, after_s: Another rate, and for how long it follows without a pause.
    """

    from_tps: int = 0
    to_tps: int = 0
    seconds: float | None = None
    closed: int = 0
    portion: int = 0
    after_tps: int = 0
    after_s: float = 0.0

    def due(self, elapsed_s: float) -> int:
        """Return how many payments are due in all after so many seconds of an open loop."""
        if self.seconds is None:
            return int(elapsed_s * self.from_tps)
        first_s = min(elapsed_s, self.seconds)
        after_s = min(elapsed_s, self.seconds + self.after_s) - first_s
        slope = (self.to_tps - self.from_tps) / self.seconds
        first = first_s * self.from_tps + slope * first_s * first_s / 2
        return int(first + after_s * self.after_tps)

    @property
    def total_s(self) -> float | None:
        """Return how long it all takes, None for ever."""
        return None if self.seconds is None else self.seconds + self.after_s

    @property
    def warm_up_s(self) -> float:
        """Return after how long rates are counted."""
        return min(WARM_UP_S, (self.total_s or 0.0) / 5)

    @property
    def total(self) -> int:
        """Return how many payments come due in an open loop that ends."""
        return self.due(self.total_s or 0.0)

    def part_at(self, elapsed_s: float) -> "Profile":
        """Return what holds at this time as a profile by itself: portions and ticks are its own."""
        if self.seconds is None or not self.after_s or elapsed_s < self.seconds:
            return self
        return Profile(self.after_tps, self.after_tps, self.after_s, portion=self.portion)

    @property
    def top_tps(self) -> int:
        """Return the highest rate, but for what follows."""
        return max(self.from_tps, self.to_tps)

    @property
    def portion_size(self) -> int:
        """Return how many payments are handed in together at most."""
        if self.portion:
            return self.portion
        if self.closed:
            return max(1, min(PORTION_MAX, self.closed // 8))
        more = int(max(0, self.top_tps - PORTION_WISHED_TPS) * TICK_S_MAX)
        wished = min(PORTION_WISHED, int(self.top_tps * TICK_S_MAX)) + more
        return max(1, min(PORTION_MAX, wished))

    def hold_back(self, due: int, before: int) -> int:
        """Return how many of what is due wait for the next tick, to go with others.

        What a tick comes late makes a few more than a portion due. Sent at once they would be
        batches of one or two, which cost the network as much as large ones. What waited `before`
        waits no longer, unless a whole portion goes.
        """
        rest = due % self.portion_size
        return 0 if rest == due and before else rest

    @property
    def tick_s(self) -> float:
        """Return how often to look: about once a portion."""
        if self.closed:
            return CLOSED_TICK_S
        return min(TICK_S_MAX, max(TICK_S_MIN, self.portion_size / max(1, self.top_tps)))


def parse_ramp(text: str) -> tuple[int, int]:
    """Read `500:4000`.

    Raises:
        WrongRamp: If it is no such pair.
    """
    words = text.split(":")
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        raise WrongRamp(f"{text[:40]!r} is no ramp")
    low, high = map(int, words)
    if max(low, high) > RATE_MAX or max(low, high) < 1:
        raise WrongRamp(f"{text[:40]!r} asks for no rate from 1 to {RATE_MAX}")
    return low, high
