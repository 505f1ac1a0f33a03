"""The index: coins and places of transactions, all that follows from genesis and the blocks [T8].

It is an LMDB environment of its own with its own writer, so that no vote waits behind it. It is
written in bulk, net of what is made and spent between two flushes, in order of key; the mark that
says up to which block it is right is part of the same write. A crash leaves an earlier mark, and
the blocks above it are read again.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from lockstep.ledger.coins import Coin
from lockstep.primitives.codec import decode, encode
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.storage.crashpoints import reach
from lockstep.storage.directory import open_environment, sync_directory
from lockstep.storage.faults import CorruptedRecord, typed_faults
from lockstep.storage.layers import Layer
from lockstep.storage.schema import LOCK_BYTES, MARK_KEY, ROW_BYTES_MAX, IndexTables, Mark, Place
from lockstep.storage.tables import LmdbTransaction

INDEX_DIRECTORY: Final = "index"
SLICE_ROWS: Final = 500
"""Rows written between two moments at which other threads may run: about a millisecond."""
SORT_ROWS: Final = 8192
"""Keys put into piles at a stretch, which takes as long."""
_PILES: Final = 256
_HEIGHT_BYTES: Final = 8
_POSITION_BYTES: Final = 4

decode_coin: Final = msgspec.msgpack.Decoder(Coin).decode
"""Decode a coin of a row whose checksum was good."""


class Index:
    """The open environment of the index; written by one thread at a time."""

    def __init__(self, directory: Path, *, readonly: bool) -> None:
        """Open the environment below the chain's `directory`."""
        self.path = directory / INDEX_DIRECTORY
        self.env = open_environment(self.path, readonly=readonly)
        try:
            self.tables = IndexTables(self.env)
        except BaseException:
            self.env.close()
            raise

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def load_mark(self, txn: LmdbTransaction) -> Mark:
        """Return up to which block the index is right.

        Raises:
            CorruptedRecord: If the mark is damaged or missing.
        """
        value = self.tables.mark.get(txn, MARK_KEY)
        if value is None:
            raise CorruptedRecord("the mark of the index is missing")
        return decode(Mark, value, size_max=ROW_BYTES_MAX)

    def load_coin(self, txn: LmdbTransaction, outpoint: bytes) -> Coin | None:
        """Return a coin as the index has it, or None.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        value = self.tables.coins.get(txn, outpoint)
        return None if value is None else decode_coin(value)

    def coins_under(
        self, txn: LmdbTransaction, lock: bytes, after: bytes | None
    ) -> Iterator[tuple[bytes, Coin]]:
        """Yield the coins under a lock in order of outpoint, from behind `after`.

        A key of this table has no checksum: the coin it names, which has one, must be there and
        have this lock. So are the keys beside the range looked at, among which a damaged one of the
        range would stand.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        start = lock if after is None else lock + after + b"\0"
        for key in self.tables.locks.keys_around(txn, start):
            outpoint = key[LOCK_BYTES:]
            coin = self.load_coin(txn, outpoint)
            if coin is None or coin.lock != key[:LOCK_BYTES]:
                raise CorruptedRecord(f"the record {key.hex()} of table locks is damaged")
            if not key.startswith(lock):
                if key < start:
                    continue
                return
            if key >= start:
                yield outpoint, coin

    def load_place(self, txn: LmdbTransaction, txid: bytes) -> Place | None:
        """Return where a transaction stands as the index has it, or None.

        Raises:
            CorruptedRecord: If a record read for it is damaged [D4].
        """
        value = self.tables.transactions.get(txn, txid)
        if value is None:
            return None
        height, position = value[:_HEIGHT_BYTES], value[_HEIGHT_BYTES:]
        return Place(int.from_bytes(height, "big"), int.from_bytes(position, "big"))

    def check_counts(self) -> None:
        """Count the rows against the mark; a fifth of a second a million rows.

        Raises:
            CorruptedRecord: If a table has lost a row, or has one too many.
        """
        tables = self.tables
        with typed_faults("checking the index"), self.env.begin() as txn:
            mark = self.load_mark(txn)
            for table, expected in (
                (tables.coins, mark.coin_count),
                (tables.locks, mark.coin_count),
                (tables.transactions, mark.transaction_count),
            ):
                if table.walk(txn) != expected or table.count(txn) != expected:
                    raise CorruptedRecord(
                        f"table {table.name} has {table.count(txn)} records "
                        f"where its mark counts {expected}"
                    )

    def flush(self, layers: Sequence[Layer]) -> Iterator[None]:
        """Write what these layers changed in one synced transaction; yield each millisecond or so.

        All steps are to be taken on one thread; one that is given up leaves the index as it was.

        Raises:
            CorruptedRecord: If a coin that is made exists, or one that is spent does not.
            DiskFull: If there is no room; nothing is written.
            StorageFailed: If the system refuses.
        """
        reach("flush.begin.before")
        made: dict[bytes, Coin] = {}
        spent: dict[bytes, Coin] = {}
        for layer in layers:
            yield from _net(layer, made, spent)
        with typed_faults("flushing the index"):
            with self.env.begin(write=True) as txn:
                yield from self._remove(txn, spent)
                reach("flush.spent.after")
                yield from self._insert(txn, made)
                reach("flush.made.after")
                yield from self._place(txn, layers)
                reach("flush.index.after")
                self._move_mark(txn, layers)
                reach("flush.sync.before")
            reach("flush.sync.after")

    def _remove(self, txn: LmdbTransaction, spent: dict[bytes, Coin]) -> Iterator[None]:
        tables = self.tables
        keys: list[bytes] = []
        for outpoints in _sorted_slices(spent):
            tables.coins.remove(txn, outpoints)
            keys += [spent[outpoint].lock + outpoint for outpoint in outpoints]
            yield
        for slice_ in _sorted_slices(keys):
            tables.locks.remove(txn, slice_)
            yield

    def _insert(self, txn: LmdbTransaction, made: dict[bytes, Coin]) -> Iterator[None]:
        tables = self.tables
        keys: list[bytes] = []
        for outpoints in _sorted_slices(made):
            coins = [made[outpoint] for outpoint in outpoints]
            tables.coins.insert(txn, zip(outpoints, map(encode, coins), strict=True))
            keys += [coin.lock + o for coin, o in zip(coins, outpoints, strict=True)]
            yield
        # Those of one lock are in order already, which makes sorting them cheap.
        for slice_ in _sorted_slices(keys):
            tables.locks.insert_keys(txn, slice_)
            yield

    def _place(self, txn: LmdbTransaction, layers: Sequence[Layer]) -> Iterator[None]:
        places: dict[bytes, bytes] = {}
        for layer in layers:
            head = layer.height.to_bytes(_HEIGHT_BYTES, "big")
            for number, txid in enumerate(layer.delta.txids):
                places[txid] = head + number.to_bytes(_POSITION_BYTES, "big")
            yield
        for txids in _sorted_slices(places):
            self.tables.transactions.insert(txn, [(txid, places[txid]) for txid in txids])
            yield

    def _move_mark(self, txn: LmdbTransaction, layers: Sequence[Layer]) -> None:
        """Move the mark to the last layer, if the tables hold what that block counts."""
        tables, before, last = self.tables, self.load_mark(txn), layers[-1]
        if before.height + 1 != layers[0].height:
            raise CorruptedRecord(
                f"block {layers[0].height} does not follow the index at {before.height}"
            )
        after = Mark(
            height=last.height,
            block_id=last.block_id,
            coin_count=last.coin_count,
            coin_sum=last.coin_sum,
            transaction_count=before.transaction_count
            + sum(len(layer.delta.txids) for layer in layers),
        )
        if not tables.coins.count(txn) == tables.locks.count(txn) == after.coin_count:
            raise CorruptedRecord(
                f"the index has {tables.coins.count(txn)} coins at height {after.height} "
                f"where {after.coin_count} are due"
            )
        tables.mark.put(txn, MARK_KEY, encode(after))


