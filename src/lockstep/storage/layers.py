"""Decided blocks that are in the chain on the disk and not yet in the index [T8].

Each is an immutable layer. The storage thread adds layers, the flusher takes them away once the
index has them, and readers look at both; the tuple of layers is replaced as a whole.
"""

import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from threading import Lock

from lockstep.ledger.coins import Coin, CoinDelta


class Layer:
    """What one block changed; never changed once made.

    Attributes:
        delta: Coins made and spent, and the txids in order.
        block_id: The block.
        coin_count, coin_sum: All coins above the block.
        generation: How many flushes had begun when it was added.
        since_s: When it was added, on the monotonic clock.
    """

    __slots__ = (
        "_by_lock",
        "block_id",
        "coin_count",
        "coin_sum",
        "delta",
        "generation",
        "since_s",
    )

    def __init__(
        self,
        delta: CoinDelta,
        *,
        block_id: bytes,
        coin_count: int,
        coin_sum: int,
    ) -> None:
        """Make the layer of a block; `Layers.add` gives it its generation."""
        self.delta = delta
        self.block_id = block_id
        self.coin_count = coin_count
        self.coin_sum = coin_sum
        self.generation = 0
        self.since_s = time.monotonic()
        self._by_lock: dict[bytes, list[bytes]] | None = None

    @property
    def height(self) -> int:
        """Return the height of the block."""
        return self.delta.height

    @property
    def changes(self) -> int:
        """Return how many coins and transactions it has: what its flush has to write at most."""
        delta = self.delta
        return len(delta.created) + len(delta.spent) + len(delta.txids)

    def lay_over(self, coins: dict[bytes, Coin | None]) -> None:
        """Change what is known of coins as the block did: None stands for a spent one."""
        coins.update(dict.fromkeys([outpoint for outpoint, _ in self.delta.spent]))
        coins.update(self.delta.created)

    def made_under(self, lock: bytes) -> Sequence[bytes]:
        """Return the outpoints the block made under a lock; all are sorted by lock at first use."""
        found = self._by_lock
        if found is None:
            found = {}
            for outpoint, coin in self.delta.created:
                found.setdefault(coin.lock, []).append(outpoint)
            self._by_lock = found
        return found.get(lock, ())


class Layers:
    """The layers of all blocks above the index; safe to use from several threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._layers: tuple[Layer, ...] = ()
        self._changes = 0
        self._generation = 0
        self._synced_height = 0

    def all(self) -> tuple[Layer, ...]:
        """Return the layers, lowest first; the last may be of a commit that is still under way."""
        return self._layers

    @property
    def changes(self) -> int:
        """Return how many changes wait for the index."""
        return self._changes

    def age_s(self) -> float:
        """Return for how long the lowest layer has been waiting, 0 where there is none."""
        layers = self._layers
        return time.monotonic() - layers[0].since_s if layers else 0.0

    def add(self, layers: Sequence[Layer]) -> None:
        """Add the next blocks; not to be flushed before `settle` says that they are synced."""
        with self._lock:
            for layer in layers:
                layer.generation = self._generation
            self._layers = (*self._layers, *layers)
            self._changes += sum(layer.changes for layer in layers)

    def settle(self, height: int) -> None:
        """Note that the blocks up to this height are synced."""
        self._synced_height = height

    def withdraw(self) -> None:
        """Take back what was added of a commit that failed."""
        self._keep(lambda height: height <= self._synced_height)

    def begin_flush(self) -> tuple[Layer, ...]:
        """Return what can be flushed now; what is added from here on is of the next generation."""
        with self._lock:
            self._generation += 1
            synced = self._synced_height
            return tuple(takewhile(lambda layer: layer.height <= synced, self._layers))

    def landed(self, height: int) -> None:
        """Drop the layers up to this height: the index has them."""
        self._keep(lambda known: known > height)

    def _keep(self, is_kept: Callable[[int], bool]) -> None:
        with self._lock:
            self._layers = tuple([layer for layer in self._layers if is_kept(layer.height)])
            self._changes = sum(layer.changes for layer in self._layers)
