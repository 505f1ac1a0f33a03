"""Tables whose every row carries a checksum keyed with its table and key [D4].

LMDB trusts its pages, so a flipped bit can change a value, hide a row behind a changed key, or lead
a search astray. A value is therefore checked when it is read, and where a row is said to be absent
its two neighbours are: they must be good rows, and stand on either side of the key.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import lmdb

from lockstep.storage.faults import CorruptedRecord

CHECKSUM_BYTES: Final = 8

# LMDB's class is generic in its stub alone.
if TYPE_CHECKING:
    LmdbTransaction: TypeAlias = lmdb.Transaction[bytes]
else:
    LmdbTransaction = lmdb.Transaction


class Table:
    """One named table of the environment; owns the checksums of its rows and nothing else."""

    __slots__ = ("_blank", "_handle", "name")

    def __init__(self, name: str, handle: Any) -> None:
        """Bind the name to LMDB's handle for it."""
        self.name = name
        self._handle = handle
        self._blank = blake2b(digest_size=CHECKSUM_BYTES, person=name.encode("ascii"))

    def checksum(self, key: bytes, value: bytes | memoryview) -> bytes:
        """Return the 8 bytes that bind this value to this key of this table."""
        digest = self._blank.copy()
        digest.update(key)
        digest.update(value)
        return digest.digest()

    def seal_rows(self, rows: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return (key, row) for many short values.

        Key and value are hashed in one go: that costs a copy of both, and half the time.
        """
        copy = self._blank.copy
        sealed = []
        for key, value in rows:
            digest = copy()
            digest.update(key + value)
            sealed.append((key, value + digest.digest()))
        return sealed

    def seal(self, key: bytes, value: bytes) -> bytes:
        """Return the row for a value: the value, then its checksum."""
        return value + self.checksum(key, value)

    def unseal(self, key: bytes, row: bytes) -> bytes:
        """Return the value of a row.

        Raises:
            CorruptedRecord: If the checksum is not the one of this table, key and value.
        """
        value = row[:-CHECKSUM_BYTES]
        if self.checksum(key, value) != row[-CHECKSUM_BYTES:]:
            raise self._damaged(key)
        return value

    def get(self, txn: LmdbTransaction, key: bytes) -> bytes | None:
        """Return the value under `key`, or None if there is no such row.

        Raises:
            CorruptedRecord: If the row, or a neighbour of the missing row, is damaged.
        """
        row = txn.get(key, None, self._handle)
        if row is None:
            self._check_absent(txn, key)
            return None
        return self.unseal(key, row)

    def get_many(self, txn: LmdbTransaction, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the short value under each key, None where there is no such row.

        The checksum of a row is computed here and not by a call, which takes a tenth off a read.

        Raises:
            CorruptedRecord: If a row, or a neighbour of a missing row, is damaged.
        """
        get, handle, copy = txn.get, self._handle, self._blank.copy
        values: list[bytes | None] = []
        for key in keys:
            row = get(key, None, handle)
            if row is None:
                self._check_absent(txn, key)
                values.append(None)
                continue
            value = row[:-CHECKSUM_BYTES]
            digest = copy()
            digest.update(key + value)
            if digest.digest() != row[-CHECKSUM_BYTES:]:
                raise self._damaged(key)
            values.append(value)
        return values

    def put(self, txn: LmdbTransaction, key: bytes, value: bytes) -> bytes:
        """Write a row over what was there and return its checksum."""
        row = self.seal(key, value)
        txn.put(key, row, db=self._handle)
        return row[-CHECKSUM_BYTES:]

    def insert(self, txn: LmdbTransaction, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write new rows; many should come in order of key, for locality.

        Raises:
            CorruptedRecord: If one of them was there before.
        """
        sealed = self.seal_rows(rows)
        with txn.cursor(db=self._handle) as cursor:
            consumed, added = cursor.putmulti(sealed, overwrite=False)
        if consumed != added:
            raise CorruptedRecord(f"table {self.name} holds a record that is only being made now")

    def remove(self, txn: LmdbTransaction, keys: Iterable[bytes]) -> None:
        """Delete rows; many should come in order of key, for locality.

        Raises:
            CorruptedRecord: If one of them is not there.
        """
        with txn.cursor(db=self._handle) as cursor:
            # One that stays among its rows finds the next without a search from the root.
            seek, delete = cursor.set_key, cursor.delete
            for key in keys:
                if not seek(key):
                    raise CorruptedRecord(f"the record {key.hex()} of table {self.name} is missing")
                delete()

    def scan(self, txn: LmdbTransaction, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in order from `start` on, each checked.

        Raises:
            CorruptedRecord: If a row is damaged or stands out of order.
        """
        with txn.cursor(db=self._handle) as cursor:
            found = cursor.set_range(start)
            if not found or cursor.key() != start:
                self._check_absent(txn, start)
            if not found:
                return
            last = b""
            for key, row in cursor.iternext():
                if key <= last and last:
                    raise CorruptedRecord(f"table {self.name} is out of order at {key.hex()}")
                yield key, self.unseal(key, row)
                last = key

    def insert_keys(self, txn: LmdbTransaction, keys: Sequence[bytes]) -> None:
        """Write new rows, in order of key, that have neither value nor checksum.

        Whoever reads them holds them against rows that have one.

        Raises:
            CorruptedRecord: If one of them was there before.
        """
        with txn.cursor(db=self._handle) as cursor:
            consumed, added = cursor.putmulti(zip(keys, repeat(b"")), overwrite=False)
        if consumed != added:
            raise CorruptedRecord(f"table {self.name} holds a record that is only being made now")

    def keys_around(self, txn: LmdbTransaction, start: bytes) -> Iterator[bytes]:
        """Yield the last key before `start`, where there is one, then those from `start` on.

        Raises:
            CorruptedRecord: If a key stands out of order.
        """
        with txn.cursor(db=self._handle) as cursor:
            last = b""
            if cursor.prev() if cursor.set_range(start) else cursor.last():
                last = cursor.key()
                yield last
            if cursor.set_range(start):
                for key in cursor.iternext(keys=True, values=False):
                    if key <= last:
                        raise CorruptedRecord(f"table {self.name} is out of order at {key.hex()}")
                    yield key
                    last = key

    def count(self, txn: LmdbTransaction) -> int:
        """Return the number of rows as LMDB keeps it."""
        return int(txn.stat(db=self._handle)["entries"])

    def walk(self, txn: LmdbTransaction) -> int:
        """Return the number of rows as a walk over all of them finds it."""
        with txn.cursor(db=self._handle) as cursor:
            return sum(1 for _ in cursor.iternext(keys=True, values=False))

    def _damaged(self, key: bytes) -> CorruptedRecord:
        return CorruptedRecord(f"the record {key.hex()} of table {self.name} is damaged")

    def _check_absent(self, txn: LmdbTransaction, key: bytes) -> None:
        with txn.cursor(db=self._handle) as cursor:
            if cursor.set_range(key):
                if cursor.key() <= key:
                    raise CorruptedRecord(f"table {self.name} is out of order at {key.hex()}")
                self.unseal(cursor.key(), cursor.value())
                has_lower = cursor.prev()
            else:
                has_lower = cursor.last()
            if has_lower:
                if cursor.key() >= key:
                    raise CorruptedRecord(f"table {self.name} is out of order at {key.hex()}")
                self.unseal(cursor.key(), cursor.value())