def make_index(directory: Path, genesis: Genesis) -> None:
    """Make the index with the coins of genesis, below the chain's `directory`, whole and synced.

    Raises:
        DiskFull: If there is no room for it.
        StorageFailed: If the system refuses.
    """
    path = directory / INDEX_DIRECTORY
    path.mkdir(mode=0o700)
    chain_id = genesis.chain_id
    coins = {
        genesis_outpoint(chain_id, number): Coin(amount=output.amount, lock=output.lock, height=0)
        for number, output in enumerate(genesis.coins)
    }
    mark = Mark(
        height=0,
        block_id=chain_id,
        coin_count=len(coins),
        coin_sum=genesis.supply,
        transaction_count=0,
    )
    with open_environment(path) as env, env.begin(write=True) as txn:
        tables = IndexTables(env, txn)
        tables.coins.insert(
            txn, [(outpoint, encode(coins[outpoint])) for outpoint in sorted(coins)]
        )
        tables.locks.insert_keys(txn, sorted([c.lock + outpoint for outpoint, c in coins.items()]))
        tables.mark.put(txn, MARK_KEY, encode(mark))
    sync_directory(path)


def _net(layer: Layer, made: dict[bytes, Coin], spent: dict[bytes, Coin]) -> Iterator[None]:
    """Take in a layer: a coin made since the last flush and spent now goes without trace."""
    for number, (outpoint, coin) in enumerate(layer.delta.spent, 1):
        if made.pop(outpoint, None) is None:
            spent[outpoint] = coin
        if not number % SORT_ROWS:
            yield
    made.update(layer.delta.created)
    yield


def _sorted_slices(keys: Collection[bytes]) -> Iterator[list[bytes]]:
    """Yield the keys in order, in slices; an empty slice now and then while they are sorted."""
    piles: list[list[bytes]] = [[] for _ in range(_PILES)]
    rest = iter(keys)
    while part := list(islice(rest, SORT_ROWS)):
        for key in part:
            piles[key[0]].append(key)
        yield []
    waiting: list[bytes] = []
    for pile in piles:
        pile.sort()
        waiting += pile
        while len(waiting) >= SLICE_ROWS:
            yield waiting[:SLICE_ROWS]
            del waiting[:SLICE_ROWS]
    yield waiting
