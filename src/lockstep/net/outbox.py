"""What waits to be sent to one peer: bounded, in order, joined into few writes."""

import asyncio
from collections import deque
from typing import Final

WRITE_BYTES: Final = 512 * 1024


class Outbox:
    """Frames for one transport; what is put in during one turn of the loop leaves in one write.

    A write is bounded as well, so that encrypting it does not hold up the loop.

    Attributes:
        queued_bytes: What waits here; the transport's own buffer comes on top.
        written_bytes: What was handed to the transport so far.
    """

    __slots__ = (
        "_closing",
        "_due",
        "_frames",
        "_loop",
        "_paused",
        "_transport",
        "queued_bytes",
        "written_bytes",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queued_bytes = 0
        self.written_bytes = 0
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._frames: deque[bytes] = deque()
        self._paused = False
        self._due: asyncio.Handle | None = None
        self._closing = False

    def open(self, transport: asyncio.Transport) -> None:
        """Let frames flow into this transport."""
        self._transport = transport

    def put(self, frame: bytes) -> None:
        """Append a frame; the caller keeps the bound, by `queued_bytes`."""
        self._frames.append(frame)
        self.queued_bytes += len(frame)
        self._schedule()

    def pause(self) -> None:
        """Keep frames here: the transport's buffer is full."""
        self._paused = True

    def resume(self) -> None:
        """Let frames flow again."""
        self._paused = False
        self._schedule()

    def clear(self) -> None:
        """Drop what waits."""
        self._frames.clear()
        self.queued_bytes = 0

    def close(self) -> None:
        """Close the transport as soon as all that waits has been handed to it."""
        self._closing = True
        self._schedule()

    def _schedule(self) -> None:
        if self._due is None and not self._paused:
            self._due = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Let what waits leave now, and not with the end of the turn."""
        if self._due is None:
            return
        self._due.cancel()
        self._due = None
        transport = self._transport
        if transport is None or self._paused:
            return
        parts: list[bytes] = []
        size = 0
        while self._frames and (not parts or size + len(self._frames[0]) <= WRITE_BYTES):
            size += len(self._frames[0])
            parts.append(self._frames.popleft())
        if parts:
            self.queued_bytes -= size
            self.written_bytes += size
            transport.write(b"".join(parts))
        if self._frames:
            self._schedule()
        elif self._closing:
            transport.close()
