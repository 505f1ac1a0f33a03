"""How memory, disk, reads and writes grow with the number of unspent coins.

One chain grows from size to size; at each it is closed, opened, read at random places, and given
blocks that spend coins of any age.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from lockstep.bench.growth_points import Curves, add_points, disk_bytes, scratch, timed, traced
from lockstep.bench.made_chain import ChainMaker
from lockstep.errors import Misuse
from lockstep.ledger.coins import Coin, CoinDelta, CoinOverlay
from lockstep.sim.dice import make_dice
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store

QUICK: Final = (10_000, 30_000, 100_000)
FULL: Final = (10_000, 100_000, 1_000_000, 5_000_000)
SAMPLE: Final = 5_000
"""Coins read at each size."""
BLOCK: Final = 400
BLOCKS: Final = 5
"""Blocks applied at each size."""
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
                add_points(
                    curves,
                    size,
                    coin_disk_bytes_by_coins=disk_bytes(directory) / size,
                    coin_read_cold_us_by_coins=cold,
                    coin_read_cached_us_by_coins=warm,
                    coin_cache_bytes_by_coins=cached,
                    open_s_by_coins=open_cpu_s,
                    overlay_bytes_by_coins=_overlay_bytes(reading),
                    apply_us_by_coins=_apply(store, maker, spending),
                )
            finally:
                store.close()
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
        keep = max(1, len(created) * 8 * SAMPLE // size)
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


def _overlay_bytes(coins: Places) -> float:
    """Return the memory of a coin that a block made and the tables do not hold yet."""

    class Nothing:
        """A view below which there is nothing."""

        def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
            return [None for _ in outpoints]

        def height_of(self, txid: bytes) -> int | None:  # noqa: ARG002 # A view takes it.
            return None

    def lay() -> CoinOverlay:
        created = tuple(
            (bytes(bytearray(outpoint)), Coin(coin.amount + 0, bytes(bytearray(coin.lock)), 7))
            for outpoint, coin in coins
        )
        overlay = CoinOverlay(Nothing())
        overlay.apply(CoinDelta(height=7, created=created, spent=(), txids=()))
        return overlay

    return traced(lay)[1] / len(coins)


def _apply(store: Store, maker: ChainMaker, spending: Places) -> float:
    """Return the CPU microseconds a payment that committing blocks takes the storage thread."""
    records = [
        maker.decide_spending(spending[start : start + BLOCK])
        for start in range(0, len(spending), BLOCK)
    ]

    def commit() -> None:
        for record in records:
            store.commit([record])

    _, spent_s, _ = timed(commit)
    return spent_s * 1e6 / len(spending)
