"""What `lockstep devnet` was asked to do, checked before anything is made."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from lockstep.errors import Rejected
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.params import DEVNET, MEMBERS_MIN

NODES_DEFAULT: Final = 4
NODES_MAX: Final = 32
LOAD_DEFAULT_TPS: Final = 10
LOAD_MAX_TPS: Final = 50_000
DRAIN_S: Final = 5
SECONDS_MIN: Final = DRAIN_S + 1
RESTART_AFTER_S: Final = 2
KILL_EVERY_MIN_S: Final = RESTART_AFTER_S + 1
STOP_SECONDS_MIN: Final = 15
PAIRS_MAX: Final = 1_000


class WrongOptions(Rejected):
    """The options contradict each other, or what the directory already holds."""

    code = "devnet.options"
    hint = "see `lockstep devnet --help`"


class DevnetOptions(Struct, frozen=True):
    """The options as given; None where an option was left out.

    `load_tps` is payments a second; `seconds` None means until Ctrl-C.
    """

    nodes: int | None = None
    weights: tuple[int, ...] | None = None
    block_ms: int | None = None
    closing_every: int | None = None
    directory: Path | None = None
    seconds: int | None = None
    load_tps: int | None = None
    kill_every_s: int | None = None
    stop_nodes: int = 0
    double_spend: int = 0
    seed: int | None = None
    verify_backend: str | None = None

    @property
    def node_weights(self) -> tuple[int, ...]:
        """Return the weights a new network is founded with; all 1 where none are named."""
        return self.weights or (1,) * (self.nodes or NODES_DEFAULT)

    @property
    def block_interval_ms(self) -> int:
        """Return the block interval a new network is founded with."""
        return self.block_ms or DEVNET.block_interval_ms

    @property
    def epoch_heights(self) -> int:
        """Return K of a new network."""
        return self.closing_every or DEVNET.closing_every

    @property
    def payments_per_second(self) -> int:
        """Return the load: as given, else some where the run is to prove something."""
        if self.load_tps is not None:
            return self.load_tps
        return LOAD_DEFAULT_TPS if self.seconds is not None or self.kill_every_s else 0


def parse_weights(text: str) -> tuple[int, ...]:
    """Read `4,3,2,1`.

    Raises:
        WrongOptions: If it is no list of positive whole numbers.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 0 < int(word) <= 2**40 for word in words):
        raise WrongOptions(f"{text!r} is no list of weights like 4,3,2,1")
    return tuple(map(int, words))


def check_options(options: DevnetOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        WrongOptions: The sentence says which.
    """
    count = len(options.node_weights)
    if options.nodes is not None and options.nodes != count:
        raise WrongOptions(f"--nodes {options.nodes} contradicts --weights for {count} nodes")
    if not MEMBERS_MIN <= count <= NODES_MAX:
        raise WrongOptions(f"a devnet has {MEMBERS_MIN} to {NODES_MAX} nodes, not {count}")
    seconds = options.seconds
    if seconds is not None and seconds < SECONDS_MIN:
        raise WrongOptions(
            f"--for is at least {SECONDS_MIN}: the load stops {DRAIN_S} s before the end"
        )
    if options.stop_nodes:
        if seconds is None or seconds < STOP_SECONDS_MIN:
            raise WrongOptions(f"--stop-nodes needs --for {STOP_SECONDS_MIN} or more")
        if options.stop_nodes >= count:
            raise WrongOptions(f"--stop-nodes {options.stop_nodes} leaves none of {count} running")
        if options.kill_every_s:
            raise WrongOptions("--stop-nodes and --kill-every are two experiments: run them apart")
    if options.double_spend and seconds is None:
        raise WrongOptions("--double-spend needs --for")


def check_continuation(options: DevnetOptions, genesis: Genesis) -> None:
    """Refuse options that contradict the chain a directory already holds.

    Raises:
        WrongOptions: The sentence says which.
    """
    weights = tuple(member.weight for member in genesis.members)
    if options.nodes is not None and options.nodes != len(weights):
        raise WrongOptions(f"this devnet has {len(weights)} nodes, not {options.nodes}")
    if options.weights is not None and options.weights != weights:
        there = ",".join(map(str, weights))
        raise WrongOptions(f"this devnet was founded with --weights {there}")
    if options.block_ms is not None and options.block_ms != genesis.block_interval_ms:
        raise WrongOptions(f"this devnet was founded with --block-ms {genesis.block_interval_ms}")
    if options.closing_every is not None and options.closing_every != genesis.closing_every:
        raise WrongOptions(f"this devnet was founded with --closing-every {genesis.closing_every}")
    if options.stop_nodes >= len(weights):
        raise WrongOptions(f"--stop-nodes {options.stop_nodes} leaves none running")
