"""What a simulated run is made of; in swarm mode all of it is drawn from the seed."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

import msgspec
from msgspec import Struct

from lockstep.sim.dice import make_dice

SWARM_MEMBERS: Final = (*(4,) * 88, *(5,) * 6, *(7,) * 5, 10)
SAFETY_SHARE_PERCENT: Final = 65
HEALING_LIMIT_MS: Final = 60_000


class Options(Struct, frozen=True):
    """One run; every number is an integer, so that it means the same everywhere.

    Attributes:
        weights: Voting weight of each node.
        byzantine: How many of the nodes lie; which ones, and how, the world draws.
        masks: The names of the masks that each of them wears; where empty the world draws them.
        seconds: Virtual seconds at least; faults end at 65 % of them.
        closing_every: K, heights an epoch.
        delay_ms, jitter_ms: A link's delay is a base up to `delay_ms`, drawn once, and up to
            `jitter_ms` more for each frame.
        loss_percent, duplicate_percent: Of frames, while faults last.
        stall_percent: Of frames that hold up their link for up to five seconds.
        reorder: Whether frames of a link overtake each other.
        disk_ms: A commit takes up to so long; `slow_disk_ms` on one node.
        stuck_disks: How often a disk stands still for seconds.
        skew_ms: Clocks differ from the true time by up to so much.
        clock_jumps: How often a clock jumps by up to a day, on a minority of the weight.
        crashes, partitions: How many are planned.
        pauses: How often a node stands still for up to ten seconds.
        wipes: How often a node loses its disk and keeps its key [D3].
        backups: How often a node's disk is set back to an earlier moment [D3].
        payments: How many are submitted, of which the percentages say how many spend the output of
            one not yet in the chain, and how many come in conflicting pairs.
        real_signatures: Ed25519 in place of the keyed hash.
    """

    weights: tuple[int, ...] = (1, 1, 1, 1)
    byzantine: int = 0
    masks: tuple[str, ...] = ()
    seconds: int = 60
    closing_every: int = 5
    delay_ms: int = 20
    jitter_ms: int = 10
    loss_percent: int = 0
    duplicate_percent: int = 0
    stall_percent: int = 0
    reorder: bool = False
    disk_ms: int = 8
    slow_disk_ms: int = 8
    stuck_disks: int = 0
    skew_ms: int = 0
    clock_jumps: int = 0
    crashes: int = 0
    partitions: int = 0
    pauses: int = 0
    wipes: int = 0
    backups: int = 0
    payments: int = 200
    chained_percent: int = 20
    conflict_percent: int = 15
    real_signatures: bool = False

    @property
    def safety_ms(self) -> int:
        """Return when faults end and everything is healed, in virtual milliseconds."""
        return self.seconds * 10 * SAFETY_SHARE_PERCENT


def draw_options(
    seed: int,
    *,
    nodes: int | None = None,
    weights: Sequence[int] | None = None,
    byzantine: int = 0,
    seconds: int = 60,
    overrides: Mapping[str, Any] | None = None,
) -> Options:
    """Draw the options of a run of the standard swarm, all but those that are given.

    `overrides` fixes further ones by their names. Each option has dice of its own, so that one that
    is fixed, or new, changes no other.
    """

    def dice(name: str) -> Random:
        return make_dice(seed, f"option {name}")

    # Of the nodes less than a third may lie, unless their number says otherwise [M1].
    drawn = max(dice("nodes").choice(SWARM_MEMBERS), 3 * byzantine + 1)
    count = drawn if nodes is None else nodes
    is_lossy = dice("is_lossy").randrange(100) < 60
    options = Options(
        weights=draw_weights(dice("weights"), count) if weights is None else tuple(weights),
        byzantine=byzantine,
        seconds=seconds,
        closing_every=dice("closing_every").choice((2, 3, 4, 5, 6, 8, 10)),
        delay_ms=dice("delay_ms").choice((5, 10, 20, 40, 80, 160, 300)),
        jitter_ms=dice("jitter_ms").choice((1, 5, 20, 60)),
        loss_percent=dice("loss_percent").randint(1, 25) if is_lossy else 0,
        duplicate_percent=dice("duplicate_percent").choice((0, 0, 5, 20, 50)),
        stall_percent=dice("stall_percent").choice((0, 0, 0, 1)),
        reorder=dice("reorder").randrange(100) < 40,
        disk_ms=dice("disk_ms").choice((1, 4, 10, 30)),
        slow_disk_ms=dice("slow_disk_ms").choice((10, 10, 10, 200, 1000)),
        stuck_disks=dice("stuck_disks").choice((0, 0, 0, 1)),
        skew_ms=dice("skew_ms").choice((0, 0, 50, 1_000, 5_000, 60_000)),
        clock_jumps=dice("clock_jumps").choice((0, 0, 0, 1, 3)),
        crashes=dice("crashes").randint(1, 7) if dice("has_crashes").randrange(100) else 0,
        partitions=dice("partitions").choice((0, 1, 1, 2, 3, 4, 5)),
        pauses=dice("pauses").choice((0, 0, 1, 2, 4)),
        wipes=dice("wipes").choice((0, 0, 0, 1)),
        backups=dice("backups").choice((0, 0, 0, 0, 1)),
        payments=dice("payments").choice((100, 150, 200, 300)),
        chained_percent=dice("chained_percent").choice((0, 10, 30, 60)),
        conflict_percent=dice("conflict_percent").choice((5, 15, 30, 50)),
        real_signatures=dice("real_signatures").randrange(20) == 0,
    )
    return msgspec.structs.replace(options, **(overrides or {}))


def draw_weights(dice: Random, count: int) -> tuple[int, ...]:
    """Draw equal weights, or in one run of three unequal ones, none of them a third or more."""
    if dice.randrange(3):
        return (1,) * count
    while True:
        weights = tuple(dice.randint(1, 10) for _ in range(count))
        if 3 * max(weights) < sum(weights):
            return weights
