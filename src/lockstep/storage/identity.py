"""Whose database it is: the version that wrote it, its chain, its voting key [D3, D4]."""

from lockstep.primitives.codec import decode
from lockstep.primitives.genesis import Genesis
from lockstep.storage.faults import CorruptedRecord, NewerSchema, OlderSchema, WrongChain
from lockstep.storage.schema import (
    CHAIN_KEY,
    ROW_BYTES_MAX,
    SCHEMA_KEY,
    SCHEMA_VERSION,
    Binding,
    Tables,
)
from lockstep.storage.tables import LmdbTransaction


def check_identity(txn: LmdbTransaction, tables: Tables, genesis: Genesis) -> None:
    """Refuse a database of another version or of another chain.

    Raises:
        NewerSchema, OlderSchema: If another version wrote it.
        WrongChain: If the chain is not the one `genesis` begins.
        CorruptedRecord: If a record that says so is damaged or missing.
    """
    version = decode(int, _read(txn, tables, SCHEMA_KEY), size_max=ROW_BYTES_MAX)
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"the database has schema {version}, this version knows up to {SCHEMA_VERSION}"
        )
    if version < SCHEMA_VERSION:
        raise OlderSchema(
            f"the database has schema {version}, this version reads only {SCHEMA_VERSION}"
        )
    chain_id = read_binding(txn, tables).chain_id
    if chain_id != genesis.chain_id:
        raise WrongChain(
            f"this directory holds the chain {chain_id.hex()}, "
            f"the genesis begins {genesis.chain_id.hex()}"
        )


def read_binding(txn: LmdbTransaction, tables: Tables) -> Binding:
    """Return to which chain and voting key the journal belongs.

    Raises:
        CorruptedRecord: If the record is damaged or missing.
    """
    return decode(Binding, _read(txn, tables, CHAIN_KEY), size_max=ROW_BYTES_MAX)


def _read(txn: LmdbTransaction, tables: Tables, key: bytes) -> bytes:
    value = tables.meta.get(txn, key)
    if value is None:
        raise CorruptedRecord(f"the record {key.decode()} of table meta is missing")
    return value
