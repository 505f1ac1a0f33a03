"""Tables, keys and row shapes of the database, and its version.

| table | key | value |
| --- | --- | --- |
| meta | "schema", "chain" | version; `Binding` of chain and voting key |
| state | "state", "seal" | `ChainState`; `Seal` over journal and batches |
| state | "spent", height | the coins that the block spent, until the sum of coins covers it |
| journal | sequence | a record this node may not forget, in order [2.6] |
| batches | batch id | sequence, then the `BatchHeld` |
| blocks | height, page | one page of an encoded `DecidedBlock` |
| block_index | block id | height |
| coins | outpoint | `Coin` |
| transactions | txid | `Place` in the chain |
| locks | lock, outpoint | amount, height: the coins of an address |

Numbers in keys are big-endian, so that their order is LMDB's. A change of a shape is a new version
of the schema.
"""

from typing import Final

import lmdb
from msgspec import Struct

from lockstep.primitives.ids import Amount, Counter, Hash, Key
from lockstep.replica.effects import (
    AmnesiaNoted,
    EvidenceHeld,
    OwnConfirm,
    OwnFreeze,
    OwnVote,
    QuorumConfirmed,
    RoundSigned,
)
from lockstep.storage.tables import LmdbTransaction, Table

SCHEMA_VERSION: Final = 3
"""Of which 2 keeps evidence, in the journal and the state [N4], 3 the sum of coins [S1]."""
SCHEMA_KEY: Final = b"schema"
CHAIN_KEY: Final = b"chain"
STATE_KEY: Final = b"state"
SEAL_KEY: Final = b"seal"
LOCK_BYTES: Final = 32
ROW_BYTES_MAX: Final = 2**31
"""No row is longer: what stands in a row was bounded when it was accepted."""


class Binding(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """To which chain and voting key a journal belongs [D3].

    `is_intact` is false while the key may have signed what the journal does not hold.
    """

    chain_id: Hash
    voting_key: Key | None
    is_intact: bool


class Seal(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the last commit left behind, so that a lost row or an older database is noticed [D4].

    `digest` is the exclusive or of the checksums of all rows of journal and batches.
    """

    commit_number: Counter
    next_sequence: Counter
    journal_count: Counter
    batch_count: Counter
    digest: bytes


class Place(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Where a transaction stands in the chain, and which bytes of its encoded block it is."""

    height: Counter
    position: Counter
    offset: Counter
    size_bytes: Counter


class LockedCoin(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A coin as the index of locks keeps it; the lock stands in the key."""

    amount: Amount
    height: Counter


JournalRow = (
    OwnVote | OwnConfirm | QuorumConfirmed | RoundSigned | OwnFreeze | AmnesiaNoted | EvidenceHeld
)


class Tables:
    """The nine tables of an open environment."""

    def __init__(self, env: lmdb.Environment, txn: LmdbTransaction | None = None) -> None:
        """Make every table inside `txn`; without one they must exist, so that a lost one shows."""

        def bind(name: str) -> Table:
            handle = env.open_db(name.encode("ascii"), txn=txn, create=txn is not None)
            return Table(name, handle)

        self.meta = bind("meta")
        self.state = bind("state")
        self.journal = bind("journal")
        self.batches = bind("batches")
        self.blocks = bind("blocks")
        self.block_index = bind("block_index")
        self.coins = bind("coins")
        self.transactions = bind("transactions")
        self.locks = bind("locks")


def height_key(height: int) -> bytes:
    """Return the eight bytes under which rows of a height stand."""
    return height.to_bytes(8, "big")


def page_key(height: int, page: int) -> bytes:
    """Return the ten bytes under which a page of a block stands."""
    return height.to_bytes(8, "big") + page.to_bytes(2, "big")
