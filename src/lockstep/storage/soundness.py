"""Whether a database is whole, asked once before anything in it is believed [D4].

Checksums guard what is read. A page that has lost rows, or points outside the file, says nothing to
the one who reads its other rows; so the rows are counted at every start, and after an unclean end,
which may have been LMDB's own code falling over a damaged page, every page is examined first.
"""

from pathlib import Path

from lmdb import verify

from lockstep.ledger.state import ChainState
from lockstep.storage.faults import CorruptedRecord
from lockstep.storage.schema import Tables
from lockstep.storage.tables import LmdbTransaction


def check_pages(path: Path) -> None:
    """Walk all pages of the closed environment in `path`; 3 seconds a million rows.

    Raises:
        CorruptedRecord: If a page is not as LMDB writes it.
    """
    try:
        faults = verify.verify(str(path))  # type: ignore[no-untyped-call]  # It carries no types.
    except verify.VerifyError as fault:
        faults = [str(fault)]
    if faults:
        raise CorruptedRecord(f"the pages of the database are damaged: {faults[0]}")


def check_counts(txn: LmdbTransaction, tables: Tables, state: ChainState) -> None:
    """Count the rows of the chain's blocks; those of the index are counted against its mark.

    Raises:
        CorruptedRecord: If a table has lost a row, or has one too many.
    """
    if tables.blocks.walk(txn) != tables.blocks.count(txn):
        raise CorruptedRecord("table blocks has lost records")
    for table in (tables.block_index, tables.offsets):
        if table.walk(txn) != state.height:
            raise CorruptedRecord(
                f"table {table.name} has {table.count(txn)} records "
                f"where the state of the chain counts {state.height}"
            )
