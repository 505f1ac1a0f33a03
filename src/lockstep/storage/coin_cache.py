"""A bounded cache of coins in two generations.

A coin that is read from the older generation moves to the younger one; when the younger is full it
becomes the older, and what was not read since is gone. That keeps what is in use at the price of
one dictionary look-up a read. Coins are kept as they stand in the database, which takes two thirds
of the memory of the objects, and are decoded when they are read.

Most coins are spent soon after they were made. What blocks changed is in dictionaries until the
index has it; the last of these are kept beyond that, so that such a coin is not read back.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from lockstep.ledger.coins import Coin

ENTRY_BYTES: Final = 256
"""Counted for one entry: slot 30 to 60, outpoint 80, encoded coin 80 to 96; measured, 246."""
RECENT_MAX: Final = 150_000
"""Coins made and spent by recent blocks that are kept at most: of 50,000 payments, 35 MB."""

_decode: Final = msgspec.msgpack.Decoder(Coin).decode


class CoinCache:
    """Coins of the index by outpoint; of absent ones it knows only those just spent.

    Owned by one `Readers` and used on its thread alone.

    Attributes:
        recent: What recent blocks left, newest first: a coin, or None for a spent one. What the
            first that has an outpoint says is true.
    """

    __slots__ = ("_generation_max", "_old", "_recent_max", "_young", "recent")

    def __init__(self, size_bytes: int) -> None:
        """Bound the cache by a counted estimate of its size."""
        entries_max = size_bytes // ENTRY_BYTES
        self._recent_max = min(RECENT_MAX, entries_max // 2)
        self._generation_max = max(1, (entries_max - self._recent_max) // 2)
        self.recent: list[dict[bytes, Coin | None]] = []
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """Return the number of coins held that were read."""
        return len(self._young) + len(self._old)

    @property
    def entries_max(self) -> int:
        """Return how many coins that were read it can hold."""
        return 2 * self._generation_max

    def keep(self, coins: dict[bytes, Coin | None]) -> list[dict[bytes, Coin | None]]:
        """Hold what the next blocks left of their coins, now that the index has it.

        Returns:
            What is too much then, for the caller to free.
        """
        recent = [coins, *self.recent]
        room = self._recent_max - sum(map(len, recent))
        dropped: list[dict[bytes, Coin | None]] = []
        while room < 0:
            dropped.append(recent.pop())
            room += len(dropped[-1])
        self.recent = recent
        return dropped

    def find(self, outpoint: bytes) -> Coin | None:
        """Return the coin if it was read and is held."""
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
