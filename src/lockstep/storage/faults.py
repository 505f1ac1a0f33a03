"""What can be wrong with a data directory, each with its code and one clear sentence.

All of them are Fatal: once a record could not be made durable the core's memory is ahead of the
disk, and once a record cannot be trusted nothing built on it can. Only stopping is honest.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import lmdb

from lockstep.errors import Fatal
from lockstep.primitives.codec import Malformed, Oversize

_REBUILD: Final = (
    "stop the node, move its chain directory away and start again: it fetches the chain from its "
    "peers, signs nothing for up to two epochs, and then votes again"
)


class CorruptedRecord(Fatal):
    """What the disk holds is not what was written; it is never served [D4]."""

    code = "storage.corrupted"
    hint = _REBUILD


class DirectoryLocked(Fatal):
    """Another process writes to the data directory [D4]."""

    code = "storage.locked"
    hint = "stop the other process first"


class WrongChain(Fatal):
    """The data directory holds another chain than the genesis names."""

    code = "storage.wrong_chain"
    hint = "use the genesis file this directory was made with, or another directory"


class NewerSchema(Fatal):
    """A newer version of this program wrote the database."""

    code = "storage.newer_schema"
    hint = "start the newer version again"


class OlderSchema(Fatal):
    """An older version of this program wrote the database, in a form this one does not read."""

    code = "storage.older_schema"
    hint = _REBUILD


class ForeignKey(Fatal):
    """The journal belongs to another voting key [D3]."""

    code = "storage.foreign_key"
    hint = "a voting key signs only with the journal that was made together with it"


class AlreadyCreated(Fatal):
    """The data directory holds a chain already."""

    code = "storage.exists"
    hint = "choose an empty directory"


class MissingChain(Fatal):
    """There is no chain in the data directory to look at."""

    code = "storage.missing"
    hint = "name the data directory of a node that has run"


class DiskFull(Fatal):
    """The disk has no room for the next record; what was committed before is intact."""

    code = "storage.full"
    hint = "make room on the disk; a node that still runs goes on by itself, else start it again"


class StorageFailed(Fatal):
    """The operating system refused to read or write the database."""

    code = "storage.failed"
    hint = "look at the disk and at the permissions of the data directory"


_DAMAGED: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.NotFoundError,
    lmdb.IncompatibleError,
    lmdb.PageFullError,
    lmdb.CursorFullError,
    lmdb.BadValsizeError,
    lmdb.MapResizedError,  # No database outgrows our map.
    lmdb.BadTxnError,  # A transaction goes bad when it meets a page that cannot be right.
)


@contextmanager
def typed_faults(doing: str) -> Iterator[None]:
    """Turn LMDB's and the system's errors into ours; `doing` completes "while ...".

    Raises:
        CorruptedRecord: If LMDB met a page that cannot be right.
        DiskFull: If there is no room left.
        StorageFailed: For anything else the system refused.
    """
    try:
        yield
    except (Malformed, Oversize) as fault:
        # It was refused while it was read from our own disk: no sender is at fault.
        raise CorruptedRecord(
            f"a record is not what it should be while {doing}: {fault}"
        ) from fault
    except _DAMAGED as fault:
        raise CorruptedRecord(f"the database is damaged, seen while {doing}: {fault}") from fault
    except lmdb.MapFullError as fault:
        raise DiskFull(f"the database has reached its largest size while {doing}") from fault
    except (lmdb.Error, OSError) as fault:
        if _is_full(fault):
            raise DiskFull(f"the disk is full, met while {doing}") from fault
        if _FOREIGN_FORMAT in str(fault):
            raise CorruptedRecord(
                f"the database is damaged, seen while {doing}: {fault}"
            ) from fault
        raise StorageFailed(f"the database failed while {doing}: {fault}") from fault


_FOREIGN_FORMAT: Final = "data format v"
"""How LMDB's binding refuses a first page with another number of the format; it has no class."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SENTENCES: Final = tuple(map(os.strerror, _FULL))
# LMDB tells the number of the system's error in words alone.


def _is_full(fault: Exception) -> bool:
    number = fault.errno if isinstance(fault, OSError) else getattr(fault, "code", None)
    words = str(fault)
    return number in _FULL or any(sentence in words for sentence in _FULL_SENTENCES)
