"""Coins and the one port by which the core reads them [L4, T8]."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from lockstep.primitives.ids import Amount, Counter, Hash


class Coin(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """An unspent output: amount in base units, its lock, the height that made it."""

    amount: Amount
    lock: Hash
    height: Counter


NamedCoin = tuple[bytes, Coin]
"""An outpoint and its coin."""


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
    created: tuple[NamedCoin, ...]
    spent: tuple[NamedCoin, ...]
    txids: tuple[bytes, ...]


class CoinOverlay:
    """A view with the deltas of decided blocks that are not in the database yet [T8].

    Owned by the replica; `forget` moves the boundary when the shell says that a height is synced.
    """

    def __init__(self, base: CoinView) -> None:
        """Lay an empty overlay over `base`."""
        self._base = base
        # Layers by height: what a block left of its coins, and its transactions.
        self._layers: dict[int, tuple[dict[bytes, Coin | None], frozenset[bytes]]] = {}
        self._newest_first: list[dict[bytes, Coin | None]] = []

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each outpoint, None where it is spent or unknown."""
        layers = [each for each in self._newest_first if not each.keys().isdisjoint(outpoints)]
        if not layers:
            return self._base.coins_of(outpoints)
        overlay: dict[bytes, Coin | None] = {}
        missing: list[bytes] = []
        for outpoint in outpoints:
            for layer in layers:
                if outpoint in layer:
                    overlay[outpoint] = layer[outpoint]
                    break
            else:
                missing.append(outpoint)
        if missing:
            overlay.update(zip(missing, self._base.coins_of(missing), strict=True))
        return [overlay[outpoint] for outpoint in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None."""
        for height, (_, txids) in self._layers.items():
            if txid in txids:
                return height
        return self._base.height_of(txid)

    def apply(self, delta: CoinDelta) -> None:
        """Lay one decided block's changes over the view."""
        coins: dict[bytes, Coin | None] = dict(delta.created)
        coins.update(dict.fromkeys([outpoint for outpoint, _ in delta.spent]))
        self._layers[delta.height] = (coins, frozenset(delta.txids))
        self._newest_first.insert(0, coins)

    def forget(self, height: int) -> None:
        """Drop the changes up to `height`, which the base now answers for."""
        for known in [known for known in self._layers if known <= height]:
            del self._layers[known]
        self._newest_first = [self._layers[known][0] for known in sorted(self._layers)[::-1]]
