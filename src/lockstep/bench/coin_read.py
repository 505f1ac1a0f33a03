"""`lockstep bench coin-read`: what it costs to look up a coin, and what one takes in the cache.

Read as the core reads, the 400 coins of a batch at once: coins of blocks that the index does not
have yet (`layers`), coins in the cache, coins that must be read from the index, and outpoints that
nobody made, each with `COINS` in the index. Blocks above the index are looked through first, so
all but `layers` pay for that too.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from lockstep.bench.made_chain import ChainMaker
from lockstep.bench.measuring import Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.ledger.coins import Coin
from lockstep.primitives.codec import encode
from lockstep.storage.coin_cache import ENTRY_BYTES, CoinCache
from lockstep.storage.flusher import FlushLimits
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store

COINS: Final = 100_000
LAYERS: Final = 20
LAYER_PAYMENTS: Final = 500
BATCH: Final = 400
BYTES_MAX: Final = 300
"""What a coin may take in the cache."""
_BY_HAND: Final = FlushLimits(changes=10**9, age_s=1e9, is_concurrent=False)


def run(request: Request) -> Report:
    """Measure look-ups, then fill a cache and see by how much the process grows."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as place:
        maker = ChainMaker()
        store = Store.open(Path(place), maker.genesis, voting_key=None, limits=_BY_HAND)
        try:
            settled, fresh = fill(store, maker, coins=COINS)
            variants = make_variants(store, settled, fresh)
            figures = measure(variants, repetitions=request.repetitions)
        finally:
            store.close()
    cached_bytes = measure_cached_bytes(COINS)
    content: dict[str, Any] = {
        "us_per_coin": {name: figure.cpu for name, figure in figures.items()},
        "bytes_per_cached_coin": round(cached_bytes),
        "bytes_max": BYTES_MAX,
        "coins": COINS,
    }
    lines = [f"CPU microseconds a coin of {COINS:,}, {BATCH} at once"]
    lines += [f"  {name}: {figure.cpu:.2f}" for name, figure in figures.items()]
    lines.append(f"a coin in the cache takes {cached_bytes:.0f} bytes; {BYTES_MAX} are allowed")
    return Report(figures=figures, content=content, lines=lines, is_good=cached_bytes <= BYTES_MAX)


def fill(store: Store, maker: ChainMaker, *, coins: int) -> tuple[list[bytes], list[bytes]]:
    """Bring coins into the index and blocks above it; return outpoints of both."""
    made = maker.decide_coins(coins)
    store.commit([made])
    store.flush()
    fresh: list[bytes] = []
    for _ in range(LAYERS):
        record = maker.decide_payments(LAYER_PAYMENTS)
        store.commit([record])
        # The last one is spent by the next block.
        fresh += [outpoint for outpoint, _ in record.delta.created[:-1]]
    return [outpoint for outpoint, _ in made.delta.created], fresh


def make_variants(
    store: Store, settled: Sequence[bytes], fresh: Sequence[bytes]
) -> dict[str, Variant]:
    """Return a look-up of a batch's coins in each place they can be."""
    cached, cold = store.readers(), store.readers(size_bytes=lambda: 0)
    unknown = [bytes(35) + bytes([number % 256]) for number in range(BATCH)]

    def reading(readers: Readers, outpoints: Sequence[bytes]) -> Callable[[], object]:
        chosen = outpoints[:: max(1, len(outpoints) // BATCH)][:BATCH]
        return lambda: readers.coins_of(chosen)

    return {
        "layers": Variant(work=reading(cached, fresh), items=BATCH),
        "cached": Variant(work=reading(cached, settled), items=BATCH),
        "index": Variant(work=reading(cold, settled), items=BATCH),
        "unknown": Variant(work=reading(cached, unknown), items=BATCH),
    }


def measure_cached_bytes(coins: int) -> float:
    """Return by how much a fresh process grows for each coin that its cache takes."""
    words = [sys.executable, "-P", "-m", __name__, str(coins)]
    told = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603  # It is ours.
    return float(told.stdout)


def grow_cache(coins: int) -> float:
    """Fill a cache in this process; return the bytes by which it grew for each coin."""
    maker = ChainMaker()
    lock = maker.genesis.coins[0].lock
    cache = CoinCache(coins * 2 * ENTRY_BYTES)
    before = _resident_bytes()
    for number in range(coins):
        coin = Coin(amount=10**10 + number, lock=lock, height=1_000_000)
        cache.add(number.to_bytes(36, "big"), encode(coin))
    return (_resident_bytes() - before) / coins


def _resident_bytes() -> int:
    """Return the private memory of this process."""
    resident, shared = Path("/proc/self/statm").read_text("ascii").split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.stdout.write(f"{grow_cache(int(sys.argv[1]))}\n")
