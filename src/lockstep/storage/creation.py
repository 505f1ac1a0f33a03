"""Making the chain of a fresh data directory: journal, key binding, coins of genesis [D3]."""

import shutil
from pathlib import Path
from typing import Final

from lockstep.ledger.state import initial_state
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis
from lockstep.storage.crashpoints import reach
from lockstep.storage.directory import (
    CHAIN_DIRECTORY,
    Witness,
    open_environment,
    sync_directory,
)
from lockstep.storage.faults import typed_faults
from lockstep.storage.index import make_index
from lockstep.storage.journal import Journal
from lockstep.storage.schema import (
    CHAIN_KEY,
    SCHEMA_KEY,
    SCHEMA_VERSION,
    STATE_KEY,
    Binding,
    Tables,
)

UNFINISHED_DIRECTORY: Final = "chain.new"


def make_chain(
    directory: Path, genesis: Genesis, *, voting_key: bytes | None, is_intact: bool
) -> None:
    """Make the chain aside and rename it into place, so that one that exists is whole.

    The caller holds the directory's lock.

    Raises:
        DiskFull: If there is no room for it.
        StorageFailed: If the system refuses.
    """
    binding = Binding(chain_id=genesis.chain_id, voting_key=voting_key, is_intact=is_intact)
    path = directory / UNFINISHED_DIRECTORY
    with typed_faults("making the database"):
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(mode=0o700)
        reach("create.directory.after")
        make_index(path, genesis)
        reach("create.index.after")
        commit_number = _write_genesis(path, genesis, binding)
        reach("create.database.after")
        witness = Witness(path, create=True)
        witness.write(commit_number, is_clean=True)
        witness.sync()
        witness.close()
        sync_directory(path)
        reach("create.rename.before")
        path.rename(directory / CHAIN_DIRECTORY)
        reach("create.rename.after")
        sync_directory(directory)


def _write_genesis(path: Path, genesis: Genesis, binding: Binding) -> int:
    with open_environment(path) as env, env.begin(write=True) as txn:
        tables = Tables(env, txn)
        tables.meta.put(txn, SCHEMA_KEY, encode(SCHEMA_VERSION))
        tables.meta.put(txn, CHAIN_KEY, encode(binding))
        tables.state.put(txn, STATE_KEY, encode(initial_state(genesis)))
        number = Journal(tables).seal(txn)
        reach("create.sync.before")
    return number
