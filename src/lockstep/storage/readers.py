"""Reading the database: coins for the core, blocks and indexes for peers and people.

A `Readers` sees one snapshot until it is renewed. Used on one thread, while commits run on another.

How cache and snapshot stay true: the replica's overlay answers for every coin a block touched until
the shell posts `Persisted`, and the shell renews before it posts. Each commit leaves its deltas in
a queue before it returns; renewing takes them out of the queue and into the cache and only then
moves the snapshot. So when the overlay lets go of a coin, cache and snapshot have its block [T8].
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import lmdb
import msgspec

from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.folding import rebuild_delta
from lockstep.ledger.state import ChainState
from lockstep.primitives.codec import decode
from lockstep.primitives.messages import DECIDED_BYTES_MAX, DecidedBlock
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.primitives.transaction import Transaction
from lockstep.storage.blocks import split_page
from lockstep.storage.coin_cache import CoinCache
from lockstep.storage.faults import CorruptedRecord, typed_faults
from lockstep.storage.memory import cache_bytes
from lockstep.storage.schema import (
    LOCK_BYTES,
    ROW_BYTES_MAX,
    STATE_KEY,
    LockedCoin,
    Place,
    Tables,
    page_key,
)
from lockstep.storage.spent import load_spent
from lockstep.storage.tables import LmdbTransaction

Subscribe = Callable[["deque[CoinDelta]"], None]

_decode_coin: Final = msgspec.msgpack.Decoder(Coin).decode
_decode_place: Final = msgspec.msgpack.Decoder(Place).decode
_decode_locked: Final = msgspec.msgpack.Decoder(LockedCoin).decode


class Readers:
    """One snapshot of the database with a cache of coins; implements `CoinView`."""

    def __init__(
        self,
        env: lmdb.Environment,
        tables: Tables,
        subscribe: Subscribe,
        *,
        size_bytes: Callable[[], int] = cache_bytes,
    ) -> None:
        """Take a snapshot; the coin cache is sized once, by `size_bytes`, when first used."""
        self._env = env
        self._tables = tables
        self._subscribe = subscribe
        self._size_bytes = size_bytes
        self._cache: CoinCache | None = None
        self._deltas: deque[CoinDelta] = deque()
        self._txn: LmdbTransaction = env.begin()

    def renew(self) -> None:
        """See everything committed until now; called after each commit that decided a block.

        Raises:
            StorageFailed: If the system refuses.
        """
        cache = self._cache
        while self._deltas:
            delta = self._deltas.popleft()
            if cache is not None:
                cache.apply(delta)
        with typed_faults("renewing a snapshot"):
            self._txn.abort()
            self._txn = self._env.begin()

    def close(self) -> None:
        """Let go of the snapshot."""
        with suppress(lmdb.Error):
            self._txn.abort()

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each 36-byte outpoint, None where it is spent or unknown.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        cache = self._cache
        if cache is None:
            cache = self._make_cache()
        find = cache.find
        coins = [find(outpoint) for outpoint in outpoints]
        if None in coins:
            with typed_faults("reading coins"):
                for i, coin in enumerate(coins):
                    if coin is None:
                        coins[i] = self._load_coin(cache, outpoints[i])
        return coins

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        place = self._place_of(txid)
        return None if place is None else place.height

    def state(self) -> ChainState:
        """Return the chain's state at this snapshot.

        Raises:
            CorruptedRecord: If the record is damaged or missing [D4].
        """
        with typed_faults("reading the state"):
            value = self._tables.state.get(self._txn, STATE_KEY)
            if value is None:
                raise CorruptedRecord("the state of the chain is missing")
            return decode(ChainState, value, size_max=ROW_BYTES_MAX)

    def decided_page(self, height: int, page: int) -> tuple[bytes, int] | None:
        """Return one page of an encoded `DecidedBlock` and the number of its pages [T9].

        None if the chain is not that high or the block has no such page.

        Raises:
            CorruptedRecord: If the page is damaged, or missing where a block must be [D4].
        """
        if not 0 < height <= self.state().height:
            return None
        with typed_faults("reading a block"):
            row = self._tables.blocks.get(self._txn, page_key(height, page))
        if row is not None:
            return split_page(row)
        if page == 0:
            raise CorruptedRecord(f"the block of height {height} is missing")
        return None

    def decided_bytes(self, height: int) -> bytes | None:
        """Return the encoded `DecidedBlock` of a height, or None above the tip.

        Raises:
            CorruptedRecord: If a page is damaged or missing [D4].
        """
        first = self.decided_page(height, 0)
        if first is None:
            return None
        return first[0] + b"".join(self._page(height, page) for page in range(1, first[1]))

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
        state = self.state()
        deltas: list[CoinDelta] = []
        for height in range(state.summed_height + 1, state.height + 1):
            decided = self.decided(height)
            if decided is not None:
                with typed_faults("reading what was spent"):
                    spent = load_spent(self._txn, self._tables, height)
                deltas.append(rebuild_delta(decided.block, spent))
        return deltas

    def height_of_block(self, block_id: bytes) -> int | None:
        """Return the height of a decided block, or None if there is no such block.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        with typed_faults("reading the index of blocks"):
            value = self._tables.block_index.get(self._txn, block_id)
        return None if value is None else int.from_bytes(value, "big")

    def transaction(self, txid: bytes) -> tuple[Transaction, int, int] | None:
        """Return a transaction of the chain with its height and position, or None.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        place = self._place_of(txid)
        if place is None:
            return None
        first, offset = divmod(place.offset, PAGE_BYTES_MAX)
        last = (place.offset + place.size_bytes - 1) // PAGE_BYTES_MAX
        data = b"".join(self._page(place.height, page) for page in range(first, last + 1))
        data = data[offset : offset + place.size_bytes]
        with typed_faults("decoding a transaction"):
            transaction = decode(Transaction, data, size_max=ROW_BYTES_MAX)
        return transaction, place.height, place.position

    def coins_of_lock(
        self, lock: bytes, after: bytes | None = None, *, limit: int
    ) -> list[tuple[bytes, Coin]]:
        """Return at most `limit` coins under a lock, in order of outpoint, from behind `after`.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        start = lock if after is None else lock + after + b"\0"
        coins: list[tuple[bytes, Coin]] = []
        with typed_faults("reading the coins of an address"):
            for key, value in self._tables.locks.scan(self._txn, start):
                if len(coins) >= limit or not key.startswith(lock):
                    break
                row = _decode_locked(value)
                coin = Coin(amount=row.amount, lock=lock, height=row.height)
                coins.append((key[LOCK_BYTES:], coin))
        return coins

    def all_coins(self) -> list[tuple[bytes, Coin]]:
        """Return every coin in order of outpoint; for judges and tests, not for a running node.

        Raises:
            CorruptedRecord: If a record is damaged [D4].
        """
        with typed_faults("reading all coins"):
            rows = self._tables.coins.scan(self._txn)
            return [(outpoint, _decode_coin(value)) for outpoint, value in rows]

    def _page(self, height: int, page: int) -> bytes:
        """Return the data of a page that must be there."""
        found = self.decided_page(height, page)
        if found is None:
            raise CorruptedRecord(f"page {page} of the block of height {height} is missing")
        return found[0]

    def _place_of(self, txid: bytes) -> Place | None:
        with typed_faults("reading the index of transactions"):
            value = self._tables.transactions.get(self._txn, txid)
        return None if value is None else _decode_place(value)

    def _load_coin(self, cache: CoinCache, outpoint: bytes) -> Coin | None:
        value = self._tables.coins.get(self._txn, outpoint)
        if value is None:
            return None
        coin = _decode_coin(value)
        cache.add(outpoint, coin)
        return coin

    def _make_cache(self) -> CoinCache:
        # First the queue, then the snapshot: no commit falls between the two.
        self._cache = CoinCache(self._size_bytes())
        self._subscribe(self._deltas)
        self.renew()
        return self._cache
