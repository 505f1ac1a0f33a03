"""The options that make a simulated world, and the line that makes the same one again."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import rich_click as click
from msgspec import Struct

from lockstep.cli.failure import WrongUsage
from lockstep.sim.options import Options

F = TypeVar("F", bound=Callable[..., Any])

WORLDS: Final = "Worlds"
NETWORK: Final = "Faults of the network (default: drawn from the seed)"
NODES: Final = "Faults of the nodes (default: drawn from the seed)"
CLIENTS: Final = "Payments (default: drawn from the seed)"
SECONDS_DEFAULT: Final = 60
NODES_MIN, NODES_MAX = 4, 100
DAY_MS: Final = 86_400_000


class Number(Struct, frozen=True):
    """An option that fixes one number of a world: its flag, its field of `Options`, its range."""

    flag: str
    field: str
    low: int
    high: int
    help: str
    panel: str
    metavar: str = "N"


NUMBERS: Final = (
    Number("--closing-every", "closing_every", 2, 100, "Heights an epoch.", WORLDS, "K"),
    Number("--delay-ms", "delay_ms", 1, 5_000, "Longest delay of a link.", NETWORK, "MS"),
    Number("--jitter-ms", "jitter_ms", 0, 5_000, "A frame may take so much more.", NETWORK, "MS"),
    Number("--loss", "loss_percent", 0, 90, "Frames lost.", NETWORK, "PERCENT"),
    Number("--duplicate", "duplicate_percent", 0, 90, "Frames repeated.", NETWORK, "PERCENT"),
    Number("--stalls", "stall_percent", 0, 50, "Frames that clog a link.", NETWORK, "PERCENT"),
    Number("--partitions", "partitions", 0, 50, "Cuts: halves, one node, or one way.", NETWORK),
    Number("--crashes", "crashes", 0, 50, "Crashes that lose what is not synced.", NODES),
    Number("--pauses", "pauses", 0, 50, "Nodes standing still for up to 10 s.", NODES),
    Number("--wipes", "wipes", 0, 10, "Disks lost, the key kept.", NODES),
    Number("--backups", "backups", 0, 10, "Disks set back to an old backup.", NODES),
    Number("--skew-ms", "skew_ms", 0, DAY_MS, "Clocks are off by so much at most.", NODES, "MS"),
    Number("--clock-jumps", "clock_jumps", 0, 50, "Jumps of a clock, on a minority.", NODES),
    Number("--disk-ms", "disk_ms", 1, 5_000, "Longest time of a commit.", NODES, "MS"),
    Number("--slow-disk-ms", "slow_disk_ms", 1, 5_000, "The same on node 0.", NODES, "MS"),
    Number("--stuck-disks", "stuck_disks", 0, 50, "Disks stuck for up to 10 s.", NODES),
    Number("--payments", "payments", 0, 5_000, "Payments submitted.", CLIENTS),
    Number("--conflicts", "conflict_percent", 0, 100, "Pairs for one coin.", CLIENTS, "PERCENT"),
    Number(
        "--chained", "chained_percent", 0, 100, "Spends of a payment in flight.", CLIENTS, "PERCENT"
    ),
)
_FLAGS: Final = {number.field: number.flag.removeprefix("--") for number in NUMBERS}


class Asked(Struct, frozen=True):
    """What the command line fixes of its worlds; the rest is drawn from each seed."""

    nodes: int | None = None
    weights: tuple[int, ...] | None = None
    byzantine: int = 0
    seconds: int = SECONDS_DEFAULT
    overrides: dict[str, Any] = {}

    def as_arguments(self) -> dict[str, Any]:
        """Return the arguments for `run_seed`."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def reproduce(self, seed: int) -> str:
        """Return the command that runs a seed again, as it was run here."""
        words = [f"lockstep sim --seed {seed}"]
        if self.nodes is not None:
            words.append(f"--nodes {self.nodes}")
        if self.weights is not None:
            words.append("--weights " + ",".join(map(str, self.weights)))
        if self.byzantine:
            words.append(f"--byzantine {self.byzantine}")
        if self.seconds != SECONDS_DEFAULT:
            words.append(f"--seconds {self.seconds}")
        for name, value in self.overrides.items():
            words.append(_name_override(name, value))
        return " ".join(words)


