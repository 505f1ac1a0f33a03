"""How a decided block is written: encoded once, in pages; what it changed becomes a layer [T8]."""

import sys
from array import array
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from lockstep.ledger.blocks import AssembledBlock
from lockstep.primitives.batch import join_pairs
from lockstep.primitives.block import CommitCertificate, make_block_id
from lockstep.primitives.codec import decode, encode_into
from lockstep.primitives.messages import DECIDED_BYTES_MAX, DecidedBlock
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.primitives.transaction import Transaction
from lockstep.replica.effects import BlockDecided
from lockstep.storage.crashpoints import reach
from lockstep.storage.faults import CorruptedRecord
from lockstep.storage.layers import Layer
from lockstep.storage.schema import ROW_BYTES_MAX, Place, Tables, height_key, page_key
from lockstep.storage.tables import LmdbTransaction

_DECIDED_HEAD: Final = b"\x92"
_BLOCK_HEAD: Final = b"\x95"
_OFFSET: Final = "I"
_OFFSET_BYTES: Final = 4


class ChainRows:
    """Gathers the rows of the blocks of one commit, and the layers that the index follows by."""

    def __init__(self) -> None:
        """Begin with nothing to write."""
        self.layers: list[Layer] = []
        self._pages: list[tuple[bytes, bytes]] = []
        self._offsets: list[tuple[bytes, bytes]] = []
        self._ids: list[tuple[bytes, bytes]] = []

    def add(self, record: BlockDecided) -> None:
        """Take in a decided block."""
        header = record.block.header
        block_id = make_block_id(header)
        data, offsets = encode_decided(record.block, record.certificate)
        self._ids.append((block_id, height_key(header.height)))
        self._offsets.append((height_key(header.height), offsets.tobytes()))
        self._pages.extend(make_pages(header.height, data))
        self.layers.append(
            Layer(
                record.delta,
                block_id=block_id,
                coin_count=record.state.coin_count,
                coin_sum=record.state.coin_sum,
            )
        )

    def write(self, txn: LmdbTransaction, tables: Tables) -> None:
        """Write all rows.

        Raises:
            CorruptedRecord: If one of the blocks is there already.
        """
        tables.block_index.insert(txn, self._ids)
        reach("commit.index.after")
        tables.offsets.insert(txn, self._offsets)
        tables.blocks.insert(txn, self._pages)
        reach("commit.block.after")


def encode_decided(
    block: AssembledBlock, certificate: CommitCertificate
) -> tuple[bytearray, "array[int]"]:
    """Return the canonical bytes of a decided block, and where its transactions stand in them.

    That is the offset at which the first begins, then the one behind each, as they are stored. The
    parts stand one behind the other, which MessagePack allows: an array is its head, and then its
    items. Transactions are not encoded again.
    """
    data = bytearray(_DECIDED_HEAD + _BLOCK_HEAD)
    encode_into(block.header, data, -1)
    encode_into(block.previous_commit, data, -1)
    data += _array_head(len(block.transactions))
    offsets = array(
        _OFFSET, accumulate([each.size_bytes for each in block.transactions], initial=len(data))
    )
    data += join_pairs(
        [each.body for each in block.transactions], [each.witnesses for each in block.transactions]
    )
    for part in (block.justification, block.evidence, certificate):
        encode_into(part, data, -1)
    if sys.byteorder == "little":
        offsets.byteswap()
    return data, offsets


def _array_head(count: int) -> bytes:
    if count < 16:
        return bytes([0x90 | count])
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def make_pages(height: int, data: bytearray) -> Iterable[tuple[bytes, bytes]]:
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


def load_page(
    txn: LmdbTransaction, tables: Tables, height: int, page: int
) -> tuple[bytes, int] | None:
    """Return one page of an encoded block of the chain and the number of its pages, or None.

    Raises:
        CorruptedRecord: If the page is damaged, or missing where a block must be [D4].
    """
    row = tables.blocks.get(txn, page_key(height, page))
    if row is not None:
        return split_page(row)
    if page == 0:
        raise CorruptedRecord(f"the block of height {height} is missing")
    return None


def load_pages(
    txn: LmdbTransaction, tables: Tables, height: int, first: int, last: int | None
) -> bytes:
    """Return pages of an encoded block of the chain, joined; to the end of the block without last.

    Raises:
        CorruptedRecord: If a page is damaged or missing [D4].
    """
    pages: list[bytes] = []
    number = first
    while last is None or number <= last:
        found = load_page(txn, tables, height, number)
        if found is None:
            raise CorruptedRecord(f"page {number} of the block of height {height} is missing")
        data, count = found
        last = count - 1 if last is None else last
        pages.append(data)
        number += 1
    return b"".join(pages)


def load_decided(txn: LmdbTransaction, tables: Tables, height: int) -> DecidedBlock:
    """Return the block of a height that the chain has.

    Raises:
        CorruptedRecord: If a page is damaged or missing [D4].
        Malformed, Oversize: If what the pages hold is no block.
    """
    data = load_pages(txn, tables, height, 0, None)
    return decode(DecidedBlock, data, size_max=DECIDED_BYTES_MAX)


def load_transaction(txn: LmdbTransaction, tables: Tables, place: Place) -> Transaction:
    """Return the transaction at a place of the chain; of a large block only its pages are read.

    Raises:
        CorruptedRecord: If a page or the offsets are damaged or missing [D4].
        Malformed, Oversize: If what stands there is no transaction.
    """
    offsets = tables.offsets.get(txn, height_key(place.height))
    at = place.position * _OFFSET_BYTES
    found = b"" if offsets is None else offsets[at : at + 2 * _OFFSET_BYTES]
    if len(found) != 2 * _OFFSET_BYTES:
        raise CorruptedRecord(f"block {place.height} has no transaction {place.position}")
    start, end = (
        int.from_bytes(found[:_OFFSET_BYTES], "big"),
        int.from_bytes(found[_OFFSET_BYTES:], "big"),
    )
    first, offset = divmod(start, PAGE_BYTES_MAX)
    data = load_pages(txn, tables, place.height, first, (end - 1) // PAGE_BYTES_MAX)
    return decode(Transaction, data[offset : offset + end - start], size_max=ROW_BYTES_MAX)
