"""What happened in a run, as one hash, and on request line by line for people."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

Sink = Callable[[str], None]
WORLD: Final = -1
"""Stands in place of a node where something concerns them all."""


class Tape:
    """Takes in every frame, step and fault; equal runs have equal digests.

    Attributes:
        names: How keys and member ids are called in lines.
    """

    def __init__(self, sink: Sink | None = None) -> None:
        """Record to `sink`, one line an entry, or to nobody."""
        self.names: dict[bytes, str] = {}
        self._hash = blake2b(digest_size=16)
        self._sink = sink

    @property
    def is_read(self) -> bool:
        """Tell whether somebody reads the lines."""
        return self._sink is not None

    @property
    def digest(self) -> str:
        """Return the hash of all entries so far, in hexadecimal."""
        return self._hash.hexdigest()

    def note(self, time_ms: int, place: int, kind: str, data: bytes = b"") -> None:
        """Take in one entry; `place` is the node it concerns.

        The line of an entry with data ends with the beginning of the hash so far.
        """
        self._hash.update(b"%d %d %b %d " % (time_ms, place, kind.encode(), len(data)))
        self._hash.update(data)
        if self._sink is not None:
            suffix = f" {len(data)} bytes, trace {self.digest[:8]}" if data else ""
            self.tell(time_ms, place, kind + suffix)

    def tell(self, time_ms: int, place: int, text: str) -> None:
        """Write a line for people; it is not part of the hash."""
        if self._sink is not None:
            name = "world" if place == WORLD else f"node{place}"
            self._sink(f"{time_ms:>7} {name} {text}")
