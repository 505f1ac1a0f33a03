"""Reading the database: coins for the core, blocks and indexes for peers and people.

A `Readers` sees one moment until it is renewed. Used on one thread, while commits and flushes run
on others.

A moment is a snapshot of the chain, a snapshot of the index, and the layers between the two. The
layers answer first, then the cache, which holds coins of the index alone, then the index. The
replica's overlay answers for every coin a block touched until the shell posts `Persisted`, and the
shell renews before it posts: so when the overlay lets go of a coin, its block is in the moment
[T8].
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import lmdb

from lockstep.errors import Misuse
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.folding import rebuild_delta
from lockstep.ledger.state import ChainState
from lockstep.primitives.codec import decode
from lockstep.primitives.messages import DECIDED_BYTES_MAX, DecidedBlock
from lockstep.primitives.transaction import Transaction
from lockstep.storage.blocks import load_decided, load_page, load_pages, load_transaction
from lockstep.storage.coin_cache import CoinCache
from lockstep.storage.faults import CorruptedRecord, typed_faults
from lockstep.storage.index import Index, decode_coin
from lockstep.storage.layers import Layer, Layers
from lockstep.storage.memory import cache_bytes
from lockstep.storage.schema import (
    ROW_BYTES_MAX,
    STATE_KEY,
    Place,
    Tables,
)
from lockstep.storage.spent import load_spent
from lockstep.storage.tables import LmdbTransaction

FREED_MIN: Final = 2_000
"""Rows freed with each moment at least, besides twice as many as it brought."""


class _Generation:
    """The coins and transactions of the layers that are flushed together."""

    __slots__ = ("coins", "layers", "number", "txids")

    def __init__(self, number: int) -> None:
        self.number = number
        self.layers: list[Layer] = []
        self.coins: dict[bytes, Coin | None] = {}
        self.txids: dict[bytes, Layer] = {}

    def add(self, layer: Layer) -> None:
        self.layers.append(layer)
        layer.lay_over(self.coins)
        self.txids.update(dict.fromkeys(layer.delta.txids, layer))


class Readers:
    """One moment of the database with a cache of coins; implements `CoinView`."""

    def __init__(
        self,
        env: lmdb.Environment,
        tables: Tables,
        index: Index,
        layers: Layers,
        *,
        size_bytes: Callable[[], int] = cache_bytes,
    ) -> None:
        """Take a moment; the coin cache is sized once, by `size_bytes`, when first used."""
        self._env = env
        self._tables = tables
        self._index = index
        self._layers = layers
        self._size_bytes = size_bytes
        self._cache: CoinCache | None = None
        self._state: ChainState
        self._txn: LmdbTransaction | None = None
        self._index_txn: LmdbTransaction | None = None
        self._top = 0
        self._newest_first: list[_Generation] = []
        # What blocks above the index and recent ones in it left of their coins, newest first.
        self._known: list[dict[bytes, Coin | None]] = []
        # What nobody looks at any more, to be freed bit by bit.
        self._outlived: deque[dict[bytes, Any]] = deque()
        self.renew()

    def renew(self) -> None:
        """See everything committed until now; called after each commit that decided a block.

        Raises:
            CorruptedRecord: If the state or the mark is damaged or missing [D4].
            StorageFailed: If the system refuses.
        """
        with typed_faults("renewing a snapshot"):
            layers = self._take_moment()
            while layers is None:
                layers = self._take_moment()
        if layers and layers[0].height > self._top + 1:
            # Blocks were committed and flushed between two moments: what is kept knows them not,
            # and the next layers may be of the generation that stands there.
            self._cache = None
            self._newest_first.clear()
        freed = FREED_MIN
        for layer in layers:
            if layer.height > self._top:
                self._add(layer)
                freed += 2 * layer.changes
        self._free(freed)
        lowest = layers[0].height if layers else self._state.height + 1
        if not layers and self._top < self._state.height:
            self._cache = None
        while self._newest_first and self._newest_first[-1].layers[-1].height < lowest:
            landed = self._newest_first.pop()
            self._outlived.append(landed.txids)
            if self._cache is not None:
                self._outlived += self._cache.keep(landed.coins)
        self._known = [generation.coins for generation in self._newest_first]
        if self._cache is not None:
            self._known += self._cache.recent
        self._top = self._state.height

    def close(self) -> None:
        """Let go of the moment."""
        for txn in (self._txn, self._index_txn):
            if txn is not None:
                with suppress(lmdb.Error):
                    txn.abort()
        self._txn = self._index_txn = None

    @property
    def changes_waiting(self) -> int:
        """Return how many changes of decided blocks the index does not have yet."""
        return self._layers.changes

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each 36-byte outpoint, None where it is spent or unknown.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        cache = self._cache
        if cache is None:
            cache = self._cache = CoinCache(self._size_bytes())
        newest_first, find = self._known, cache.find
        coins: list[Coin | None] = []
        sought: list[bytes] = []
        places: list[int] = []
        for outpoint in outpoints:
            for known in newest_first:
                if outpoint in known:
                    coins.append(known[outpoint])
                    break
            else:
                coin = find(outpoint)
                if coin is None:
                    places.append(len(coins))
                    sought.append(outpoint)
                coins.append(coin)
        if sought:
            for place, coin in zip(places, self._load_coins(cache, sought), strict=True):
                coins[place] = coin
        return coins

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        layer = self._layer_of(txid)
        if layer is not None:
            return layer.height
        place = self._load_place(txid)
        return None if place is None else place.height

    def state(self) -> ChainState:
        """Return the chain's state at this moment."""
        return self._state

    def decided_page(self, height: int, page: int) -> tuple[bytes, int] | None:
        """Return one page of an encoded `DecidedBlock` and the number of its pages [T9].

        None if the chain is not that high or the block has no such page.

        Raises:
            CorruptedRecord: If the page is damaged, or missing where a block must be [D4].
        """
        if not 0 < height <= self._state.height:
            return None
        with typed_faults("reading a block"):
            return load_page(self._chain(), self._tables, height, page)

    def decided_bytes(self, height: int) -> bytes | None:
        """Return the encoded `DecidedBlock` of a height, or None above the tip.

        Raises:
            CorruptedRecord: If a page is damaged or missing [D4].
        """
        if not 0 < height <= self._state.height:
            return None
        with typed_faults("reading a block"):
            return load_pages(self._chain(), self._tables, height, 0, None)

    def decided(self, height: int) -> DecidedBlock | None:
        """Return the block of a height with its certificate, or None above the tip.

        Raises:
            CorruptedRecord: If a page is damaged or missing [D4].
        """
        data = self.decided_bytes(height)
        if data is None:
            return None
        with typed_faults("decoding a block"):
            return decode(DecidedBlock, data, size_max=DECIDED_BYTES_MAX)

    def deltas(self) -> list[CoinDelta]:
        """Return what the blocks changed above the height whose sum of coins the state has [S1].

        Raises:
            CorruptedRecord: If a block, or what it spent, is damaged or missing [D4].
        """
        fresh = {
            layer.height: layer.delta
            for generation in self._newest_first
            for layer in generation.layers
        }
        deltas: list[CoinDelta] = []
        with typed_faults("reading what blocks changed"):
            for height in range(self._state.summed_height + 1, self._state.height + 1):
                delta = fresh.get(height)
                if delta is None:
                    decided = load_decided(self._chain(), self._tables, height)
                    spent = load_spent(self._chain(), self._tables, height)
                    delta = rebuild_delta(decided.block, spent)
                deltas.append(delta)
        return deltas

    def height_of_block(self, block_id: bytes) -> int | None:
        """Return the height of a decided block, or None if there is no such block.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        with typed_faults("reading the index of blocks"):
            value = self._tables.block_index.get(self._chain(), block_id)
        return None if value is None else int.from_bytes(value, "big")

    def transaction(self, txid: bytes) -> tuple[Transaction, int, int] | None:
        """Return a transaction of the chain with its height and position, or None.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        place = self._place_of(txid)
        if place is None:
            return None
        with typed_faults("reading a transaction"):
            transaction = load_transaction(self._chain(), self._tables, place)
        return transaction, place.height, place.position

    def coins_of_lock(
        self, lock: bytes, after: bytes | None = None, *, limit: int
    ) -> list[tuple[bytes, Coin]]:
        """Return at most `limit` coins under a lock, in order of outpoint, from behind `after`.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        fresh = self._fresh_under(lock, b"" if after is None else after)
        with typed_faults("reading the coins of an address"):
            settled = (
                (outpoint, coin)
                for outpoint, coin in self._index.coins_under(self._indexed(), lock, after)
                if not self._coin_above(outpoint)[0]
            )
            return list(islice(heapq.merge(heapq.nsmallest(limit, fresh), settled), limit))

    def all_coins(self) -> list[tuple[bytes, Coin]]:
        """Return every coin in order of outpoint; for judges and tests, not for a running node.

        Raises:
            CorruptedRecord: If a record is damaged [D4].
        """
        with typed_faults("reading all coins"):
            rows = self._index.tables.coins.scan(self._indexed())
            coins: dict[bytes, Coin | None] = {key: decode_coin(value) for key, value in rows}
        for generation in reversed(self._newest_first):
            coins.update(generation.coins)
        return sorted((outpoint, coin) for outpoint, coin in coins.items() if coin is not None)

    def _take_moment(self) -> tuple[Layer, ...] | None:
        """Take both snapshots and the layers between them; None if a flush came in between."""
        self.close()
        self._txn = self._env.begin()
        value = self._tables.state.get(self._txn, STATE_KEY)
        if value is None:
            raise CorruptedRecord("the state of the chain is missing")
        self._state = decode(ChainState, value, size_max=ROW_BYTES_MAX)
        tip = self._state.height
        layers = tuple([layer for layer in self._layers.all() if layer.height <= tip])
        self._index_txn = self._index.env.begin()
        indexed = self._index.load_mark(self._index_txn).height
        lowest = layers[0].height if layers else tip + 1
        return layers if lowest - 1 <= indexed <= tip else None

    def _free(self, limit: int) -> None:
        """Free some rows of what is not looked at; all at once would keep the loop for long."""
        outlived = self._outlived
        while outlived and limit > 0:
            rows = outlived[0]
            for _ in range(min(limit, len(rows))):
                rows.popitem()
                limit -= 1
            if not rows:
                outlived.popleft()

    def _add(self, layer: Layer) -> None:
        """Take in a block that the last moment did not have."""
        newest = self._newest_first[0] if self._newest_first else None
        if newest is None or newest.number != layer.generation:
            newest = _Generation(layer.generation)
            self._newest_first.insert(0, newest)
        newest.add(layer)
        if self._cache is not None:
            self._cache.forget([outpoint for outpoint, _ in layer.delta.spent])

    def _coin_above(self, outpoint: bytes) -> tuple[bool, Coin | None]:
        """Return whether the layers know an outpoint, and the coin where it is not spent."""
        for generation in self._newest_first:
            if outpoint in generation.coins:
                return True, generation.coins[outpoint]
        return False, None

    def _fresh_under(self, lock: bytes, after: bytes) -> list[tuple[bytes, Coin]]:
        """Return the coins under a lock that the layers made, behind `after`."""
        fresh: list[tuple[bytes, Coin]] = []
        for generation in self._newest_first:
            for layer in generation.layers:
                for outpoint in layer.made_under(lock):
                    coin = self._coin_above(outpoint)[1] if outpoint > after else None
                    if coin is not None:
                        fresh.append((outpoint, coin))
        return fresh

    def _chain(self) -> LmdbTransaction:
        if self._txn is None:
            raise Misuse("this reader is closed")
        return self._txn

    def _indexed(self) -> LmdbTransaction:
        if self._index_txn is None:
            raise Misuse("this reader is closed")
        return self._index_txn

    def _place_of(self, txid: bytes) -> Place | None:
        layer = self._layer_of(txid)
        if layer is not None:
            return Place(layer.height, layer.delta.txids.index(txid))
        return self._load_place(txid)

    def _layer_of(self, txid: bytes) -> Layer | None:
        for generation in self._newest_first:
            layer = generation.txids.get(txid)
            if layer is not None:
                return layer
        return None

    def _load_place(self, txid: bytes) -> Place | None:
        with typed_faults("reading the index of transactions"):
            return self._index.load_place(self._indexed(), txid)

    def _load_coins(self, cache: CoinCache, outpoints: Sequence[bytes]) -> list[Coin | None]:
        with typed_faults("reading coins"):
            values = self._index.tables.coins.get_many(self._indexed(), outpoints)
        coins: list[Coin | None] = []
        for outpoint, value in zip(outpoints, values, strict=True):
            if value is None:
                coins.append(None)
            else:
                cache.add(outpoint, value)
                coins.append(decode_coin(value))
        return coins
