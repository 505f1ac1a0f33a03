"""What a process did to the files below a directory, as strace saw it.

Everything that changes a file or a name is understood or refused: a call that this module does not
know would be a hole in the proof.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from crash.bench import program_environment

CALLS = (
    "open,openat,openat2,creat,close,lseek,dup,dup2,dup3,write,writev,pwrite64,pwritev,pwritev2,"
    "fsync,fdatasync,msync,sync,syncfs,sync_file_range,truncate,ftruncate,fallocate,mmap,mkdir,"
    "mkdirat,rmdir,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,sendfile,"
    "copy_file_range,splice"
)
STRING_BYTES_MAX = 1 << 26
_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_OPENED = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>")


class NotUnderstood(Exception):
    """The trace holds what the rebuilding of images would not respect."""


@dataclass(frozen=True)
class Written:
    """Bytes at a place of a file; `synced` where the call waits for the disk."""

    path: str
    offset: int
    data: bytes
    synced: bool


@dataclass(frozen=True)
class Resized:
    """A file got a length."""

    path: str
    size: int


@dataclass(frozen=True)
class Synced:
    """All of a file, or the names in a directory, were brought to the disk."""

    path: str


@dataclass(frozen=True)
class Named:
    """A name came into being, of a file or of a directory."""

    path: str
    is_directory: bool


@dataclass(frozen=True)
class Renamed:
    """A name became another."""

    path: str
    target: str


@dataclass(frozen=True)
class Said:
    """The process said a line: what it acknowledged before must be kept."""

    line: str


Deed = Written | Resized | Synced | Named | Renamed | Said


def trace_program(arguments: Sequence[str], root: Path, record: Path) -> list[Deed]:
    """Run our Python under strace; return what it did below `root`, and what it said."""
    strace = shutil.which("strace")
    if strace is None:
        sentence = "strace is not installed (Debian, Ubuntu: apt install strace)"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    told = subprocess.run(
        [
            *(strace, "-f", "-y", "-xx", "-s", str(STRING_BYTES_MAX)),
            *("-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(record)),
            *(sys.executable, *arguments),
        ],
        env=program_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode != 0:
        pytest.fail(f"strace cannot trace here: {told.stderr}")
    with record.open(encoding="ascii") as lines:
        return list(_Reader(str(root)).read(lines))


class _Reader:
    """Reads one trace; remembers of each descriptor its place and flags."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: set[str] = set()
        self._flags: dict[int, str] = {}
        self._places: dict[int, int] = {}
        self._sizes: dict[str, int] = {}

    def read(self, lines: Iterator[str]) -> Iterator[Deed]:
        """Yield the deeds in order."""
        hexed = "".join(f"\\x{byte:02x}" for byte in os.fsencode(self._root))
        for line in lines:
            found = _LINE.match(line)
            if found is None:
                if hexed in line:
                    raise NotUnderstood(line[:300])
                continue
            call, words, result = found.groups()
            is_speech = call == "write" and words.startswith("1<")
            if result.startswith("-") or not (is_speech or hexed in words or hexed in line):
                continue
            yield from self._deeds(call, words, int(result, 0), line)

    def _deeds(self, call: str, words: str, result: int, line: str) -> Iterator[Deed]:
        match call:
            case "openat" | "open" | "creat":
                yield from self._open(words, result)
            case "close" | "lseek" | "mmap":
                self._follow(call, words, result, line)
            case "write" | "writev" | "pwrite64" | "pwritev":
                yield self._write(call, words, result)
            case "fsync" | "fdatasync":
                yield Synced(self._descriptor(words)[1])
            case "ftruncate":
                _, path = self._descriptor(words)
                size = self._sizes[path] = int(words.rpartition(",")[2])
                yield Resized(path, size)
            case "mkdir":
                yield Named(self._texts(words)[0], is_directory=True)
            case "rename":
                path, target = self._texts(words)
                for known in [name for name in self._sizes if name.startswith(path)]:
                    self._sizes[target + known.removeprefix(path)] = self._sizes.pop(known)
                yield Renamed(path, target)
            case _:
                raise NotUnderstood(line[:300])

    def _open(self, words: str, descriptor: int) -> Iterator[Deed]:
        path = self._texts(words)[-1]
        flags = words.rpartition('"')[2]
        if "O_DIRECTORY" not in flags and ("O_WRONLY" in flags or "O_RDWR" in flags):
            self._flags[descriptor] = flags
            self._places[descriptor] = 0
            if path not in self._sizes:
                if "O_CREAT" not in flags:
                    raise NotUnderstood(f"{path} was there before the trace")
                self._sizes[path] = 0
                yield Named(path, is_directory=False)
            elif "O_TRUNC" in flags:
                self._sizes[path] = 0
                yield Resized(path, 0)

    def _follow(self, call: str, words: str, result: int, line: str) -> None:
        if call == "mmap":
            is_written = "PROT_WRITE" in words and "MAP_SHARED" in words
            if is_written and not _decode(words).rstrip(">, 0").endswith("lock.mdb"):
                raise NotUnderstood(f"a file is written through the map: {line[:300]}")
        elif call == "lseek":
            self._places[self._descriptor(words)[0]] = result
        else:
            self._flags.pop(self._descriptor(words)[0], None)

    def _write(self, call: str, words: str, result: int) -> Deed:
        descriptor, path = self._descriptor(words)
        data = b"".join(bytes.fromhex(text.replace("\\x", "")) for text in _strings(words))
        if descriptor == 1 and call == "write":
            return Said(data.decode().strip())
        if len(data) != result:
            raise NotUnderstood(f"{call} wrote {result} of {len(data)} bytes")
        flags = self._flags[descriptor]
        if call.startswith("p"):
            offset = int(words.rpartition(",")[2])
        else:
            offset = self._sizes[path] if "O_APPEND" in flags else self._places[descriptor]
            self._places[descriptor] = offset + result
        self._sizes[path] = max(self._sizes[path], offset + result)
        return Written(path, offset, data, synced="SYNC" in flags)

    def _descriptor(self, words: str) -> tuple[int, str]:
        found = _OPENED.match(words)
        if found is None:
            raise NotUnderstood(words[:300])
        return int(found[1]), _decode(found[2])

    def _texts(self, words: str) -> list[str]:
        return [_decode(text) for text in _strings(words)]


def _strings(words: str) -> Iterator[str]:
    for text, is_cut in _TEXT.findall(words):
        if is_cut:
            raise NotUnderstood("the tracer cut a string short")
        yield text


def _decode(text: str) -> str:
    return os.fsdecode(
        re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), text.encode())
    )