def world_options(function: F) -> F:
    """Add the options that fix something of a world; the command takes them as one mapping."""
    options = [
        click.option(
            "--nodes",
            type=click.IntRange(NODES_MIN, NODES_MAX),
            metavar="N",
            help="Default: drawn.",
            panel=WORLDS,
        ),
        click.option(
            "--weights",
            metavar="W,W,...",
            help="Voting weights, one a node; default: drawn.",
            panel=WORLDS,
        ),
        click.option(
            "--seconds",
            type=click.IntRange(5, 86_400),
            default=SECONDS_DEFAULT,
            show_default=True,
            metavar="S",
            help="Virtual seconds of a run, at least.",
            panel=WORLDS,
        ),
        click.option(
            "--byzantine",
            type=click.IntRange(0, NODES_MAX),
            default=0,
            metavar="N",
            help="So many nodes lie.",
            panel=WORLDS,
        ),
        click.option(
            "--masks", metavar="A,B,...", help="How they lie; default: drawn.", panel=WORLDS
        ),
    ]
    options += [
        click.option(
            number.flag,
            number.field,
            type=click.IntRange(number.low, number.high),
            metavar=number.metavar,
            help=number.help,
            panel=number.panel,
        )
        for number in NUMBERS
    ]
    options += [
        click.option(
            "--reorder/--no-reorder",
            default=None,
            help="Whether frames overtake each other.",
            panel=NETWORK,
        ),
        click.option(
            "--real-signatures/--keyed-signatures",
            default=None,
            help="Ed25519, or a keyed hash for speed.",
            panel=CLIENTS,
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def parse_world(given: Mapping[str, Any]) -> Asked:
    """Read the options of `world_options`.

    Raises:
        WrongUsage: If they contradict each other.
    """
    nodes, byzantine = given["nodes"], given["byzantine"]
    weights = None
    if given["weights"] is not None:
        weights = _parse_weights(given["weights"], nodes)
    count = nodes if weights is None else len(weights)
    if count is not None and byzantine >= count:
        raise WrongUsage(f"--byzantine {byzantine} leaves none of the {count} nodes honest")
    overrides: dict[str, Any] = {}
    if given["masks"] is not None:
        overrides["masks"] = _parse_masks(given["masks"], byzantine)
    for name in ("reorder", "real_signatures", *(number.field for number in NUMBERS)):
        if given[name] is not None:
            overrides[name] = given[name]
    return Asked(nodes, weights, byzantine, given["seconds"], overrides)


def make_asked(options: Options) -> Asked:
    """Return what to ask for to get exactly this world of a seed, whatever is drawn otherwise."""
    fixed = [*(number.field for number in NUMBERS), "masks", "reorder", "real_signatures"]
    overrides = {name: getattr(options, name) for name in fixed if getattr(options, name) != ()}
    return Asked(None, options.weights, options.byzantine, options.seconds, overrides)


def names_given(given: Mapping[str, Any]) -> list[str]:
    """Return the flags of those options of `world_options` that were given."""
    untouched = {"byzantine": 0, "seconds": SECONDS_DEFAULT}
    return [_FLAGS.get(name, name) for name, value in given.items() if value != untouched.get(name)]


def _parse_weights(text: str, nodes: int | None) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and 0 < int(part) < 2**40 for part in parts):
        raise WrongUsage(f"--weights takes whole numbers above 0 and commas, not {text!r}")
    if not NODES_MIN <= len(parts) <= NODES_MAX or (nodes is not None and nodes != len(parts)):
        raise WrongUsage("--weights takes one weight a node, of four nodes at least")
    return tuple(map(int, parts))


def _parse_masks(text: str, byzantine: int) -> tuple[str, ...]:
    from lockstep.sim.masks.casting import NAMES

    names = tuple(text.split(","))
    if not byzantine:
        raise WrongUsage("--masks is about nodes that lie: say how many with --byzantine")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise WrongUsage(f"there is no mask {unknown[0]!r}; there are {', '.join(NAMES)}")
    return names


def _name_override(name: str, value: Any) -> str:
    if name == "masks":
        return "--masks " + ",".join(value)
    if name == "reorder":
        return "--reorder" if value else "--no-reorder"
    if name == "real_signatures":
        return "--real-signatures" if value else "--keyed-signatures"
    return f"--{_FLAGS[name]} {value}"
