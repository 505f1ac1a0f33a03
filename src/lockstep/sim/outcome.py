"""How a run ended, and what work it did; runs that did too little are no proof of anything."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from lockstep.sim.options import Options


class Verdict(StrEnum):
    """Pass, or which half of the promise was broken: liveness or safety."""

    PASS = "pass"  # noqa: S105  # It is a verdict.
    STUCK = "stuck"
    DIVERGED = "diverged"


class Outcome(Struct, frozen=True):
    """One run.

    Attributes:
        sentence: Empty in a pass, else what was broken.
        trace_hash: Equal for equal seeds, on every machine.
        counters: Work done, by name.
        culprits: Member ids in hexadecimal that two quorums in contradiction name [R2].
    """

    seed: int
    verdict: Verdict
    sentence: str
    trace_hash: str
    virtual_ms: int
    options: Options
    counters: dict[str, int]
    culprits: tuple[str, ...] = ()


FLOORS: Final[Mapping[str, int]] = {
    "with_crash": 95,
    "with_partition": 60,
    "with_pause": 30,
    "with_clock_jump": 20,
    "with_lost_disk": 10,
    "with_round_above_zero": 30,
    "with_late_proposal": 10,
    "with_conflict": 90,
    "with_closing": 100,
    "with_final": 90,
}
"""At least so many runs of a hundred must have seen each."""

FLOORS_OF_LIARS: Final[Mapping[str, int]] = {
    "with_closing": 98,
    "with_lie": 100,
    "with_equivocation": 60,
    "with_evidence": 50,
    "with_twin": 30,
    "with_invalid_block": 10,
    "with_withheld_word": 10,
    "with_false_height": 10,
}
"""The same where members lie: a swarm whose masks did nothing proves nothing about lies."""

_SEEN: Final = {
    "with_crash": "crashes",
    "with_partition": "partitions",
    "with_pause": "pauses",
    "with_clock_jump": "clock_jumps",
    "with_lost_disk": "lost_disks",
    "with_round_above_zero": "rounds_above_zero",
    "with_late_proposal": "late_proposals",
    "with_conflict": "conflicts",
    "with_closing": "closings",
    "with_final": "final",
    "with_lie": "lies",
    "with_equivocation": "equivocations",
    "with_evidence": "evidence",
    "with_twin": "mask_twin",
    "with_invalid_block": "mask_invalid_blocks",
    "with_withheld_word": "mask_withheld_votes",
    "with_false_height": "mask_lying_sync",
}
_FIXED_BY: Final = {
    "with_crash": ("crashes",),
    "with_partition": ("partitions",),
    "with_pause": ("pauses",),
    "with_clock_jump": ("clock_jumps",),
    "with_lost_disk": ("wipes", "backups", "byzantine"),
    "with_conflict": ("conflict_percent", "payments"),
    "with_closing": ("closing_every",),
    "with_final": ("payments",),
    **{name: ("masks",) for name in FLOORS_OF_LIARS if name not in {"with_lie", "with_closing"}},
}
"""The options that decide over a floor: where one of them is fixed, the floor is not asked for."""
FLOOR_SEEDS_MIN: Final = 40


def sum_counters(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return the counters of many runs added up, and how many runs saw each fault at all."""
    total: dict[str, int] = {}
    for outcome in outcomes:
        for name, count in outcome.counters.items():
            total[name] = total.get(name, 0) + count
    for name, counter in _SEEN.items():
        total[name] = sum(outcome.counters.get(counter, 0) > 0 for outcome in outcomes)
    return total


def missed_floors(outcomes: Sequence[Outcome], *, fixed: Collection[str] = ()) -> list[str]:
    """Return the floors that a swarm did not reach; few seeds prove nothing and have none.

    Args:
        outcomes: What came of each seed.
        fixed: Names of the options that were not drawn.
    """
    if len(outcomes) < FLOOR_SEEDS_MIN:
        return []
    total = sum_counters(outcomes)
    floors = dict(FLOORS)
    if all(outcome.options.byzantine for outcome in outcomes):
        floors.update(FLOORS_OF_LIARS)
    return [
        f"{name}: {total[name]} of {len(outcomes)} runs where {floor} % are due"
        for name, floor in floors.items()
        if 100 * total[name] < floor * len(outcomes)
        and not any(option in fixed for option in _FIXED_BY.get(name, ()))
    ]
