"""`lockstep bench tally`: what counting costs, from a named batch to finality, signatures apart.

Each variant is an epoch of one node: it opens the tallies of some batches, promises every payment,
and counts a Vote and a Confirm of every member on every batch. The work is that of integers as wide
as a batch, so its cost a message hardly depends on how many payments the batch has, nor on how many
members there are; what grows is the number of messages.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct

from lockstep.bench.made_payments import make_genesis
from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.consensus.finality import TransactionFinality
from lockstep.consensus.tally import BatchTally
from lockstep.errors import Misuse
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.committee import Committee
from lockstep.primitives.ids import OUTPOINT_BYTES
from lockstep.primitives.votes import Entry, Vote, VoteKind

NODES: Final = (4, 10, 31, 100)
BATCH_SIZES: Final = (1, 100, 400)
UNEQUAL: Final = " unequal"
"""How variants are named whose members weigh 1, 10 and 100 in turn."""
_SMALL_BATCHES: Final = 20
"""Batches of one payment in an epoch, so that the epoch's own beginning does not count."""
_SIGNATURE: Final = bytes(64)


class Sheet(Struct, frozen=True):
    """A batch and all that is said of it: Votes and Confirms of every member, in turn."""

    batch_id: bytes
    txids: tuple[bytes, ...]
    inputs: tuple[tuple[bytes, ...], ...]
    words: tuple[Vote, ...]


def run(request: Request) -> Report:
    """Measure all sets, equal and unequal weights, and sizes of batches."""
    sizes = NODES if request.nodes is None else (request.nodes,)
    variants: dict[str, Variant] = {}
    for batch_size in BATCH_SIZES:
        for nodes in sizes:
            for name, weights in (
                (name_of(batch_size, nodes), [1] * nodes),
                (name_of(batch_size, nodes, UNEQUAL), [10 ** (k % 3) for k in range(nodes)]),
            ):
                committee = make_genesis(weights, coins=0).committee
                count = _SMALL_BATCHES if batch_size == 1 else 1
                sheets = [make_sheet(committee, size=batch_size, number=k) for k in range(count)]
                work = _counting(committee, sheets)
                variants[name] = Variant(work, items=batch_size * count)
    figures = measure(variants, repetitions=request.repetitions)
    laws = {
        f"batch={batch_size}{kind}": find_law(figures, sizes, batch_size, kind)
        for batch_size in BATCH_SIZES
        for kind in ("", UNEQUAL)
        if len(sizes) > 1
    }
    return Report(figures=figures, content={"laws": laws}, lines=_describe(laws, figures))


def name_of(batch_size: int, nodes: int, kind: str = "") -> str:
    """Return the name of a variant's figure."""
    return f"batch={batch_size} n={nodes}{kind}"


def find_law(
    figures: dict[str, Figure], sizes: Sequence[int], batch_size: int, kind: str
) -> dict[str, float]:
    """Return what one more message costs, and what a payment costs whoever speaks.

    Every member says two words on a batch, so a payment in a batch of b costs 2n / b messages.
    """
    low, high = sizes[0], sizes[-1]
    cost_low = figures[name_of(batch_size, low, kind)].cpu
    cost_high = figures[name_of(batch_size, high, kind)].cpu
    per_member = (cost_high - cost_low) / (high - low)
    return {
        "us_per_message": round(per_member * batch_size / 2, 3),
        "us_per_payment_beside": round(cost_low - per_member * low, 3),
    }


def make_sheet(committee: Committee, *, size: int, number: int) -> Sheet:
    """Make batch `number` of `size` payments with one input each, and the words of all members."""
    batch_id = _hash(b"batch %d" % number)
    names = [b"%d in %d" % (position, number) for position in range(size)]
    entry = Entry(batch_id, bitmap_bytes((1 << size) - 1, size))
    return Sheet(
        batch_id=batch_id,
        txids=tuple(_hash(b"payment " + name) for name in names),
        inputs=tuple(
            ((_hash(b"coin " + name) + bytes(OUTPOINT_BYTES))[:OUTPOINT_BYTES],) for name in names
        ),
        words=tuple(
            Vote(kind, 0, member.member_id, (entry,), _SIGNATURE)
            for kind in VoteKind
            for member in committee.members
        ),
    )


def count_epoch(committee: Committee, sheets: Sequence[Sheet]) -> TransactionFinality:
    """Do all the bookkeeping of one epoch in which every member says everything."""
    finality = TransactionFinality(0, committee)
    for sheet in sheets:
        finality.add_batch(sheet.batch_id, sheet.txids, sheet.inputs)
        for txid, outpoints in zip(sheet.txids, sheet.inputs, strict=True):
            finality.lock(txid, outpoints)
        finality.mark_own(VoteKind.VOTE, sheet.batch_id, (1 << len(sheet.txids)) - 1)
        for word in sheet.words:
            for reached in finality.count(word).reached:
                if reached.kind is VoteKind.VOTE:
                    _confirm(finality, sheet, reached.tally)
    return finality


def _confirm(finality: TransactionFinality, sheet: Sheet, tally: BatchTally) -> None:
    """Promise what has been certified; all of a sheet is certified by one word."""
    for txid, outpoints in zip(tally.txids, sheet.inputs, strict=True):
        finality.confirm(txid, outpoints)
    finality.mark_own(VoteKind.CONFIRM, tally.batch_id, (1 << len(tally.txids)) - 1)


def _counting(committee: Committee, sheets: Sequence[Sheet]) -> Callable[[], object]:
    finality = count_epoch(committee, sheets)
    if not all(finality.is_final(txid) for sheet in sheets for txid in sheet.txids):
        raise Misuse("a payment that everybody confirmed is not final")
    return lambda: count_epoch(committee, sheets)


def _hash(name: bytes) -> bytes:
    return sha256(name).digest()


def _describe(laws: dict[str, dict[str, float]], figures: dict[str, Figure]) -> list[str]:
    lines = ["CPU microseconds a payment (10th to 90th percentile)"]
    lines += [
        f"  {name.ljust(24)} {figure.cpu:9.3f} ({figure.cpu_low:.3f} to {figure.cpu_high:.3f})"
        for name, figure in figures.items()
    ]
    lines += [
        f"{name}: {law['us_per_message']} a Vote or Confirm more,"
        f" {law['us_per_payment_beside']} a payment beside them"
        for name, law in laws.items()
    ]
    return lines
