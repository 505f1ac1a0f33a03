"""A bounded cache of coins in two generations.

A coin that is read from the older generation moves to the younger one; when the younger is full it
becomes the older, and what was not read since is gone. That keeps what is in use at the price of
one dictionary look-up a read.
"""

from typing import Final

from lockstep.ledger.coins import Coin, CoinDelta

ENTRY_BYTES: Final = 360
"""Counted for one entry: slot 104, outpoint 69, coin 40, lock 65, two integers 64, and slack."""


class CoinCache:
    """Unspent coins by outpoint; it never remembers that a coin is absent.

    Owned by one `Readers` and used on its thread alone.
    """

    __slots__ = ("_generation_max", "_old", "_young")

    def __init__(self, size_bytes: int) -> None:
        """Bound the cache by a counted estimate of its size."""
        self._generation_max = max(1, size_bytes // ENTRY_BYTES // 2)
        self._young: dict[bytes, Coin] = {}
        self._old: dict[bytes, Coin] = {}

    def __len__(self) -> int:
        """Return the number of coins held."""
        return len(self._young) + len(self._old)

    @property
    def entries_max(self) -> int:
        """Return how many coins it can hold."""
        return 2 * self._generation_max

    def find(self, outpoint: bytes) -> Coin | None:
        """Return the coin if it is held."""
        coin = self._young.get(outpoint)
        if coin is None and self._old:
            coin = self._old.pop(outpoint, None)
            if coin is not None:
                self.add(outpoint, coin)
        return coin

    def add(self, outpoint: bytes, coin: Coin) -> None:
        """Hold a coin that was read or made."""
        if len(self._young) >= self._generation_max:
            self._old = self._young
            self._young = {}
        self._young[outpoint] = coin

    def apply(self, delta: CoinDelta) -> None:
        """Forget what a committed block spent and hold what it made."""
        for outpoint, _ in delta.spent:
            self._young.pop(outpoint, None)
            self._old.pop(outpoint, None)
        for outpoint, coin in delta.created:
            self.add(outpoint, coin)
