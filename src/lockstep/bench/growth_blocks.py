"""How opening, reading and the disk grow with the number of blocks; one payment a block."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from lockstep.bench.growth_points import Curves, add_points, disk_bytes, scratch, timed
from lockstep.bench.made_chain import ChainMaker
from lockstep.errors import Misuse
from lockstep.sim.dice import make_dice
from lockstep.storage.store import Store

QUICK: Final = (1, 100, 1_000, 10_000)
FULL: Final = (1, 100, 1_000, 10_000, 100_000)
READS: Final = 300
_BLOCKS_A_COMMIT: Final = 250


def measure_blocks(sizes: Sequence[int], *, advance: Callable[[], bool] = lambda: True) -> Curves:
    """Return the curves over chains of so many blocks, in ascending order."""
    curves: Curves = {}
    dice = make_dice(0, "growth by blocks")
    txids: list[bytes] = []
    with scratch() as directory:
        maker = ChainMaker()
        Store.create(directory, maker.genesis, voting_key=None)
        empty = disk_bytes(directory)
        for size in sizes:
            store = Store.open(directory, maker.genesis, voting_key=None)
            _grow(store, maker, size, txids)
            store.close()
            store, open_cpu_s, open_s = timed(
                lambda: Store.open(directory, maker.genesis, voting_key=None)
            )
            try:
                add_points(
                    curves,
                    size,
                    open_cpu_ms_by_blocks=open_cpu_s * 1e3,
                    open_wall_ms_by_blocks=open_s * 1e3,
                    block_read_us_by_blocks=_read_blocks(store, size, dice),
                    payment_read_us_by_blocks=_read_payments(store, txids, dice),
                    block_disk_bytes_by_blocks=(disk_bytes(directory) - empty) / size,
                )
            finally:
                store.close()
            if not advance():
                break
    return curves


def _grow(store: Store, maker: ChainMaker, size: int, txids: list[bytes]) -> None:
    while (missing := size - maker.state.height) > 0:
        records = [maker.decide_payments(1) for _ in range(min(missing, _BLOCKS_A_COMMIT))]
        store.commit(records)
        txids += [txid for record in records for txid in record.delta.txids]


def _read_blocks(store: Store, height: int, dice: Random) -> float:
    """Return the CPU microseconds to read and decode a block of any height."""
    heights = [dice.randint(1, height) for _ in range(READS)]
    readers = store.readers()

    def read() -> None:
        for each in heights:
            if readers.decided(each) is None:
                raise Misuse(f"the block of height {each} is not there")

    return timed(read)[1] * 1e6 / READS


def _read_payments(store: Store, txids: Sequence[bytes], dice: Random) -> float:
    """Return the CPU microseconds to find and decode a payment of any age by its txid."""
    chosen = [dice.choice(txids) for _ in range(READS)]
    readers = store.readers()

    def read() -> None:
        for txid in chosen:
            if readers.transaction(txid) is None:
                raise Misuse("a payment of the chain is not there")

    return timed(read)[1] * 1e6 / READS
