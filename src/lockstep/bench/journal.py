"""`lockstep bench journal`: what storage costs a payment: words before they leave, blocks, index.

`vote.N` is the commit of a batch of N payments with the Vote for it, synced, as every batch has;
`confirm.N` and `final.N` those of the Confirm and of the quorum. `block.N` is the commit of a block
and the renewal of the readers. `index.fresh` and `index.old` are what a payment costs the index
later, in one flush: where its coin was made since the last flush, and where it was in the index.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Final

from lockstep.bench import course
from lockstep.bench.made_chain import ChainMaker
from lockstep.bench.measuring import Figure, Variant, measure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.transaction import Batch
from lockstep.primitives.votes import Entry, Vote, VoteKind
from lockstep.replica.effects import BatchHeld, OwnConfirm, OwnVote, QuorumConfirmed, Record
from lockstep.storage.flusher import FlushLimits
from lockstep.storage.store import Store

BATCH_SIZES: Final = (1, 10, 100, 400)
BLOCK_PAYMENTS: Final = 1_000
BLOCKS: Final = 20
"""Blocks of one sample: what a flush of a busy node writes."""
QUORUM: Final = 3
BLOCK_SAMPLES_MAX: Final = 5
_BY_HAND: Final = FlushLimits(changes=10**9, age_s=1e9, is_concurrent=False)


def run(request: Request) -> Report:
    """Measure commits of batches, then blocks and flushes."""
    figures: dict[str, Figure] = {}
    with _new_store(ChainMaker().genesis) as store:
        figures |= measure(make_variants(store), repetitions=request.repetitions)
    samples = min(request.repetitions, BLOCK_SAMPLES_MAX)
    figures |= measure_blocks(samples, blocks=BLOCKS, payments=BLOCK_PAYMENTS)
    content: dict[str, Any] = {
        "us_per_payment": {name: figure.cpu for name, figure in figures.items()},
        "ms_per_commit": {
            f"vote.{size}": round(figures[f"vote.{size}"].wall * size / 1_000, 2)
            for size in BATCH_SIZES
        },
    }
    lines = ["microseconds a payment: CPU, and wall with the disk"]
    lines += [f"  {name}: {figure.cpu:.2f}, {figure.wall:.2f}" for name, figure in figures.items()]
    return Report(figures=figures, content=content, lines=lines)


def make_variants(store: Store) -> dict[str, Variant]:
    """Return commits of what is said of a batch, by its size."""
    numbers = count()
    payments = ChainMaker().decide_payments(max(BATCH_SIZES)).decided.block.transactions

    def vote(kind: VoteKind, size: int) -> Vote:
        number = next(numbers).to_bytes(8, "big")
        entry = Entry(sha256(number).digest(), bitmap_bytes((1 << size) - 1, size))
        return Vote(kind, 0, bytes(32), (entry,), number * 8)

    def committing(make: Callable[[], list[Record]]) -> Callable[[], object]:
        return lambda: store.commit(make())

    def voting(size: int) -> Callable[[], object]:
        body = encode(Batch(transactions=payments[:size]))

        def make() -> list[Record]:
            own = vote(VoteKind.VOTE, size)
            return [BatchHeld(own.entries[0].batch_id, body, ()), OwnVote(own)]

        return committing(make)

    def certify(kind: VoteKind, size: int) -> tuple[Vote, ...]:
        return tuple(vote(kind, size) for _ in range(QUORUM))

    largest = max(BATCH_SIZES)
    confirm = VoteKind.CONFIRM
    return {
        **{f"vote.{size}": Variant(work=voting(size), items=size) for size in BATCH_SIZES},
        f"confirm.{largest}": Variant(
            work=committing(
                lambda: [OwnConfirm(vote(confirm, largest), certify(VoteKind.VOTE, largest))]
            ),
            items=largest,
        ),
        f"final.{largest}": Variant(
            work=committing(lambda: [QuorumConfirmed(certify(confirm, largest))]), items=largest
        ),
    }


def measure_blocks(samples: int, *, blocks: int, payments: int) -> dict[str, Figure]:
    """Return what blocks cost, and the index after them; each sample is a store of its own."""
    taken: dict[str, list[tuple[float, float]]] = {}
    for number in range(samples):
        if number and course.is_cut_short():
            break
        for is_fresh in (True, False):
            _apply(taken, blocks=blocks, payments=payments, is_fresh=is_fresh)
    return {name: summarise(found) for name, found in taken.items()}


def _apply(
    taken: dict[str, list[tuple[float, float]]], *, blocks: int, payments: int, is_fresh: bool
) -> None:
    """Commit a chain of blocks, then flush it; add what a payment cost to the samples."""
    maker = ChainMaker()
    coins = maker.decide_coins(payments * (1 if is_fresh else blocks))
    spendable = list(coins.delta.created)
    records = []
    for _ in range(blocks):
        part, spendable = spendable[:payments], spendable[payments:]
        records.append(maker.decide_spending(part))
        if is_fresh:
            spendable = list(records[-1].delta.created[::2])
    with _new_store(maker.genesis) as store:
        readers = store.readers()
        store.commit([coins])
        store.flush()
        readers.renew()
        with _sampled(taken, f"block.{payments}", blocks * payments):
            for record in records:
                store.commit([record])
                readers.renew()
        with _sampled(taken, "index.fresh" if is_fresh else "index.old", blocks * payments):
            store.flush()


@contextmanager
def _sampled(taken: dict[str, list[tuple[float, float]]], name: str, items: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    per_us = 1e6 / items
    spent = (time.process_time() - cpu) * per_us, (time.perf_counter() - wall) * per_us
    taken.setdefault(name, []).append(spent)


@contextmanager
def _new_store(genesis: Genesis) -> Iterator[Store]:
    """Make a store in a directory that goes with it."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as place:
        store = Store.open(Path(place), genesis, voting_key=None, limits=_BY_HAND)
        try:
            yield store
        finally:
            store.close()
