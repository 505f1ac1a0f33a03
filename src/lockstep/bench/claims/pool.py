"""Claim: 80 % more throughput of the pool without clones.

Both variants hold 5,000 waiting payments. Then, round by round, 400 payments come in and go out
with their block, as they do in a node; in between each round looks at the pool in the ways a node
and its people do: the 400 that pay best, for what is voted on next; a page of 100 by txid; which of
20 coins a held payment spends; and five times the number and bytes of what waits.

The naive variant is the predecessor's arrangement: whoever looks at the pool as a whole gets a
clone of it, made under the pool's lock, and works on that. All else is as good as it can be: the
pool below is the product's own, numbers are counters, coins are found by its index, and a clone
copies the entries, which change, and not the payments, which do not.

Ours is `mempool.Pool` as the replica uses it: in steps of one thread, so that nobody needs a clone.

Measured: payments a CPU second that came in, were looked at and went out.
"""

import asyncio
from collections.abc import Iterator
from copy import copy
from hashlib import sha256
from heapq import nsmallest
from typing import Final

from lockstep.bench.claims.contest import (
    Claim,
    Contest,
    Sample,
    run_on_loop,
    time_on_loop,
    time_sample,
)
from lockstep.mempool.pool import Entry, Pool, fee_rate
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import (
    BATCH_TRANSACTIONS_MAX,
    VerifiedTransaction,
)

HELD: Final = 5_000
"""Payments that wait all the time."""
PAGE: Final = 100
NUMBERS_ASKED: Final = 5
COINS_ASKED: Final = 20
_SIZE_BYTES: Final = 230
_FEES: Final = 7919


def make_payment(number: int) -> VerifiedTransaction:
    """Make payment `number`, which spends a coin of its own; its witnesses are left out."""
    txid = sha256(b"payment %d" % number).digest()
    return VerifiedTransaction(
        body=b"",
        witnesses=b"",
        txid=txid,
        leaf=txid,
        node=txid,
        locks=(),
        size_bytes=_SIZE_BYTES,
        has_shape=True,
        inputs=(make_coin(number),),
        outputs=(),
        paid=0,
    )


def make_coin(number: int) -> bytes:
    """Return the outpoint that payment `number` spends."""
    return make_outpoint(sha256(b"coin %d" % number).digest(), 0)


def make_entry(payment: VerifiedTransaction, number: int) -> Entry:
    """Return a fresh entry; fees differ, in no order."""
    fee = 1_000 + number * 31 % _FEES
    return Entry(verified=payment, batch_id=payment.leaf, position=0, fee=fee, received_ms=number)


class ClonedPool:
    """The naive pool: a lock, and clones for whoever looks at all of it."""

    def __init__(self, pool: Pool) -> None:
        """Take over a pool."""
        self._pool = pool
        self._lock = asyncio.Lock()

    async def admit(self, entry: Entry) -> None:
        """Hold a payment."""
        async with self._lock:
            self._pool.admit(entry)

    async def remove(self, txid: bytes) -> None:
        """Stop holding a payment."""
        async with self._lock:
            self._pool.remove(txid)

    async def numbers(self) -> tuple[int, int]:
        """Return how many wait, and their bytes."""
        async with self._lock:
            return self._pool.waiting_count, self._pool.waiting_bytes

    async def spenders(self, outpoint: bytes) -> tuple[bytes, ...]:
        """Return who spends a coin."""
        async with self._lock:
            return self._pool.spenders(outpoint)

    async def clone(self) -> dict[bytes, Entry]:
        """Return a clone of all entries."""
        async with self._lock:
            return {entry.verified.txid: copy(entry) for entry in self._pool}


Round = list[tuple[VerifiedTransaction, int]]
"""Payments that come in and go out, with their numbers."""


async def run_naive(pool: ClonedPool, rounds: list[Round]) -> list[object]:
    """Do all rounds through the lock and with clones."""
    seen: list[object] = []
    for arriving in rounds:
        for payment, number in arriving:
            await pool.admit(make_entry(payment, number))
        clone = await pool.clone()
        best = sorted(
            clone.values(),
            key=lambda entry: (fee_rate(entry.fee, entry.verified.size_bytes), -entry.received_ms),
            reverse=True,
        )
        seen.append([entry.verified.txid for entry in best[:BATCH_TRANSACTIONS_MAX]])
        clone = await pool.clone()
        seen.append(nsmallest(PAGE, clone))
        seen += [await pool.spenders(outpoint) for outpoint in _asked(arriving)]
        seen += [await pool.numbers() for _ in range(NUMBERS_ASKED)]
        for payment, _ in arriving:
            await pool.remove(payment.txid)
    return seen


def run_ours(pool: Pool, rounds: list[Round]) -> list[object]:
    """Do all rounds by the pool's own questions."""
    seen: list[object] = []
    for arriving in rounds:
        for payment, number in arriving:
            pool.admit(make_entry(payment, number))
        best = pool.waiting()
        seen.append([entry.verified.txid for entry in best[:BATCH_TRANSACTIONS_MAX]])
        seen.append([entry.verified.txid for entry in pool.page(None, PAGE)])
        seen += [pool.spenders(outpoint) for outpoint in _asked(arriving)]
        seen += [(pool.waiting_count, pool.waiting_bytes) for _ in range(NUMBERS_ASKED)]
        for payment, _ in arriving:
            pool.remove(payment.txid)
    return seen


def _asked(arriving: Round) -> Iterator[bytes]:
    for _, number in arriving[:COINS_ASKED]:
        yield make_coin(number)


def prepare(size: int) -> Contest:
    """Make a contest of `size` rounds."""
    held = [(make_payment(number), number) for number in range(HELD)]
    rounds: list[Round] = []
    for start in range(HELD, HELD + size * BATCH_TRANSACTIONS_MAX, BATCH_TRANSACTIONS_MAX):
        numbers = range(start, start + BATCH_TRANSACTIONS_MAX)
        rounds.append([(make_payment(number), number) for number in numbers])
    payments = size * BATCH_TRANSACTIONS_MAX

    def filled() -> Pool:
        pool = Pool()
        for payment, number in held:
            pool.admit(make_entry(payment, number))
        return pool

    def naive() -> Sample:
        pool = ClonedPool(filled())

        async def work() -> tuple[int, object]:
            return payments, await run_naive(pool, rounds)

        return run_on_loop(lambda: time_on_loop(work))

    def ours() -> Sample:
        pool = filled()
        return time_sample(lambda: (payments, run_ours(pool, rounds)))

    return Contest(naive=naive, ours=ours)


CLAIM: Final = Claim(
    name="pool",
    claimed=1.8,
    unit="payments a CPU second",
    what="400 payments in and out of a pool that holds 5,000, looked at as nodes do: by clones "
    "under a lock, against the pool's own questions",
    why_missed="",
    size=6,
    prepare=prepare,
)
