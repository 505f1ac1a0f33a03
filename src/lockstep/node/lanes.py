"""Frames of peers that wait for the verifier, lane by lane and peer by peer."""

import asyncio
from collections import deque
from typing import Final, NamedTuple

from lockstep.primitives.params import FRAME_BYTES_MAX

JOB_BYTES_MAX: Final = 64 * 1024
"""Frames judged in one job; a single larger one is a job by itself."""
PEER_BYTES_MAX: Final = FRAME_BYTES_MAX
"""Frames of one peer and lane that wait; with more, the peer is not read."""


class PeerQueue:
    """Frames of one peer that wait, and whether a job has the ones before them."""

    __slots__ = ("frames", "is_busy", "room", "size_bytes")

    def __init__(self) -> None:
        """Begin empty."""
        self.frames: deque[bytes] = deque()
        self.size_bytes = 0
        self.is_busy = False
        self.room = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Tell whether more frames may come."""
        return self.size_bytes < PEER_BYTES_MAX

    def clear(self) -> None:
        """Drop what waits."""
        self.frames.clear()
        self.size_bytes = 0
        self.room.set()

    def take(self, size_bytes: int) -> list[bytes]:
        """Take frames of so many bytes together, or one that is larger."""
        taken: list[bytes] = []
        total = 0
        while self.frames and (not taken or total + len(self.frames[0]) <= size_bytes):
            total += len(self.frames[0])
            taken.append(self.frames.popleft())
        self.size_bytes -= total
        if self.has_room:
            self.room.set()
        return taken


class Taken(NamedTuple):
    """Frames of one peer in a job; those after them wait until `Lane.give_back`."""

    peer: bytes
    queue: PeerQueue
    frames: list[bytes]


class Lane:
    """What waits of all peers and may be judged in any order between them.

    Attributes:
        count: Frames that wait, those behind a job included.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.count = 0
        self._queues: dict[bytes, PeerQueue] = {}
        # Queues with frames that no job has the ones before of, who was served last at the end.
        self._ready: dict[bytes, PeerQueue] = {}

    def __bool__(self) -> bool:
        """Tell whether a job would find anything."""
        return bool(self._ready)

    def put(self, peer: bytes, frame: bytes) -> bool:
        """Append a frame; tell whether the peer may send more."""
        queue = self._queues.get(peer)
        if queue is None:
            queue = self._queues[peer] = PeerQueue()
        queue.frames.append(frame)
        queue.size_bytes += len(frame)
        self.count += 1
        if not queue.is_busy:
            self._ready[peer] = queue
        return queue.size_bytes < PEER_BYTES_MAX

    def take(self) -> list[Taken]:
        """Take the frames of one job, peer by peer."""
        taken: list[Taken] = []
        room = JOB_BYTES_MAX
        for peer, queue in list(self._ready.items()):
            if taken and len(queue.frames[0]) > room:
                continue
            frames = queue.take(room)
            self.count -= len(frames)
            room -= sum(map(len, frames))
            queue.is_busy = True
            del self._ready[peer]
            taken.append(Taken(peer, queue, frames))
        return taken

    def give_back(self, peer: bytes, queue: PeerQueue) -> None:
        """Let the frames behind those of a job that is done be taken."""
        queue.is_busy = False
        if queue.frames:
            self._ready[peer] = queue

    async def room(self, peer: bytes) -> None:
        """Wait until there is room for more frames of a peer."""
        queue = self._queues.get(peer)
        while queue is not None and not queue.has_room:
            queue.room.clear()
            await queue.room.wait()

    def forget(self, peer: bytes) -> None:
        """Drop what waits of a peer that is gone."""
        queue = self._queues.pop(peer, None)
        self._ready.pop(peer, None)
        if queue is not None:
            self.count -= len(queue.frames)
            queue.clear()
