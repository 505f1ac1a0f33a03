"""How a claim is judged: the naive variant and ours in turns, what each did compared, a verdict.

A claim of throughput says how many times as much ours does; what counts is the median of the ratios
of neighbouring samples, because whoever else uses the machine meets both of a pair. A claim of
stability says by what share at most something grows. A verdict is a comparison with the claim and
nothing else: what is missed is called missed.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from statistics import median, quantiles
from typing import Final, TypeVar

import uvloop
from msgspec import Struct

GC_THRESHOLDS: Final = (5_000, 50, 1_000)
"""Those of a node, for both variants."""

NAIVE: Final = "naive"
OURS: Final = "ours"

T = TypeVar("T")


class Rule(StrEnum):
    """What is held against the claim."""

    TIMES = "times"
    """How many times the value of the naive variant ours has; the claim is the least."""
    SHARE = "share"
    """The value of ours by itself; the claim is the most."""


class Clock(StrEnum):
    """By which time a rate is meant."""

    CPU = "cpu"
    """CPU time of the process: for what is a matter of work."""
    WALL = "wall"
    """Time that passes: for what is a matter of waiting."""


class Sample(Struct, frozen=True):
    """One run of a variant.

    Attributes:
        items: How much was done.
        cpu_s: CPU time of all threads.
        wall_s: Time that passed.
        outcome: What came out; that of the two variants must be equal.
        value: What is measured where it is no rate.
    """

    items: int
    cpu_s: float
    wall_s: float
    outcome: object
    value: float | None = None

    def measure(self, clock: Clock) -> float:
        """Return the value, or the items a second."""
        if self.value is not None:
            return self.value
        return self.items / (self.cpu_s if clock is Clock.CPU else self.wall_s)


class Contest(Struct, frozen=True):
    """Variants that do the same work, ready to be run any number of times in turns.

    Attributes:
        naive: The variant that the claim is held against.
        ours: The product's.
        others: Variants between the two, which show what a part of the difference is worth.
        close: Gives back what the contest holds.
    """

    naive: Callable[[], Sample]
    ours: Callable[[], Sample]
    others: dict[str, Callable[[], Sample]] = {}
    close: Callable[[], None] = lambda: None


class Claim(Struct, frozen=True):
    """A claim, and how to put it to the test.

    Attributes:
        name: One word.
        claimed: What was claimed, by the rule.
        unit: Of the values of both variants.
        what: What is measured, in a sentence.
        why_missed: What is known of the reason where it is missed.
        size: How much work a sample is, in a unit of the claim's own.
        prepare: Makes the contest of that size.
    """

    name: str
    claimed: float
    unit: str
    what: str
    why_missed: str
    size: int
    prepare: Callable[[int], Contest]
    clock: Clock = Clock.CPU
    rule: Rule = Rule.TIMES


class Row(Struct, frozen=True):
    """The verdict on one claim.

    Attributes:
        claim: Its name.
        claimed: By the rule: the least ratio, or the greatest share.
        measured: The median.
        spread: The 10th and the 90th percentile.
        reached: Whether the median keeps what was claimed.
        naive: Median of the naive variant.
        ours: Median of ours.
        unit: Of these two.
        what: What is measured.
        rule: `times` or `share`.
        clock: `cpu` or `wall`.
        samples: Pairs of samples taken.
        same_work: Whether both variants came to the same outcome every time.
        why: Where the claim is missed, what is known of the reason; else empty.
        others: Median and spread, by the same rule, against the variants between the two.
    """

    claim: str
    claimed: float
    measured: float
    spread: tuple[float, float]
    reached: bool
    naive: float
    ours: float
    unit: str
    what: str
    rule: str
    clock: str
    samples: int
    same_work: bool
    why: str
    others: dict[str, tuple[float, float, float]]


Round = dict[str, Sample]
"""One sample of each variant: `naive`, `ours`, and now and then the others by their names."""


def play_round(contest: Contest, *, with_others: bool = True) -> Round:
    """Take a sample of each variant in turn."""
    variants = {NAIVE: contest.naive, OURS: contest.ours}
    if with_others:
        variants |= contest.others
    return {name: variant() for name, variant in variants.items()}


def judge(claim: Claim, rounds: Sequence[Round]) -> Row:
    """Hold the samples against the claim; there is one round at least."""
    found = _hold(claim, rounds, NAIVE)
    middle = median(found)
    kept = middle >= claim.claimed if claim.rule is Rule.TIMES else middle <= claim.claimed
    same_work = all(
        sample.outcome == played[OURS].outcome for played in rounds for sample in played.values()
    )
    reached = kept and same_work
    why = ""
    if not same_work:
        why = "the variants did not come to the same outcome, so nothing is shown"
    elif not reached:
        why = claim.why_missed or "the reason is not known yet"
    others = dict.fromkeys(name for played in rounds for name in played)
    return Row(
        claim=claim.name,
        claimed=claim.claimed,
        measured=_round(middle),
        spread=_spread(found),
        reached=reached,
        naive=_round(median(played[NAIVE].measure(claim.clock) for played in rounds)),
        ours=_round(median(played[OURS].measure(claim.clock) for played in rounds)),
        unit=claim.unit,
        what=claim.what,
        rule=claim.rule.value,
        clock=claim.clock.value,
        samples=len(rounds),
        same_work=same_work,
        why=why,
        others={
            name: (_round(median(against)), *_spread(against))
            for name in others
            if name not in (NAIVE, OURS)
            for against in [_hold(claim, rounds, name)]
        },
    )


def _hold(claim: Claim, rounds: Sequence[Round], name: str) -> list[float]:
    """Return what each round shows by the claim's rule, against the variant of this name."""
    if claim.rule is Rule.SHARE:
        return [played[OURS].measure(claim.clock) for played in rounds]
    return [
        played[OURS].measure(claim.clock) / played[name].measure(claim.clock)
        for played in rounds
        if name in played
    ]


@contextmanager
def settled_memory() -> Iterator[None]:
    """Keep the collector from what was prepared, as a node does from what stays."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def time_sample(work: Callable[[], tuple[int, object]]) -> Sample:
    """Run work that returns (items, outcome), and time it."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    items, outcome = work()
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    return Sample(items=items, cpu_s=cpu_s, wall_s=wall_s, outcome=outcome)


def run_on_loop(work: Callable[[], Awaitable[T]]) -> T:
    """Run work to its end on a loop of the kind a node has."""

    async def whole() -> T:
        return await work()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(whole())


async def time_on_loop(work: Callable[[], Awaitable[tuple[int, object]]]) -> Sample:
    """Do the same as `time_sample` within a running loop."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    items, outcome = await work()
    cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
    return Sample(items=items, cpu_s=cpu_s, wall_s=wall_s, outcome=outcome)


def _spread(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return _round(values[0]), _round(values[0])
    tenths = quantiles(values, n=10, method="inclusive")
    return _round(tenths[0]), _round(tenths[-1])


def _round(value: float) -> float:
    """Keep what can be told apart: four digits, and whole numbers above."""
    return round(value, 1) if abs(value) >= 1000 else float(f"{value:.4g}")
