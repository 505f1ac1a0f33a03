"""Joined writes: what one turn of the loop says to a connection leaves in one piece.

The HTTP library writes the head of an answer and its body by themselves; each is a system call here
and a wake-up at the other end. The same goes for events on a WebSocket.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

WATCHED_PATHS: Final = frozenset((b"/livez", b"/readyz", b"/healthz", b"/metrics"))
"""What is answered however many connections there are."""
JOINED_BYTES_MAX: Final = 64 * 1024
"""Bytes that are held back until the end of the turn; more leave at once."""


class JoiningTransport(asyncio.Transport):
    """A transport in front of another one; owned by its protocol."""

    def __init__(self, inner: asyncio.Transport) -> None:
        """Write to `inner`."""
        super().__init__()
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes | bytearray | memoryview] = []
        self._size_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hold data until the end of the turn."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size_bytes += len(data)
        if self._size_bytes > JOINED_BYTES_MAX:
            self._flush()

    def close(self) -> None:
        """Let out what is held, and close."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once; what is held is lost, as what is on its way may be."""
        self._held.clear()
        self._inner.abort()

    def is_closing(self) -> bool:
        """Tell whether the connection closes or is closed."""
        return self._inner.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        return self._inner.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol, which keeps this transport."""
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return whose connection it is."""
        return self._inner.get_protocol()

    def is_reading(self) -> bool:
        """Tell whether data is taken in."""
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        """Take no data in."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Take data in again."""
        self._inner.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to leave."""
        return self._size_bytes + self._inner.get_write_buffer_size()

    def _flush(self) -> None:
        if not self._held:
            return
        held, self._held, self._size_bytes = self._held, [], 0
        if not self._inner.is_closing():
            self._inner.write(held[0] if len(held) == 1 else b"".join(held))


class JoiningProtocol(HttpToolsProtocol):
    """The library's HTTP protocol over a transport that joins.

    The limit of connections does not hold for `WATCHED_PATHS`: who watches a node has to hear from
    it most when it has too many callers.
    """

    def connection_made(  # type: ignore[override]  # As the library's own: its type is narrower.
        self, transport: asyncio.Transport
    ) -> None:
        """Put the joining transport in front."""
        super().connection_made(JoiningTransport(transport))

    def on_headers_complete(self) -> None:
        """Answer a request, or refuse it where there are too many connections."""
        limit = self.limit_concurrency
        if self.url.partition(b"?")[0] in WATCHED_PATHS:
            self.limit_concurrency = None
        try:
            super().on_headers_complete()
        finally:
            self.limit_concurrency = limit
