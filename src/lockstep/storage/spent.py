"""The coins that recent blocks spent, kept until the state's sum of coins covers them [S1, D2].

A restart gathers again what blocks changed since then. What they made is in them; amount and lock
of what they spent are not, and the coins themselves are gone from their table.
"""

from typing import Final

from lockstep.ledger.coins import Coin
from lockstep.primitives.codec import decode, encode
from lockstep.replica.effects import BlockDecided
from lockstep.storage.faults import CorruptedRecord
from lockstep.storage.schema import ROW_BYTES_MAX, Tables, height_key
from lockstep.storage.tables import LmdbTransaction

SPENT_PREFIX: Final = b"spent"
SpentCoins = tuple[tuple[bytes, Coin], ...]


def keep_spent(txn: LmdbTransaction, tables: Tables, record: BlockDecided) -> None:
    """Write what a block spent, and drop what the sum of coins in its state covers."""
    key = SPENT_PREFIX + height_key(record.delta.height)
    tables.state.put(txn, key, encode(record.delta.spent))
    if record.closes_epoch:
        end = SPENT_PREFIX + height_key(record.state.summed_height + 1)
        covered = []
        for key, _ in tables.state.scan(txn, SPENT_PREFIX):
            if key >= end:
                break
            covered.append(key)
        tables.state.remove(txn, covered)


def load_spent(txn: LmdbTransaction, tables: Tables, height: int) -> SpentCoins:
    """Return the coins that the block of a height spent, net.

    Raises:
        CorruptedRecord: If the row is damaged or missing [D4].
    """
    value = tables.state.get(txn, SPENT_PREFIX + height_key(height))
    if value is None:
        raise CorruptedRecord(f"what the block of height {height} spent is missing")
    return decode(SpentCoins, value, size_max=ROW_BYTES_MAX)
