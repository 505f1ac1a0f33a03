"""One peer on one TLS socket: a decoder in, a bounded queue out, a sign of life now and then.

Bytes are pushed into the decoder as they come, so no read is ever cancelled half-way; whatever
takes too long closes the connection, and nothing goes on after that. Frames for the replica are
handed on undecoded, in the order they came. While the one who takes them is busy, a bounded number
of bytes is read ahead and then reading stops, which the sender feels through TCP.

A full outbox closes the connection: a peer that misses a message silently would be worse than one
that connects again and catches up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast

from lockstep.errors import LockstepError, Rejected
from lockstep.net.endings import PeerLost, PeerSilent, QueueFull
from lockstep.net.greeting import (
    NodeFacts,
    Ping,
    SessionRefused,
    encode_session,
    is_session_frame,
)
from lockstep.net.identity import peer_key
from lockstep.net.outbox import Outbox
from lockstep.net.peers import PeerLimits
from lockstep.net.session import (
    Opened,
    Outcome,
    Over,
    PeerHeight,
    PeerLeft,
    Ponged,
    Say,
    Session,
    Stage,
    UnexpectedMessage,
)
from lockstep.net.wire import HEADER_BYTES, FrameDecoder

READ_BUFFER_BYTES: Final = 128 * 1024
# After closing was cut by its own time-out, the loop gets this long to say so.
GONE_GRACE_S: Final = 0.5
# What a frame costs in memory beside its content, so that a flood of tiny ones is bounded as well.
FRAME_OVERHEAD_BYTES: Final = 64


Deliver = Callable[[bytes, list[bytes]], bool]


class ConnectionOwner(Protocol):
    """Whoever keeps the connections; all calls are made on the loop and answer at once."""

    def own_facts(self) -> NodeFacts:
        """Return what this node tells of itself just now."""
        ...

    def greet(self, connection: "Connection") -> None:
        """Hear that TLS proved the peer's key; raises SessionRefused to go no further."""
        ...

    def judge(self, connection: "Connection", facts: NodeFacts) -> SessionRefused | None:
        """Return the reason to refuse this peer, or None."""
        ...

    def opened(self, connection: "Connection") -> None:
        """Hear that the session is open."""
        ...


