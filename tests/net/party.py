"""Real nodes of the network room on loopback, and strangers that misbehave."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import uvloop

from lockstep.net.attendant import PeerHandler
from lockstep.net.greeting import (
    PROTOCOL_VERSION,
    Ack,
    Hello,
    SessionMessage,
    decode_session,
    encode_session,
    make_facts,
)
from lockstep.net.identity import NodeIdentity
from lockstep.net.manager import PeerManager, PeerSettings
from lockstep.net.peers import PeerLimits
from lockstep.net.wire import FrameDecoder
from lockstep.primitives import codec
from lockstep.primitives.messages import GetBlock, Message, decode_message

HOST = "127.0.0.1"
CHAIN_ID = b"c" * 32
QUICK = PeerLimits(
    handshake_s=3.0,
    ping_s=0.5,
    close_s=0.5,
    redial_first_s=0.02,
    redial_max_s=0.1,
    settled_s=0.5,
)
LATE_S = 4.0
"""What should take a fraction of a second takes so long only if nobody sees to it."""
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Address = tuple[str, int]


def run_on(loop: str, scenario: Callable[[], Awaitable[None]], *, limit_s: float = 30) -> None:
    """Run a scenario; no task may be left, and nothing may have failed in a callback."""
    failures: list[dict[str, object]] = []

    def note(_: asyncio.AbstractEventLoop, told: dict[str, object]) -> None:
        # A test's own server says this in debug mode about a client that left; ours never do.
        if told["message"] != "Error on transport creation for incoming connection":
            failures.append(told)

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(note)
        async with asyncio.timeout(limit_s):
            await scenario()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(whole())
    assert not failures, failures


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; the scenario's limit bounds the wait."""
    while not condition():  # noqa: ASYNC110 # Nobody signals what a test looks for.
        await asyncio.sleep(0.002)


class Recorder(PeerHandler):
    """A handler that writes down what it is told, and can be made slow or faulty."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []
        self.frames: list[bytes] = []
        self.held: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    def deliver(self, peer: bytes, frames: list[bytes]) -> bool:
        assert self.words(peer)[-1] == "connected", "frames come only between the two calls"
        self.held += frames
        if not self.gate.is_set():
            return False
        self._take()
        return True

    async def room(self, peer: bytes) -> None:
        assert self.words(peer)[-1] == "connected", "frames come only between the two calls"
        await self.gate.wait()
        self._take()

    def _take(self) -> None:
        if self.fault:
            raise self.fault
        self.frames += self.held
        self.held.clear()

    def connected(self, peer: bytes) -> None:
        self.told.append(("connected", peer))

    def disconnected(self, peer: bytes) -> None:
        self.told.append(("disconnected", peer))

    def words(self, peer: bytes) -> list[str]:
        return [word for word, about in self.told if about == peer]

    def heights(self) -> list[int]:
        messages = [decode_message(frame) for frame in self.frames]
        return [message.height for message in messages if isinstance(message, GetBlock)]


class Party:
    """One node of the network room with a recording handler."""

    def __init__(
        self,
        number: int,
        *,
        dial: Sequence[Address] = (),
        chain_id: bytes = CHAIN_ID,
        network: str = "devnet",
        allowed: Callable[[bytes], bool] = lambda _: True,
        limits: PeerLimits = QUICK,
        port: int = 0,
    ) -> None:
        self.identity = identity_of(number)
        self.handler = Recorder()
        self.manager = PeerManager(
            self.identity,
            PeerSettings(network, chain_id, (HOST, port), tuple(dial)),
            allowed=allowed,
            handler=self.handler,
            height=lambda: 100 + number,
            limits=limits,
        )
        self.manager.bind()
        self.task: asyncio.Task[None] | None = None

    @property
    def key(self) -> bytes:
        return self.identity.public_key

    @property
    def address(self) -> Address:
        return (HOST, self.manager.port)

    def keys(self) -> list[bytes]:
        return [info.peer for info in self.manager.peers()]

    def has(self, *others: "Party") -> bool:
        """Tell whether the sessions are with exactly these, and the handler knows."""
        return self.keys() == sorted(other.key for other in others) and all(
            self.handler.words(other.key)[-1:] == ["connected"] for other in others
        )

    def dial_code(self) -> str:
        return self.manager.dials()[0].code


class Town:
    """Parties that run until the scenario is over."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._parties: list[Party] = []

    def start(self, party: Party) -> Party:
        party.task = self._group.create_task(party.manager.run())
        self._parties.append(party)
        return party

    async def close(self) -> None:
        for party in self._parties:
            await party.manager.close()


@contextlib.asynccontextmanager
async def town() -> AsyncIterator[Town]:
    async with asyncio.TaskGroup() as group:
        place = Town(group)
        try:
            yield place
        finally:
            await place.close()


_identities: dict[int, NodeIdentity] = {}


def identity_of(number: int) -> NodeIdentity:
    if number not in _identities:
        _identities[number] = NodeIdentity(bytes([number]) * 32)
    return _identities[number]


def ask(height: int) -> Message:
    """Make a small message that carries a number."""
    return GetBlock(height, 0)


class Stranger:
    """A peer written by hand over streams, which says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._decoder = FrameDecoder()
        self._heard: list[bytes] = []

    @classmethod
    async def dial(cls, address: Address, context: ssl.SSLContext | None) -> "Stranger":
        name = "" if context else None
        return cls(*await asyncio.open_connection(*address, ssl=context, server_hostname=name))

    async def hello(self, *, instance: bytes = b"s" * 16, chain_id: bytes = CHAIN_ID) -> None:
        """Greet and wait for the ACK."""
        facts = make_facts(network="devnet", chain_id=chain_id, port=0, height=1, instance=instance)
        self.writer.write(encode_session(Hello(PROTOCOL_VERSION, codec.encode(facts))))
        assert isinstance(await self.word(), Ack)

    async def frame(self) -> bytes | None:
        """Return the next frame, or None at the end of the stream, however it ends."""
        while not self._heard:
            try:
                data = await self.reader.read(65536)
            except OSError:
                return None
            if not data:
                return None
            self._heard += self._decoder.feed(data)
        return self._heard.pop(0)

    async def word(self) -> SessionMessage | None:
        """Return the next session message, or None at the end of the stream."""
        frame = await self.frame()
        return None if frame is None else decode_session(frame)

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
