"""A bounded cache of coins in two generations.

A coin that is read from the older generation moves to the younger one; when the younger is full it
becomes the older, and what was not read since is gone. That keeps what is in use at the price of
one dictionary look-up a read. Coins are kept as they stand in the database, which takes two thirds
of the memory of the objects, and are decoded when they are read.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from lockstep.ledger.coins import Coin

ENTRY_BYTES: Final = 256
"""Counted for one entry: slot 30 to 60, outpoint 80, encoded coin 80 to 96; measured, 246."""

_decode: Final = msgspec.msgpack.Decoder(Coin).decode


class CoinCache:
    """Unspent coins of the index by outpoint; it never remembers that a coin is absent.

    Owned by one `Readers` and used on its thread alone.
    """

    __slots__ = ("_generation_max", "_old", "_young")

    def __init__(self, size_bytes: int) -> None:
        """Bound the cache by a counted estimate of its size."""
        self._generation_max = max(1, size_bytes // ENTRY_BYTES // 2)
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """Return the number of coins held."""
        return len(self._young) + len(self._old)

    @property
    def entries_max(self) -> int:
        """Return how many coins it can hold."""
        return 2 * self._generation_max

    def find(self, outpoint: bytes) -> Coin | None:
        """Return the coin if it is held."""
        value = self._young.get(outpoint)
        if value is None:
            value = self._old.pop(outpoint, None) if self._old else None
            if value is None:
                return None
            self.add(outpoint, value)
        return _decode(value)

    def add(self, outpoint: bytes, value: bytes) -> None:
        """Hold a coin, encoded, that was read."""
        if len(self._young) >= self._generation_max:
            self._old = self._young
            self._young = {}
        self._young[outpoint] = value

    def forget(self, outpoints: Iterable[bytes]) -> None:
        """Let go of coins that were spent."""
        young, old = self._young, self._old
        for outpoint in outpoints:
            young.pop(outpoint, None)
            if old:
                old.pop(outpoint, None)
