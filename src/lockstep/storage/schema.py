"""Tables, keys and row shapes of the two environments, and their version.

The chain is what this node may never forget; each commit writes it.

| table | key | value |
| --- | --- | --- |
| meta | "schema", "chain" | version; `Binding` of chain and voting key |
| state | "state", "seal" | `ChainState`; `Seal` over journal and batches |
| state | "spent", height | the coins that the block spent, until the sum of coins covers it |
| journal | sequence | a record this node may not forget, in order [2.6] |
| batches | batch id | sequence, then the `BatchHeld` |
| blocks | height, page | one page of an encoded `DecidedBlock` |
| offsets | height | where the block's transactions begin and end in its encoding |
| block_index | block id | height |

The index is what follows from genesis and the blocks; it is written in bulk, behind the chain [T8].

| table | key | value |
| --- | --- | --- |
| mark | "mark" | `Mark`: up to which block the index is right |
| coins | outpoint | `Coin` |
| locks | lock, outpoint | nothing: the coins of an address |
| transactions | txid | height, position in the block |

Numbers in keys are big-endian, so that their order is LMDB's. A change of a shape is a new version
of the schema.
"""

from functools import partial
from typing import Final, NamedTuple

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
"""Of which 2 keeps evidence [N4], 3 the sum of coins [S1] and the index beside the chain [T8]."""
SCHEMA_KEY: Final = b"schema"
CHAIN_KEY: Final = b"chain"
STATE_KEY: Final = b"state"
SEAL_KEY: Final = b"seal"
MARK_KEY: Final = b"mark"
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


class Place(NamedTuple):
    """Where a transaction stands in the chain."""

    height: int
    position: int


class Mark(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The block up to which the index is right, and what it holds there."""

    height: Counter
    block_id: Hash
    coin_count: Counter
    coin_sum: Amount
    transaction_count: Counter


JournalRow = (
    OwnVote | OwnConfirm | QuorumConfirmed | RoundSigned | OwnFreeze | AmnesiaNoted | EvidenceHeld
)


class Tables:
    """The seven tables of the chain."""

    def __init__(self, env: lmdb.Environment, txn: LmdbTransaction | None = None) -> None:
        """Make every table inside `txn`; without one they must exist, so that a lost one shows."""
        bind = partial(_bind, env, txn)
        self.meta = bind("meta")
        self.state = bind("state")
        self.journal = bind("journal")
        self.batches = bind("batches")
        self.blocks = bind("blocks")
        self.offsets = bind("offsets")
        self.block_index = bind("block_index")


class IndexTables:
    """The four tables of the index."""

    def __init__(self, env: lmdb.Environment, txn: LmdbTransaction | None = None) -> None:
        """Make every table inside `txn`; without one they must exist."""
        bind = partial(_bind, env, txn)
        self.mark = bind("mark")
        self.coins = bind("coins")
        self.locks = bind("locks")
        self.transactions = bind("transactions")


def _bind(env: lmdb.Environment, txn: LmdbTransaction | None, name: str) -> Table:
    handle = env.open_db(name.encode("ascii"), txn=txn, create=txn is not None)
    return Table(name, handle)


def height_key(height: int) -> bytes:
    """Return the eight bytes under which rows of a height stand."""
    return height.to_bytes(8, "big")


def page_key(height: int, page: int) -> bytes:
    """Return the ten bytes under which a page of a block stands."""
    return height.to_bytes(8, "big") + page.to_bytes(2, "big")
