"""Frames on a byte stream, sans-IO: a length of four bytes, big-endian, then that many bytes.

The cap is checked on the header alone, before anything is kept for the body; the first frame of a
stream, which comes from somebody who has not been greeted, has a small cap of its own. Sender and
receiver use the same constants. There is no checksum: TLS has one below.
"""

from typing import Final

from lockstep.errors import Misuse, Rejected
from lockstep.primitives.params import FRAME_BYTES_MAX, HELLO_FRAME_BYTES_MAX

HEADER_BYTES: Final = 4


class FrameOversize(Rejected):
    """A frame announces more bytes than the cap."""

    code = "frame.oversize"


class FrameEmpty(Rejected):
    """A frame announces no bytes at all."""

    code = "frame.empty"


class FrameDecoder:
    """Cuts a byte stream into frames, however the stream is cut into chunks.

    Holds only bytes that have arrived: an announced length reserves nothing.
    """

    __slots__ = ("_buffer", "_bytes_max", "_later_bytes_max")

    def __init__(
        self, *, first_bytes_max: int = HELLO_FRAME_BYTES_MAX, bytes_max: int = FRAME_BYTES_MAX
    ) -> None:
        self._buffer = bytearray()
        self._bytes_max = first_bytes_max
        self._later_bytes_max = bytes_max

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take the next chunk of the stream; return the frames it completes, without headers.

        After a fault the stream has no known frame boundary any more, so it must be closed.

        Raises:
            FrameOversize: If a header announces more than the cap.
            FrameEmpty: If a header announces zero.
        """
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start, end = 0, len(buffer)
        with memoryview(buffer) as view:
            while end - start >= HEADER_BYTES:
                body = start + HEADER_BYTES
                size = int.from_bytes(view[start:body], "big")
                if size > self._bytes_max:
                    raise FrameOversize(
                        f"a frame of {size} bytes where at most {self._bytes_max} are allowed"
                    )
                if size == 0:
                    raise FrameEmpty("a frame of zero bytes says nothing")
                if end - body < size:
                    break
                start = body + size
                frames.append(bytes(view[body:start]))
                self._bytes_max = self._later_bytes_max
        del buffer[:start]
        return frames


def encode_frame(body: bytes, *, bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """Put the header before a frame's content.

    Raises:
        Misuse: If the content is empty or exceeds the cap; the receiver would refuse it.
    """
    if not 0 < len(body) <= bytes_max:
        raise Misuse(f"a frame of {len(body)} bytes; 1 to {bytes_max} can be sent")
    return len(body).to_bytes(HEADER_BYTES, "big") + body
