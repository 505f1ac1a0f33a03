"""Rebuilds what a disk may hold when the power goes at any moment of a trace.

What was synced is there. Of the rest any part may be: writes in any choice, single sectors of them,
lengths that have not grown yet, names in any choice. That is more than any file system does, so
what survives it survives them.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path

from crash.traced import Deed, Named, Renamed, Resized, Said, Synced, Written

SECTOR_BYTES = 512
MODES = ("all", "none", "prefix", "choice", "sectors")


@dataclass
class _File:
    """A file's synced bytes, and what was done to it since; None stands for a directory's."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Written | Resized] = field(default_factory=list)

    def settle(self) -> None:
        for deed in self.pending:
            _apply(self.synced, deed)
        self.pending.clear()


@dataclass
class _Directory:
    """A directory's synced names, and what was done to its names since."""

    synced: dict[str, "_File | _Directory"] = field(default_factory=dict)
    names: dict[str, "_File | _Directory"] = field(default_factory=dict)
    pending: list[tuple[str | None, str, "_File | _Directory"]] = field(default_factory=list)

    def settle(self) -> None:
        self.synced = dict(self.names)
        self.pending.clear()


class Disk:
    """The files below one directory, as a trace goes on.

    Attributes:
        said: The last line that the process had said.
    """

    def __init__(self, root: Path) -> None:
        """Begin with nothing below `root`."""
        self.said: str | None = None
        self._root = str(root)
        self._top = _Directory()

    def take(self, deed: Deed) -> None:
        """Let the process do the next thing."""
        match deed:
            case Said(line):
                self.said = line
            case Named(path, is_directory):
                parent, name = self._parent(path)
                made: _File | _Directory = _Directory() if is_directory else _File()
                parent.names[name] = made
                parent.pending.append((None, name, made))
            case Renamed(path, target):
                parent, name = self._parent(path)
                other, new_name = self._parent(target)
                assert parent is other, "a rename from one directory to another"
                moved = parent.names.pop(name)
                parent.names[new_name] = moved
                parent.pending.append((name, new_name, moved))
            case Synced(path):
                self._find(path).settle()
            case Written() | Resized():
                file = self._find(deed.path)
                assert isinstance(file, _File)
                file.pending.append(deed)

    def settle_write(self, deed: Deed) -> None:
        """Let a write return that waits for the disk itself."""
        if isinstance(deed, Written) and deed.synced:
            file = self._find(deed.path)
            assert isinstance(file, _File)
            file.pending.remove(deed)
            assert not any(_overlap(deed, other) for other in file.pending)
            _apply(file.synced, deed)

    def cut(self, place: Path, dice: random.Random, *, mode: str) -> set[str]:
        """Write into `place` what is left when the power goes now; tell what kinds of loss it had.

        They are "names", and of each file "NAME lost", "NAME torn" and "NAME short".
        """
        kinds: set[str] = set()
        self._write_directory(self._top, place, dice, mode, kinds)
        return kinds

    def _write_directory(
        self,
        directory: _Directory,
        place: Path,
        dice: random.Random,
        mode: str,
        kinds: set[str],
    ) -> None:
        names = dict(directory.synced)
        for old, new, entry in directory.pending:
            if mode == "all" or (mode != "none" and dice.random() < 0.5):
                if old is not None and names.pop(old, None) is None:
                    continue
                names[new] = entry
            else:
                kinds.add("names")
        place.mkdir()
        for name, entry in names.items():
            if isinstance(entry, _Directory):
                self._write_directory(entry, place / name, dice, mode, kinds)
            else:
                data, lost = _cut_file(entry, dice, mode)
                kinds |= {f"{name} {kind}" for kind in lost}
                (place / name).write_bytes(data)
                (place / name).chmod(0o600)

    def _parent(self, path: str) -> tuple[_Directory, str]:
        above, _, name = path.rpartition("/")
        found = self._find(above)
        assert isinstance(found, _Directory)
        return found, name

    def _find(self, path: str) -> _File | _Directory:
        found: _File | _Directory = self._top
        for name in path.removeprefix(self._root).strip("/").split("/"):
            if name:
                assert isinstance(found, _Directory)
                found = found.names[name]
        return found


def _cut_file(file: _File, dice: random.Random, mode: str) -> tuple[bytearray, set[str]]:
    """Return what is left of a file, and the kinds of loss."""
    data, lost = bytearray(file.synced), set[str]()
    kept = dice.randrange(len(file.pending) + 1)
    for number, deed in enumerate(file.pending):
        is_torn = mode == "sectors" or (mode == "prefix" and number == kept)
        if mode == "all" or (mode == "prefix" and number < kept):
            _apply(data, deed)
        elif is_torn and isinstance(deed, Written):
            lost.add("torn")
            _tear(data, deed, dice)
        elif mode == "choice" and dice.random() < 0.5:
            _apply(data, deed)
        else:
            lost.add("lost")
    grown = len(data) - len(file.synced)
    if grown > 0 and mode != "all" and dice.random() < 0.6:
        lost.add("short")
        del data[len(file.synced) + dice.randrange(grown) :]
    return data, lost


def _tear(data: bytearray, deed: Written, dice: random.Random) -> None:
    """Apply some sectors of a write."""
    start, end = deed.offset, deed.offset + len(deed.data)
    while start < end:
        stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if dice.random() < 0.5:
            part = deed.data[start - deed.offset : stop - deed.offset]
            _apply(data, Written(deed.path, start, part, synced=False))
        start = stop


def _apply(data: bytearray, deed: Written | Resized) -> None:
    if isinstance(deed, Resized):
        del data[deed.size :]
        data.extend(bytes(deed.size - len(data)))
        return
    end = deed.offset + len(deed.data)
    data.extend(bytes(max(0, end - len(data))))
    data[deed.offset : end] = deed.data


def _overlap(deed: Written, other: Written | Resized) -> bool:
    if isinstance(other, Resized):
        return True
    return deed.offset < other.offset + len(other.data) and other.offset < deed.offset + len(
        deed.data
    )
