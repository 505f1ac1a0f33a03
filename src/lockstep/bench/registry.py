"""All benchmarks by name; the module of one is imported when it is run."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from msgspec import Struct

from lockstep.bench.measuring import Figure
from lockstep.bench.places import Places


class Request(Struct, frozen=True):
    """What a benchmark is asked for.

    Attributes:
        repetitions: How often each variant is measured; the median and the spread are told.
        places: Where data lies that not every installation has.
        nodes: Size of the largest set, for benchmarks of a whole network; None for their own sizes.
        is_full: Whether sizes that take minutes are measured too, where a benchmark has such.
    """

    repetitions: int
    places: Places
    nodes: int | None = None
    is_full: bool = False


class Report(Struct, frozen=True):
    """What a benchmark found.

    Attributes:
        figures: What was measured, by names that stay the same from run to run.
        content: Further fields of the JSON object.
        lines: The result for people.
        is_good: Whether all that must hold did; a slow machine is no fault.
        against: Which figure is to be held against which other by `--compare` without a file; where
            nothing is said, all against the first.
    """

    figures: dict[str, Figure]
    content: dict[str, Any]
    lines: list[str]
    is_good: bool = True
    against: dict[str, str] = {}


class Benchmark(Struct, frozen=True):
    """A benchmark: what it measures in a sentence, and `module:function` that runs it."""

    sentence: str
    place: str

    def load(self) -> Callable[[Request], Report]:
        """Import and return the function that runs it."""
        module, _, name = self.place.partition(":")
        run: Callable[[Request], Report] = getattr(import_module(module), name)
        return run


BENCHMARKS: Final = {
    "verify": Benchmark(
        sentence="Microseconds a signature by backend and group size; agreement on all vectors.",
        place="lockstep.bench.verify:run",
    ),
    "codec": Benchmark(
        sentence="Payments to bytes and back: batches by size, by parts, one by one.",
        place="lockstep.bench.codec:run",
    ),
    "txid": Benchmark(
        sentence="Opening a batch without the signature kernel: hashes, shape, checks, lanes.",
        place="lockstep.bench.txid:run",
    ),
    "rpc-submit": Benchmark(
        sentence="Taking payments in at the RPC door: JSON and binary, single and in lists.",
        place="lockstep.bench.rpc_submit:run",
    ),
    "finality": Benchmark(
        sentence="What a payment costs a node in the core and the ingress, by part and set size.",
        place="lockstep.bench.finality:run",
    ),
    "tally": Benchmark(
        sentence="Counting Votes and Confirms as bitmaps: a payment and a message, by set size.",
        place="lockstep.bench.tally:run",
    ),
    "pool": Benchmark(
        sentence="Admission, removal, eviction and selection by fee in a full pool.",
        place="lockstep.bench.pool:run",
    ),
    "frames": Benchmark(
        sentence="Encoding and decoding messages as frames, alone and joined.",
        place="lockstep.bench.frames:run",
    ),
    "tls": Benchmark(
        sentence="Sockets and TLS between two nodes on loopback: each side's CPU a KB and frame.",
        place="lockstep.bench.tls:run",
    ),
    "sim": Benchmark(
        sentence="Seeds of the standard swarm a second and core.",
        place="lockstep.bench.sim:run",
    ),
    "block-apply": Benchmark(
        sentence="What a block costs a node that holds its batches: to propose, judge and decide.",
        place="lockstep.bench.block_apply:run",
    ),
    "sync-apply": Benchmark(
        sentence="Following the chain from encoded blocks to the disk: open, verify, apply, store.",
        place="lockstep.bench.sync_apply:run",
    ),
    "ledger": Benchmark(
        sentence="What the ledger's rules cost a payment: spend, run, root, overlay.",
        place="lockstep.bench.ledger:run",
    ),
    "lthash": Benchmark(
        sentence="The sum of the coins: an element in batches, a slice, gathering, a rebuild.",
        place="lockstep.bench.lthash:run",
    ),
    "journal": Benchmark(
        sentence="What storage costs a payment: synced commits of batches, blocks, the index.",
        place="lockstep.bench.journal:run",
    ),
    "coin-read": Benchmark(
        sentence="Looking up a coin: above the index, cached, in the index; bytes a cached coin.",
        place="lockstep.bench.coin_read:run",
    ),
    "recovery": Benchmark(
        sentence="A start after a crash with 100,000 payments in the journal, by part.",
        place="lockstep.bench.recovery:run",
    ),
    "growth": Benchmark(
        sentence="Cost, memory and disk by members, coins and blocks; --full for all sizes.",
        place="lockstep.bench.growth:run",
    ),
    "claims": Benchmark(
        sentence="Seven claims of speed: a naive variant against ours, reached or missed.",
        place="lockstep.bench.claims.verdicts:run",
    ),
}