class Connection(asyncio.BufferedProtocol):
    """One peer, from the TLS handshake to the end; used on one event loop only.

    Attributes:
        peer: The node key that TLS proved, empty before.
        address: "host:port" of the other end.
        dialled: Whether this node dialled.
        facts: What the peer told of itself, None until the session is open.
        reason: Why the connection ended, None while it has not.
        lost: Set when the socket is gone.
        flush: Lets what is queued leave now, and not with the end of the turn.
        finished: Set by the owner when it has done with this connection.
        replaces: The older connection to the same peer that had to go for this one.
    """

    def __init__(
        self,
        owner: ConnectionOwner,
        limits: PeerLimits,
        *,
        dialled: bool,
        address: str,
        jitter: Callable[[], float],
    ) -> None:
        self.peer = b""
        self.address = address
        self.dialled = dialled
        self.facts: NodeFacts | None = None
        self.reason: LockstepError | None = None
        self.lost = asyncio.Event()
        self.finished = asyncio.Event()
        self.replaces: Connection | None = None
        self.since_ms = 0
        self.height = 0
        self.latency_us: int | None = None
        self.bytes_in = 0
        self._owner = owner
        self._limits = limits
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._defect: Exception | None = None
        self._closing = False
        self._decoder = FrameDecoder()
        self._read_view = memoryview(bytearray(READ_BUFFER_BYTES))
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._reading_paused = False
        self._stirred = asyncio.Event()
        self._deliver: Deliver | None = None
        self._has_room = True
        self._greeted = asyncio.Event()
        self._outbox = Outbox(self._loop)
        self.flush = self._outbox.flush
        self._timers: list[asyncio.TimerHandle] = []
        self._heard = False
        self._missed = 0
        self._ping_nonce = 0
        self._ping_sent_s = 0.0

    @property
    def bytes_out(self) -> int:
        """Return how many bytes were sent, without what TLS adds."""
        return self._outbox.written_bytes

    @property
    def queued_bytes(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._outbox.queued_bytes

    # Called by the owner.

    async def opened(self) -> None:
        """Wait until the session is open.

        Raises:
            LockstepError: The reason why it never will be.
            Exception: Any defect that showed in a callback.
        """
        await self._greeted.wait()
        if self._defect is not None:
            raise self._defect
        if self.facts is None and self.reason is not None:
            raise self.reason

    async def pump(self, deliver: Deliver, room: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand on the replica's frames until the connection is gone; the one reader there is.

        `deliver` takes frames as they come and tells whether there is room for more; where it says
        no, those that come next wait until `room` returns.

        Raises:
            Exception: What these raise, and any defect that showed in a callback.
        """
        self._deliver = deliver
        try:
            while True:
                self._hand_on()
                while not self._has_room:
                    await room(self.peer)
                    self._has_room = True
                    self._hand_on()
                if self._defect is not None:
                    raise self._defect
                if self.lost.is_set():
                    return
                await self._stirred.wait()
                self._stirred.clear()
        finally:
            self._deliver = None

    def send(self, frame: bytes) -> None:
        """Queue an encoded frame; it leaves with all others of this turn of the loop.

        A queue that would exceed its bound closes the connection.
        """
        if self._closing:
            return
        if self.queued_bytes + len(frame) > self._limits.queue_bytes_max:
            self._outbox.clear()
            self.close(
                QueueFull(f"{self._limits.queue_bytes_max} bytes wait to be sent and are not taken")
            )
            return
        self._outbox.put(frame)

    def close(self, reason: LockstepError) -> None:
        """Say why, let what is queued leave, then close; cut after `close_s`.

        Frames not handed on yet are dropped, unless it was the peer that left.
        """
        if self._closing:
            return
        farewell = self._session.end(reason) if self._session is not None else []
        for outcome in farewell:
            if isinstance(outcome, Say):
                self._outbox.put(outcome.frame)
        self._closing = True
        self.reason = reason
        if not isinstance(reason, PeerLeft):
            self._pending.clear()
        self._greeted.set()
        self._stop_timers()
        if self._transport is not None:
            # The other end's close_notify has to be read, or closing takes its full time.
            self._resume_reading()
            self._timers.append(self._loop.call_later(self._limits.close_s, self.abort))
            self._outbox.close()

    def abort(self) -> None:
        """Cut the socket without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def gone(self) -> None:
        """Wait until the socket is closed; cut it if nobody asked for an orderly end.

        The wait is bounded: a transport that was cut in the midst of its TLS handshake may never
        say that it is gone, and a node has to be able to stop all the same.
        """
        if not self._closing:
            self._closing = True
            self.abort()
        if self._transport is None:
            return
        try:
            async with asyncio.timeout(self._limits.close_s + GONE_GRACE_S):
                await self.lost.wait()
        except TimeoutError:
            self.connection_lost(None)

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read the key that TLS proved and begin the session."""
        # uvloop's transports do what asyncio's do, but do not inherit from them.
        self._transport = cast("asyncio.Transport", transport)
        if self._closing:
            self.abort()
            return
        self._outbox.open(self._transport)
        try:
            tls = transport.get_extra_info("ssl_object")
            self.peer = peer_key(tls.getpeercert(True))
            self._owner.greet(self)
        except Rejected as fault:
            self.close(fault)
            return
        self._session = Session(
            self._owner.own_facts(),
            dialled=self.dialled,
            judge=lambda facts: self._owner.judge(self, facts),
        )
        self._carry_out(self._session.start())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 # The loop passes it.
        """Lend the read buffer."""
        return self._read_view

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has arrived."""
        if self._closing:
            return
        self.bytes_in += nbytes
        self._heard = True
        try:
            self._take(self._decoder.feed(self._read_view[:nbytes]))
        except Rejected as fault:
            self.close(fault)

    def eof_received(self) -> bool:
        """Let the transport close: half-open connections are of no use here."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake everybody who waits for this connection."""
        self._closing = True
        self._stop_timers()
        if self.reason is None:
            self.reason = PeerLost(f"the connection broke: {exc or 'end of stream'}")
        if exc is not None and not isinstance(exc, OSError):
            self._defect = exc
        self._outbox.clear()
        self.lost.set()
        self._greeted.set()
        self._stirred.set()

    def pause_writing(self) -> None:
        """Keep frames in the queue from now on."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """Let the queue flow again."""
        self._outbox.resume()

    # Inside.

    def _take(self, frames: list[bytes]) -> None:
        session = self._session
        if session is None:
            return
        for frame in frames:
            if is_session_frame(frame):
                self._carry_out(session.receive(frame))
                if self._closing:
                    return
            elif session.stage is Stage.OPEN:
                self._pending.append(frame)
                self._pending_bytes += len(frame) + HEADER_BYTES + FRAME_OVERHEAD_BYTES
            else:
                raise UnexpectedMessage("a message of the replica came before the session was open")
        try:
            self._hand_on()
        except Exception as fault:  # noqa: BLE001  # Whoever pumps raises it.
            self._defect = fault
            self._stirred.set()
        if (
            self._pending_bytes > self._limits.read_ahead_bytes
            and not self._reading_paused
            and self._transport is not None
        ):
            self._reading_paused = True
            self._transport.pause_reading()

    def _hand_on(self) -> None:
        """Let go of the frames that wait, where somebody takes them and has room."""
        if not self._pending or self._deliver is None or not self._has_room or self._defect:
            return
        frames, self._pending = self._pending, []
        self._pending_bytes = 0
        self._resume_reading()
        self._has_room = self._deliver(self.peer, frames)
        if not self._has_room:
            self._stirred.set()

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    def _carry_out(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            match outcome:
                case Say(frame):
                    self.send(frame)
                case Opened(facts):
                    self.facts = facts
                    self.height = facts.height
                    self.since_ms = time.time_ns() // 1_000_000
                    self._owner.opened(self)
                    self._greeted.set()
                    self._set_ping_timer()
                case PeerHeight(height):
                    self.height = height
                case Ponged(nonce):
                    if nonce == self._ping_nonce:
                        self.latency_us = int((self._loop.time() - self._ping_sent_s) * 1_000_000)
                case Over(reason):
                    self.close(reason)

    def _set_ping_timer(self) -> None:
        if not self._closing:
            self._stop_timers()
            delay_s = self._limits.ping_s * (1 + self._jitter())
            self._timers.append(self._loop.call_later(delay_s, self._ping))

    def _ping(self) -> None:
        # Silence is counted in PINGs, not in seconds, so a loop that stood still blames nobody;
        # and not while it is this side that does not read.
        if self._heard or self._reading_paused:
            self._missed = 0
        else:
            self._missed += 1
        self._heard = False
        if self._missed >= self._limits.missed_max:
            self.close(PeerSilent(f"nothing was heard during {self._missed} PINGs"))
            return
        self._ping_nonce += 1
        self._ping_sent_s = self._loop.time()
        self.send(encode_session(Ping(self._ping_nonce, self._owner.own_facts().height)))
        self._set_ping_timer()

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
