"""`lockstep bench pool`: what the pool costs a payment at its limit of 10,000.

Fees differ, so that ranks have to be kept. What a payment meets on its way is measured by itself:
taken in, voted for and taken out; taken in where something cheaper has to go; refused where nothing
is cheaper; and what an epoch's end asks of all that are held.
"""

from collections.abc import Callable
from hashlib import sha256
from itertools import cycle
from typing import Final

from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.errors import Misuse
from lockstep.mempool.pool import Entry, Pool, PoolFull
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.params import POOL_TRANSACTIONS_MAX
from lockstep.primitives.transaction import (
    VerifiedTransaction,
)

SIZE_BYTES: Final = 230
BATCH: Final = 400
PAGE: Final = 100
_FEES: Final = 7919
"""Fees are spread over so many values."""


def run(request: Request) -> Report:
    """Measure every way of a payment through a full pool."""
    figures = measure(make_variants(POOL_TRANSACTIONS_MAX), repetitions=request.repetitions)
    content = {"held": POOL_TRANSACTIONS_MAX}
    return Report(figures=figures, content=content, lines=_describe(figures))


def make_variants(held: int) -> dict[str, Variant]:
    """Return all variants for a pool whose limit is `held` payments."""
    payments = [make_payment(number) for number in range(held + BATCH)]
    stay, pass_by = payments[: held - BATCH], payments[held:]
    return {
        "fill": Variant(lambda: fill(held, payments[:held]), items=held),
        "admit, vote, remove": Variant(_passing(fill(held, stay), pass_by), items=BATCH),
        "admit, evict": Variant(_evicting(fill(held, payments[:held]), payments), items=BATCH),
        "refuse": Variant(_refusing(fill(held, payments[:held]), pass_by), items=BATCH),
        "select all by fee": Variant(fill(held, payments[:held]).waiting, items=held),
        "page of 100": Variant(_paging(fill(held, payments[:held])), items=PAGE),
        "end of epoch": Variant(_revoting(fill(held, payments[:held])), items=held),
    }


def make_payment(number: int) -> VerifiedTransaction:
    """Make payment `number`, which spends one coin nobody else does; its witnesses are left out."""
    outpoint = make_outpoint(sha256(b"coin %d" % number).digest(), 0)
    txid = sha256(b"payment %d" % number).digest()
    return VerifiedTransaction(
        body=b"",
        witnesses=b"",
        txid=txid,
        leaf=txid,
        node=txid,
        locks=(),
        size_bytes=SIZE_BYTES,
        has_shape=True,
        inputs=(outpoint,),
        outputs=(),
        paid=0,
    )


def fill(limit: int, payments: list[VerifiedTransaction]) -> Pool:
    """Return a pool with this limit that holds these payments, at fees in no order."""
    pool = Pool(transactions_max=limit)
    for number, payment in enumerate(payments):
        pool.admit(_entry(payment, fee=1_000 + number * 31 % _FEES))
    return pool


def _entry(payment: VerifiedTransaction, *, fee: int) -> Entry:
    return Entry(verified=payment, batch_id=payment.leaf, position=0, fee=fee, received_ms=0)


def _passing(pool: Pool, payments: list[VerifiedTransaction]) -> Callable[[], None]:
    """The usual way: held, voted for at once, and gone with its block."""

    def work() -> None:
        for payment in payments:
            pool.admit(_entry(payment, fee=1_500))
            pool.mark_voted(payment.txid)
        for payment in payments:
            pool.remove(payment.txid)

    return work


def _evicting(pool: Pool, payments: list[VerifiedTransaction]) -> Callable[[], None]:
    """Each pays more than all before it, so the cheapest goes, and may come again later."""
    following = cycle(range(len(payments)))
    fee = 1_000 + _FEES

    def work() -> None:
        nonlocal fee
        for _ in range(BATCH):
            payment = payments[next(following)]
            while payment.txid in pool:
                payment = payments[next(following)]
            fee += 1
            if len(pool.admit(_entry(payment, fee=fee))) != 1:
                raise Misuse("a full pool took a payment in and evicted none")

    return work


def _refusing(pool: Pool, payments: list[VerifiedTransaction]) -> Callable[[], None]:
    def work() -> None:
        for payment in payments:
            try:
                pool.admit(_entry(payment, fee=1_000))
            except PoolFull:
                continue
            raise Misuse("a full pool took in a payment that pays less than all others")

    return work


def _paging(pool: Pool) -> Callable[[], object]:
    middle = bytes([128]) * 32
    return lambda: pool.page(middle, PAGE)


def _revoting(pool: Pool) -> Callable[[], None]:
    """An epoch ends with every payment voted for, and all are voted for anew."""

    def work() -> None:
        for entry in pool:
            pool.mark_voted(entry.verified.txid)
        pool.clear_votes()

    return work


def _describe(figures: dict[str, Figure]) -> list[str]:
    lines = [f"CPU microseconds a payment, {POOL_TRANSACTIONS_MAX} held (10th to 90th percentile)"]
    lines += [
        f"  {name.ljust(20)} {found.cpu:8.3f} ({found.cpu_low:.3f} to {found.cpu_high:.3f})"
        for name, found in figures.items()
    ]
    return lines
