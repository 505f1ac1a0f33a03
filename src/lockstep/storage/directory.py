"""The data directory: its lock, the environment in it, and the witness beside the database [D4].

LMDB chooses between two root pages by the number in them. The witness repeats the number of the
last commit outside the database, so that a damaged root does not make yesterday's database look
whole. It is written after the commit without a sync of its own: a power cut may leave it behind the
database, never ahead.
"""

import fcntl
import os
import resource
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import lmdb

from lockstep.storage.crashpoints import reach
from lockstep.storage.faults import (
    CorruptedRecord,
    DirectoryLocked,
    DiskFull,
    StorageFailed,
    typed_faults,
)
from lockstep.storage.tables import CHECKSUM_BYTES, Table

CHAIN_DIRECTORY: Final = "chain"
LOCK_FILE: Final = ".lock"
WITNESS_FILE: Final = "commits"
DATA_FILE: Final = "data.mdb"
RESERVE_BYTES_MAX: Final = 256 << 20
RESERVE_SHARE: Final = 20
SLACK_BYTES: Final = 1 << 20
"""With less than this, a write that failed half-way failed for want of room."""
MAP_BYTES: Final = 1 << 40
TABLES_MAX: Final = 16
"""Tables that the environment has room for."""
READERS_MAX: Final = 126
"""Snapshots open at once."""
SPARE_SNAPSHOTS: Final = 4

_WITNESS: Final = Table("witness", None)
_WITNESS_KEY: Final = b"commits"


def open_environment(path: Path, *, readonly: bool = False) -> lmdb.Environment:
    """Open the LMDB environment in `path`, synced, never in a second place of this process.

    The map is 1 TiB from the start, because growing it under open readers crashes the process.
    """
    return lmdb.open(
        str(path),
        map_size=MAP_BYTES,
        max_dbs=TABLES_MAX,
        max_readers=READERS_MAX,
        readonly=readonly,
        create=not readonly,
        mode=0o600,
        sync=True,
        metasync=True,
        writemap=False,
        map_async=False,
        readahead=False,
        max_spare_txns=SPARE_SNAPSHOTS,
    )


def describe_shortage(path: Path) -> str | None:
    """Return in one sentence that the disk under `path` is nearly full; None while it is not.

    A twentieth of the disk, at most 256 MiB, is left free, so that what was decided already can
    still be written, and a node that waits has nothing in memory that is not on the disk.
    """
    disk = os.statvfs(path)
    free_bytes = disk.f_bavail * disk.f_frsize
    wanted_bytes = min(RESERVE_BYTES_MAX, disk.f_blocks * disk.f_frsize // RESERVE_SHARE)
    if free_bytes >= wanted_bytes:
        return None
    return f"the disk has {free_bytes >> 10} KiB left, {wanted_bytes >> 10} KiB are kept free"


def is_want_of_room(fault: BaseException, path: Path) -> bool:
    """Tell whether a write below `path` failed because there was no room for it.

    LMDB calls a write that was cut short an input/output error, whatever cut it: then the disk, and
    the size this process may give a file, are looked at.

    Raises:
        StorageFailed: If the system refuses to say.
    """
    if not isinstance(fault, StorageFailed):
        return isinstance(fault, DiskFull)
    with typed_faults("looking for room"):
        return _is_exhausted(path)


def _is_exhausted(path: Path) -> bool:
    disk = os.statvfs(path)
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    size_bytes = (path / DATA_FILE).stat().st_size
    is_limited = limit_bytes != resource.RLIM_INFINITY and size_bytes + SLACK_BYTES > limit_bytes
    return is_limited or disk.f_bavail * disk.f_frsize < SLACK_BYTES


class DirectoryLock:
    """The right to write to a data directory, held by one process at a time [D4]."""

    def __init__(self, directory: Path) -> None:
        """Take the lock at once or not at all.

        Raises:
            DirectoryLocked: If another process holds it; the sentence names its pid.
            StorageFailed: If the lock file cannot be made.
        """
        path = directory / LOCK_FILE
        with typed_faults("taking the lock file"):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise DirectoryLocked(
                f"the process {holder or 'of unknown pid'} is using the data directory {directory}"
            ) from fault
        os.ftruncate(self._descriptor, 0)
        reach("lock.pid.before")
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give the lock back; the file stays, because removing it would race."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Witness:
    """The number of the last commit and whether a process is at work, outside the database.

    Attributes:
        commit_number: The last commit that was seen to end.
        is_clean: The last process that wrote has closed the database.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open the witness in the chain directory `path`.

        Raises:
            CorruptedRecord: If it is missing or damaged.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL if create else os.O_RDWR
        try:
            self._descriptor = os.open(path / WITNESS_FILE, flags, 0o600)
        except FileNotFoundError as fault:
            raise CorruptedRecord("the witness of the last commit is missing") from fault
        if create:
            self.write(0, is_clean=True)
        row = os.pread(self._descriptor, 9 + CHECKSUM_BYTES + 1, 0)
        try:
            value = _WITNESS.unseal(_WITNESS_KEY, row)
        except CorruptedRecord:
            self.close()
            raise
        self.commit_number = int.from_bytes(value[:8], "big")
        self.is_clean = value[8:] == b"\1"

    def write(self, commit_number: int, *, is_clean: bool) -> None:
        """Note that this commit has ended."""
        self.commit_number, self.is_clean = commit_number, is_clean
        value = commit_number.to_bytes(8, "big") + bytes([is_clean])
        os.pwrite(self._descriptor, _WITNESS.seal(_WITNESS_KEY, value), 0)

    def sync(self) -> None:
        """Bring the file to the disk; needed once, when it is made."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
