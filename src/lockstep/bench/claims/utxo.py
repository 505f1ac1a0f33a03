"""Claim: 60 % more concurrent operations on coins without a global lock.

Both variants take the same payments of two coins each in the same order, some of which spend a coin
that an earlier one spends too; lock the coins of those that may have them; look coins up in
between, as wallets do; and then spend and create the coins of all that were locked. All coins are
in memory.

The naive variant is one manager of coins behind one `asyncio.Lock`, as the predecessor had it:
every payment is a task, and each of its operations takes the lock. Nothing is awaited within the
lock, so that it is held as shortly as can be. Between the two stands a variant without the tasks,
which takes the lock for one operation after the other.

Ours is what the replica does: the coins of a whole batch are read at once through `CoinOverlay`,
its locks are taken by `TransactionFinality` in one step of the core, which nothing can interrupt,
and a block's coins change by one delta. There is no lock because there is no second task.

Measured: operations (a payment locked or refused, a look-up, a payment spent) a CPU second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Final

from msgspec import Struct

from lockstep.bench.claims.contest import (
    Claim,
    Contest,
    Sample,
    run_on_loop,
    time_on_loop,
    time_sample,
)
from lockstep.bench.made_payments import make_genesis
from lockstep.consensus.finality import TransactionFinality
from lockstep.ledger.coins import Coin, CoinDelta, CoinOverlay
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import genesis_committee
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX

Done = tuple[list[bool], int]
"""Who got its coins, payment by payment, and how many coins were found."""
RIVAL_EVERY: Final = 20
"""One payment in so many spends a coin of the payment before it."""
WITHOUT_TASKS: Final = "the lock without tasks"
LOOK_UPS: Final = 100
"""Coins looked up for each batch of payments."""


class Spend(Struct, frozen=True):
    """A payment, as far as coins matter."""

    txid: bytes
    inputs: tuple[bytes, ...]
    outputs: tuple[tuple[bytes, Coin], ...]


class Scene(Struct, frozen=True):
    """The coins there are, and batches of payments with the coins looked up meanwhile."""

    coins: dict[bytes, Coin]
    batches: list[tuple[list[Spend], list[bytes]]]
    committee: Committee


def make_scene(payments: int) -> Scene:
    """Make so many payments over two coins each."""
    coins: dict[bytes, Coin] = {}
    spends: list[Spend] = []
    for number in range(payments):
        source, txid = _hash("source", number), _hash("payment", number)
        inputs = [make_outpoint(source, 0), make_outpoint(source, 1)]
        coins.update((outpoint, Coin(10_000, source, 1)) for outpoint in inputs)
        if number % RIVAL_EVERY == 1:
            inputs[0] = spends[-1].inputs[0]
        outputs = tuple((make_outpoint(txid, i), Coin(9_000, txid, 2)) for i in range(2))
        spends.append(Spend(txid, tuple(inputs), outputs))
    known = list(coins)
    batches = []
    for start in range(0, payments, BATCH_TRANSACTIONS_MAX):
        looked_up = [known[(start * 31 + i * 7) % len(known)] for i in range(LOOK_UPS)]
        batches.append((spends[start : start + BATCH_TRANSACTIONS_MAX], looked_up))
    genesis = make_genesis([1, 1, 1, 1], coins=1)
    return Scene(coins=coins, batches=batches, committee=genesis_committee(genesis))


class LockedCoins:
    """The naive manager: coins and who locked them, behind one lock."""

    def __init__(self, coins: dict[bytes, Coin]) -> None:
        """Take over the coins."""
        self.coins = coins
        self._lock = asyncio.Lock()
        self._holders: dict[bytes, bytes] = {}

    async def look_up(self, outpoint: bytes) -> Coin | None:
        """Return a coin, None where it is spent."""
        async with self._lock:
            return self.coins.get(outpoint)

    async def lock(self, spend: Spend) -> bool:
        """Lock all coins of a payment, or none."""
        async with self._lock:
            holders = self._holders
            for outpoint in spend.inputs:
                if outpoint not in self.coins or holders.get(outpoint, spend.txid) != spend.txid:
                    return False
            for outpoint in spend.inputs:
                holders[outpoint] = spend.txid
            return True

    async def spend(self, spend: Spend) -> None:
        """Replace the coins of a payment by what it creates."""
        async with self._lock:
            for outpoint in spend.inputs:
                del self.coins[outpoint]
            self.coins.update(spend.outputs)


async def run_naive(scene: Scene, manager: LockedCoins) -> Done:
    """Do all operations, each payment and each look-up as a task."""
    verdicts: list[bool] = []
    found = 0
    for spends, looked_up in scene.batches:
        async with asyncio.TaskGroup() as group:
            locking = [group.create_task(manager.lock(spend)) for spend in spends]
            looking = [group.create_task(manager.look_up(outpoint)) for outpoint in looked_up]
        verdicts += [task.result() for task in locking]
        found += sum(task.result() is not None for task in looking)
    locked = iter(verdicts)
    for spends, _ in scene.batches:
        async with asyncio.TaskGroup() as group:
            for spend in spends:
                if next(locked):
                    group.create_task(manager.spend(spend))
    return verdicts, found


async def run_without_tasks(scene: Scene, manager: LockedCoins) -> Done:
    """Do all operations one after the other; the lock is taken all the same."""
    verdicts: list[bool] = []
    found = 0
    for spends, looked_up in scene.batches:
        verdicts += [await manager.lock(spend) for spend in spends]
        found += sum([await manager.look_up(outpoint) is not None for outpoint in looked_up])
    locked = iter(verdicts)
    for spends, _ in scene.batches:
        for spend in spends:
            if next(locked):
                await manager.spend(spend)
    return verdicts, found


class _Chain:
    """The coins below the overlay."""

    def __init__(self, coins: dict[bytes, Coin]) -> None:
        self._coins = coins

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        return list(map(self._coins.get, outpoints))

    def height_of(self, txid: bytes) -> int | None:  # noqa: ARG002  # The port's signature.
        return None


def run_ours(scene: Scene, overlay: CoinOverlay, finality: TransactionFinality) -> Done:
    """Do all operations as the replica does: a batch a step, a block a delta."""
    verdicts: list[bool] = []
    found = 0
    for spends, looked_up in scene.batches:
        wanted = list(dict.fromkeys(outpoint for spend in spends for outpoint in spend.inputs))
        coins = dict(zip(wanted, overlay.coins_of(wanted), strict=True))
        for spend in spends:
            is_there = all(coins[outpoint] is not None for outpoint in spend.inputs)
            verdicts.append(is_there and finality.lock(spend.txid, spend.inputs))
        for outpoint in looked_up:
            found += overlay.coins_of([outpoint])[0] is not None
    locked = iter(verdicts)
    for height, (spends, _) in enumerate(scene.batches, 2):
        paid = [spend for spend in spends if next(locked)]
        inputs = [outpoint for spend in paid for outpoint in spend.inputs]
        spent = zip(inputs, overlay.coins_of(inputs), strict=True)
        delta = CoinDelta(
            height=height,
            created=tuple(pair for spend in paid for pair in spend.outputs),
            spent=tuple((outpoint, coin) for outpoint, coin in spent if coin is not None),
            txids=tuple(spend.txid for spend in paid),
        )
        overlay.apply(delta)
    return verdicts, found


Run = Callable[[Scene, LockedCoins], Awaitable[Done]]


def prepare(size: int) -> Contest:
    """Make a contest over `size` payments."""
    scene = make_scene(size)
    everything = [*scene.coins]
    everything += [o for spends, _ in scene.batches for s in spends for o, _ in s.outputs]
    operations = sum(len(spends) + len(looked_up) for spends, looked_up in scene.batches)

    def judged(timed: Sample, done: Done, left: list[Coin | None]) -> Sample:
        verdicts, found = done
        items = operations + sum(verdicts)
        return Sample(items, timed.cpu_s, timed.wall_s, (verdicts, found, left))

    def behind_lock(run: Run) -> Sample:
        manager = LockedCoins(dict(scene.coins))
        done: Done = ([], 0)

        async def work() -> tuple[int, object]:
            nonlocal done
            done = await run(scene, manager)
            return operations, None

        timed = run_on_loop(lambda: time_on_loop(work))
        return judged(timed, done, list(map(manager.coins.get, everything)))

    def ours() -> Sample:
        overlay = CoinOverlay(_Chain(scene.coins))
        finality = TransactionFinality(0, scene.committee)
        done: Done = ([], 0)

        def work() -> tuple[int, object]:
            nonlocal done
            done = run_ours(scene, overlay, finality)
            return operations, None

        return judged(time_sample(work), done, overlay.coins_of(everything))

    return Contest(
        naive=partial(behind_lock, run_naive),
        ours=ours,
        others={WITHOUT_TASKS: partial(behind_lock, run_without_tasks)},
    )


def _hash(word: str, number: int) -> bytes:
    return sha256(f"{word} {number}".encode()).digest()


CLAIM: Final = Claim(
    name="utxo",
    claimed=1.6,
    unit="operations a CPU second",
    what="coins looked up, locked and spent: a lock around every operation of every payment's "
    "task, against a step of the core for a batch",
    why_missed="",
    size=4_000,
    prepare=prepare,
)
