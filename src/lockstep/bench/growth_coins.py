"""How memory, disk, reads and writes grow with the number of unspent coins.

One chain grows from size to size; at each it is closed, opened, read at random places, given blocks
that spend coins of any age, and closed again, by which all of them are flushed to the tables.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from lockstep.bench.growth_points import Curves, add_points, disk_bytes, scratch, timed, traced
from lockstep.bench.made_chain import ChainMaker
from lockstep.errors import Misuse
from lockstep.ledger.coins import Coin
from lockstep.sim.dice import make_dice
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store

QUICK: Final = (10_000, 30_000, 100_000)
FULL: Final = (10_000, 100_000, 1_000_000, 5_000_000)
SAMPLE: Final = 1_500
"""Coins read at each size."""
BLOCK: Final = 400
BLOCKS: Final = 20
"""Blocks applied at each size, and then flushed together."""
_COINS_A_BLOCK: Final = 50_000

Places = list[tuple[bytes, Coin]]


def measure_coins(sizes: Sequence[int], *, advance: Callable[[], bool] = lambda: True) -> Curves:
    """Return the curves over chains with so many coins, in ascending order."""
    curves: Curves = {}
    dice = make_dice(0, "growth by coins")
    with scratch() as directory:
        maker = ChainMaker()
        Store.create(directory, maker.genesis, voting_key=None)
        sample: Places = []
        for size in sizes:
            store = Store.open(directory, maker.genesis, voting_key=None)
            _grow(store, maker, size, sample, dice)
            store.close()
            store, open_cpu_s, _ = timed(
                lambda: Store.open(directory, maker.genesis, voting_key=None)
            )
            try:
                chosen = dice.sample(sample, SAMPLE + BLOCKS * BLOCK)
                reading, spending = chosen[:SAMPLE], chosen[SAMPLE:]
                cold, warm, cached = _read(store, [outpoint for outpoint, _ in reading])
                taken = disk_bytes(directory)
                waiting = _waiting_bytes(store, maker)
                committing = _commit(store, maker, spending)
            finally:
                _, flushing_s, _ = timed(store.close)
            add_points(
                curves,
                size,
                open_s_by_coins=open_cpu_s,
                coin_disk_bytes_by_coins=taken / size,
                coin_read_cold_us_by_coins=cold,
                coin_read_cached_us_by_coins=warm,
                coin_cache_bytes_by_coins=cached,
                waiting_bytes_by_coins=waiting,
                commit_us_by_coins=committing,
                flush_us_by_coins=flushing_s * 1e6 / len(spending),
            )
            spent = dict.fromkeys(outpoint for outpoint, _ in spending)
            sample[:] = [place for place in sample if place[0] not in spent]
            if not advance():
                break
    return curves


def _grow(store: Store, maker: ChainMaker, size: int, sample: Places, dice: Random) -> None:
    """Let the chain have so many coins, and remember some of all that were made."""
    while (missing := size - maker.state.coin_count) > 0:
        record = maker.decide_coins(min(missing, _COINS_A_BLOCK))
        created = record.delta.created
        keep = 1 + len(created) * 3 * (SAMPLE + BLOCKS * BLOCK) // size
        sample += dice.sample(created, min(len(created), keep))
        store.commit([record])
    if len(sample) < SAMPLE + BLOCKS * BLOCK:
        raise Misuse(f"a chain of {size} coins is too small to be measured")


def _read(store: Store, outpoints: list[bytes]) -> tuple[float, float, float]:
    """Return microseconds a coin from the disk and from the cache, and the cache's bytes a coin."""
    readers = store.readers()
    _, cold_s, _ = timed(lambda: _read_all(readers, outpoints))
    _, warm_s, _ = timed(lambda: _read_all(readers, outpoints))
    fresh = store.readers()
    # A node's cache holds outpoints of its own, as they came out of a payment.
    _, taken = traced(lambda: _read_all(fresh, [bytes(bytearray(each)) for each in outpoints]))
    return (cold_s * 1e6 / len(outpoints), warm_s * 1e6 / len(outpoints), taken / len(outpoints))


def _read_all(readers: Readers, outpoints: list[bytes]) -> None:
    for start in range(0, len(outpoints), BLOCK):
        if None in readers.coins_of(outpoints[start : start + BLOCK]):
            raise Misuse("a coin that was made is not there")


def _waiting_bytes(store: Store, maker: ChainMaker) -> float:
    """Return the memory of a coin that a block made and the tables do not hold yet."""
    count = SAMPLE

    def commit() -> None:
        store.commit([maker.decide_coins(count)])

    return traced(commit)[1] / count


def _commit(store: Store, maker: ChainMaker, spending: Places) -> float:
    """Return the CPU microseconds a payment that committing blocks of 400 takes, a sync each."""
    records = [
        maker.decide_spending(spending[start : start + BLOCK])
        for start in range(0, len(spending), BLOCK)
    ]

    def commit() -> None:
        for record in records:
            store.commit([record])

    _, spent_s, _ = timed(commit)
    return spent_s * 1e6 / len(spending)
