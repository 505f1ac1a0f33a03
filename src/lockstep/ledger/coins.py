"""Coins and the one port by which the core reads them [L4, T8]."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from lockstep.primitives.ids import Amount, Counter, Hash


class Coin(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """An unspent output: amount in base units, its lock, the height that made it."""

    amount: Amount
    lock: Hash
    height: Counter


class CoinView(Protocol):
    """Reads coins of the chain; answers at once and never changes anything."""

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each 36-byte outpoint, None where it is spent or unknown."""
        ...

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None."""
        ...


class CoinDelta(Struct, frozen=True, array_like=True):
    """What one block changed, net: coins made and spent within the block appear in neither.

    `txids` has all transactions of the block in order, for the index.
    """

    height: int
    created: tuple[tuple[bytes, Coin], ...]
    spent: tuple[tuple[bytes, Coin], ...]
    txids: tuple[bytes, ...]


class CoinOverlay:
    """A view with the deltas of decided blocks that are not in the database yet [T8].

    Owned by the replica; `forget` moves the boundary when the shell says that a height is synced.
    """

    def __init__(self, base: CoinView) -> None:
        """Lay an empty overlay over `base`."""
        self._base = base
        self._deltas: dict[int, CoinDelta] = {}
        self._coins: dict[bytes, Coin | None] = {}
        self._heights: dict[bytes, int] = {}

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each outpoint, None where it is spent or unknown."""
        if not self._coins:
            return self._base.coins_of(outpoints)
        overlay = self._coins
        missing = [outpoint for outpoint in outpoints if outpoint not in overlay]
        found = dict(zip(missing, self._base.coins_of(missing), strict=True)) if missing else {}
        return [overlay[o] if o in overlay else found[o] for o in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None."""
        height = self._heights.get(txid)
        return self._base.height_of(txid) if height is None else height

    def apply(self, delta: CoinDelta) -> None:
        """Lay one decided block's changes over the view."""
        self._deltas[delta.height] = delta
        self._lay(delta)

    def forget(self, height: int) -> None:
        """Drop the deltas up to `height`, which the base now answers for."""
        kept = [delta for h, delta in sorted(self._deltas.items()) if h > height]
        self._deltas = {delta.height: delta for delta in kept}
        self._coins, self._heights = {}, {}
        for delta in kept:
            self._lay(delta)

    def pending(self) -> Iterable[CoinDelta]:
        """Return the deltas not yet in the base, by height."""
        return [self._deltas[height] for height in sorted(self._deltas)]

    def _lay(self, delta: CoinDelta) -> None:
        self._coins.update(delta.created)
        self._coins.update((outpoint, None) for outpoint, _ in delta.spent)
        self._heights.update((txid, delta.height) for txid in delta.txids)
