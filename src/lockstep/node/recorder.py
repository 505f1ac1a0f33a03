"""The recorder: every frame peers sent, as received, appended to a file for a judge to read later.

A row is a length of four bytes, big-endian, then the MessagePack array (peer's node key, frame).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

_decode: Final = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode
_HEADER_BYTES: Final = 4


class Recorder:
    """An open recording; what was added has reached the system, though not yet the disk."""

    def __init__(self, path: Path) -> None:
        """Open the file to append, readable by its owner alone."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, peer: bytes, frames: Iterable[bytes]) -> None:
        """Append the frames of one peer in one write, so that a kill leaves whole rows."""
        rows = [msgspec.msgpack.encode((peer, frame)) for frame in frames]
        os.write(
            self._descriptor,
            b"".join([len(row).to_bytes(_HEADER_BYTES, "big") + row for row in rows]),
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_recording(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield (peer, frame) of each whole row; a last row that was cut short is left out."""
    data: Sequence[int] | bytes = path.read_bytes()
    view, start = memoryview(bytes(data)), 0
    while start + _HEADER_BYTES <= len(view):
        body = start + _HEADER_BYTES
        end = body + int.from_bytes(view[start:body], "big")
        if end > len(view):
            return
        yield _decode(view[body:end])
        start = end
