"""How a decided block is written: its pages, its coins and the indexes, in sorted bulk [T8]."""

from collections.abc import Iterable, Iterator

from lockstep.ledger.coins import Coin
from lockstep.primitives.block import Block, make_block_id
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.replica.effects import BlockDecided
from lockstep.storage.crashpoints import reach
from lockstep.storage.faults import CorruptedRecord
from lockstep.storage.schema import LockedCoin, Place, Tables, height_key, page_key
from lockstep.storage.tables import LmdbTransaction


class ChainRows:
    """Gathers the rows of the blocks of one commit and writes each table once, in order of key."""

    def __init__(self) -> None:
        """Begin with nothing to write."""
        self._created: dict[bytes, Coin] = {}
        self._spent: dict[bytes, Coin] = {}
        self._places: list[tuple[bytes, bytes]] = []
        self._pages: list[tuple[bytes, bytes]] = []
        self._ids: list[tuple[bytes, bytes]] = []

    def add_genesis(self, genesis: Genesis) -> None:
        """Take in the coins every chain begins with."""
        chain_id = genesis.chain_id
        for index, output in enumerate(genesis.coins):
            coin = Coin(amount=output.amount, lock=output.lock, height=0)
            self._created[genesis_outpoint(chain_id, index)] = coin

    def add(self, record: BlockDecided) -> None:
        """Take in a decided block; a coin made and spent within one commit is written nowhere."""
        delta = record.delta
        for outpoint, coin in delta.spent:
            if self._created.pop(outpoint, None) is None:
                self._spent[outpoint] = coin
        self._created.update(delta.created)
        header = record.decided.block.header
        places = map(encode, make_places(record.decided.block))
        self._places.extend(zip(delta.txids, places, strict=True))
        self._ids.append((make_block_id(header), height_key(header.height)))
        self._pages.extend(make_pages(header.height, encode(record.decided)))

    def write(self, txn: LmdbTransaction, tables: Tables) -> None:
        """Write all rows.

        Raises:
            CorruptedRecord: If a coin that is made exists, or one that is spent does not.
        """
        spent, created = self._spent.items(), self._created.items()
        tables.coins.remove(txn, [outpoint for outpoint, _ in spent])
        tables.locks.remove(txn, [coin.lock + outpoint for outpoint, coin in spent])
        reach("commit.coins.spent")
        tables.coins.insert(txn, ((outpoint, encode(coin)) for outpoint, coin in created))
        tables.locks.insert(
            txn,
            (
                (coin.lock + outpoint, encode(LockedCoin(amount=coin.amount, height=coin.height)))
                for outpoint, coin in created
            ),
        )
        reach("commit.coins.made")
        tables.transactions.insert(txn, self._places)
        tables.block_index.insert(txn, self._ids)
        reach("commit.index.after")
        tables.blocks.insert(txn, self._pages)
        reach("commit.block.after")


def make_places(block: Block) -> Iterator[Place]:
    """Yield where each transaction stands in an encoded `DecidedBlock` that begins with `block`.

    MessagePack writes an array as its head and then its items, so places follow from lengths: the
    heads of the decided block and of the block take a byte each.
    """
    offset = 2 + len(encode(block.header)) + len(encode(block.previous_commit))
    count = len(block.transactions)
    offset += 1 if count < 16 else 3 if count < 65536 else 5
    for position, transaction in enumerate(block.transactions):
        size_bytes = len(encode(transaction))
        yield Place(block.header.height, position, offset, size_bytes)
        offset += size_bytes


def make_pages(height: int, data: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Yield the rows of an encoded block: two bytes for the number of pages, then the page."""
    view = memoryview(data)
    pages = -(-len(data) // PAGE_BYTES_MAX)
    head = pages.to_bytes(2, "big")
    for page in range(pages):
        start = page * PAGE_BYTES_MAX
        yield page_key(height, page), head + view[start : start + PAGE_BYTES_MAX]


def split_page(row: bytes) -> tuple[bytes, int]:
    """Return a page's data and the number of pages of its block.

    Raises:
        CorruptedRecord: If the row is too short to be a page.
    """
    if len(row) < 3:
        raise CorruptedRecord("a page of a block is empty")
    return row[2:], int.from_bytes(row[:2], "big")
