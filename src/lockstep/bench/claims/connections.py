"""Claim: 70 % more throughput of connections without several locks.

Four nodes in one process, each connected to each over loopback by mutual TLS 1.3 with the product's
certificates, say 400 Votes each to all others, four at a time, as a member does whenever a commit
has landed. Messages and frames are the same bytes in both variants, and each message is encoded
once for all its receivers.

The naive variant keeps its connections as the predecessor did: asyncio's streams, and several maps
side by side (who is connected, how to write to whom, what was sent to whom, what was heard of
whom), each behind an `asyncio.Lock` of its own that every message passes, and every write on its
way to every peer. Frames are cut by the product's decoder, many from one read. Between the two
stands the same with one write for all that is said in a turn: what then remains is the price of
streams and locks.

Ours is `net.PeerManager` with its `Connection`s: one owner without locks, and one write for all
that is said to a peer in a turn of the loop.

Measured: messages delivered a CPU second, all nodes together, TLS included.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

import uvloop

from lockstep.bench.claims.contest import Claim, Contest, Sample, time_on_loop
from lockstep.net.attendant import PeerHandler
from lockstep.net.identity import NodeIdentity, peer_key
from lockstep.net.manager import PeerManager, PeerSettings
from lockstep.net.wire import FrameDecoder, encode_frame
from lockstep.primitives.messages import Message, encode_message
from lockstep.primitives.params import DEVNET
from lockstep.primitives.votes import Entry, Vote, VoteKind

HOST: Final = "127.0.0.1"
NODES: Final = 4
TURN: Final = 4
"""Messages said at a time."""
JOINED: Final = "the same with a write a turn"
_READ_BYTES: Final = 128 * 1024
_WARMING_BYTES: Final = 4 * 1024 * 1024
_LIMIT_S: Final = 30.0

Address = tuple[str, int]


class Ear:
    """What a node has heard: frames by sender, and whether it was all."""

    def __init__(self) -> None:
        """Expect nothing."""
        self.full = asyncio.Event()
        self._frames: dict[bytes, list[bytes]] = {}
        self._missing = 0

    def expect(self, frames: int) -> None:
        """Begin anew; so many frames shall come."""
        self.full.clear()
        self._frames = {}
        self._missing = frames

    def hear(self, peer: bytes, frames: Sequence[bytes]) -> None:
        """Take frames of a peer."""
        self._frames.setdefault(peer, []).extend(frames)
        self._missing -= len(frames)
        if self._missing == 0:
            self.full.set()

    def sum_up(self) -> dict[bytes, str]:
        """Return a hash over all that each peer said, in order."""
        return {peer: sha256(b"".join(frames)).hexdigest() for peer, frames in self._frames.items()}


class LockedNode:
    """The naive node: streams, and several maps behind several locks."""

    def __init__(self, identity: NodeIdentity) -> None:
        """Know nobody."""
        self.ear = Ear()
        self.met = asyncio.Event()
        self._identity = identity
        self._server: asyncio.Server | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._peers: dict[bytes, str] = {}
        self._peers_lock = asyncio.Lock()
        self._writers: dict[bytes, asyncio.StreamWriter] = {}
        self._writers_lock = asyncio.Lock()
        self._sent_bytes: dict[bytes, int] = {}
        self._sent_lock = asyncio.Lock()
        self._heard_at: dict[bytes, float] = {}
        self._heard_lock = asyncio.Lock()

    async def listen(self) -> Address:
        """Listen on a free port and return it."""
        self._server = await asyncio.start_server(
            self._talk, HOST, 0, ssl=self._identity.server_context
        )
        return HOST, self._server.sockets[0].getsockname()[1]

    async def dial(self, address: Address) -> None:
        """Connect to a node."""
        streams = await asyncio.open_connection(
            *address, ssl=self._identity.client_context, server_hostname=""
        )
        self._readers.append(asyncio.create_task(self._talk(*streams)))

    async def broadcast(self, messages: Sequence[Message]) -> None:
        """Send to every peer in one write; encoded once for all."""
        frame = b"".join([encode_frame(encode_message(message)) for message in messages])
        async with self._peers_lock:
            peers = list(self._peers)
        for peer in peers:
            async with self._writers_lock:
                writer = self._writers.get(peer)
            if writer is None:
                continue
            writer.write(frame)
            await writer.drain()
            async with self._sent_lock:
                self._sent_bytes[peer] = self._sent_bytes.get(peer, 0) + len(frame)

    async def close(self) -> None:
        """Hang up on all."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers.values():
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_key(writer.get_extra_info("ssl_object").getpeercert(True))
        async with self._writers_lock:
            self._writers[peer] = writer
        async with self._peers_lock:
            self._peers[peer] = str(writer.get_extra_info("peername"))
            if len(self._peers) == NODES - 1:
                self.met.set()
        decoder = FrameDecoder()
        try:
            while data := await reader.read(_READ_BYTES):
                for frame in decoder.feed(data):
                    async with self._heard_lock:
                        self._heard_at[peer] = time.monotonic()
                    self.ear.hear(peer, (frame,))
        except ConnectionError:
            return


class OurNode(PeerHandler):
    """A node's network room with an ear."""

    def __init__(self, identity: NodeIdentity, dial: Sequence[Address]) -> None:
        """Take a port."""
        self.ear = Ear()
        self.met = asyncio.Event()
        self._peers = 0
        settings = PeerSettings(DEVNET.network, sha256(b"claims").digest(), (HOST, 0), tuple(dial))
        self.manager = PeerManager(
            identity, settings, allowed=lambda _: True, handler=self, height=lambda: 0
        )
        self.manager.bind()

    def deliver(self, peer: bytes, frames: list[bytes]) -> bool:
        """Hear frames."""
        self.ear.hear(peer, frames)
        return True

    async def room(self, peer: bytes) -> None:
        """Return at once: there is room."""

    def connected(self, peer: bytes) -> None:  # noqa: ARG002  # The port's signature.
        """Count a peer."""
        self._peers += 1
        if self._peers == NODES - 1:
            self.met.set()

    def disconnected(self, peer: bytes) -> None:  # noqa: ARG002  # The same.
        """Count one peer fewer."""
        self._peers -= 1


def make_messages(node: int, count: int) -> list[Message]:
    """Return so many Votes of a member, on a batch of 400 each."""
    voter = sha256(b"voter %d" % node).digest()
    return [
        Vote(
            VoteKind.VOTE,
            0,
            voter,
            (Entry(sha256(b"batch %d %d" % (node, number)).digest(), bytes([255]) * 50),),
            sha256(b"signature %d" % number).digest() * 2,
        )
        for number in range(count)
    ]


def _turns(messages: Sequence[Message]) -> list[Sequence[Message]]:
    return [messages[start : start + TURN] for start in range(0, len(messages), TURN)]


class _NaiveNetwork:
    """Four naive nodes, connected; they say a message at a time, or what a turn has joined."""

    def __init__(self, identities: Sequence[NodeIdentity], *, joined: bool) -> None:
        self._joined = joined
        self.nodes = [LockedNode(identity) for identity in identities]

    async def connect(self) -> None:
        addresses: list[Address] = []
        for node in self.nodes:
            for address in addresses:
                await node.dial(address)
            addresses.append(await node.listen())
        for node in self.nodes:
            await node.met.wait()

    async def say(self, index: int, messages: Sequence[Message]) -> None:
        for turn in _turns(messages):
            for part in [turn] if self._joined else [[message] for message in turn]:
                await self.nodes[index].broadcast(part)
            await asyncio.sleep(0)

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()


class _OurNetwork:
    """Four nodes of ours, connected."""

    def __init__(self, identities: Sequence[NodeIdentity]) -> None:
        self.nodes: list[OurNode] = []
        for identity in identities:
            addresses = [(HOST, node.manager.port) for node in self.nodes]
            self.nodes.append(OurNode(identity, addresses))
        self._running: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        self._running = [asyncio.create_task(node.manager.run()) for node in self.nodes]
        for node in self.nodes:
            await node.met.wait()

    async def say(self, index: int, messages: Sequence[Message]) -> None:
        for turn in _turns(messages):
            for message in turn:
                self.nodes[index].manager.broadcast(message)
            await asyncio.sleep(0)

    async def close(self) -> None:
        for node in self.nodes:
            await node.manager.close()
        await asyncio.wait(self._running)


Network = _NaiveNetwork | _OurNetwork


async def _talk(network: Network, said: Sequence[Sequence[Message]]) -> Sample:
    expected = sum(map(len, said)) // NODES * (NODES - 1)
    for node in network.nodes:
        node.ear.expect(expected)

    async def work() -> tuple[int, object]:
        async with asyncio.timeout(_LIMIT_S), asyncio.TaskGroup() as group:
            for index, messages in enumerate(said):
                group.create_task(network.say(index, messages))
            for node in network.nodes:
                group.create_task(node.ear.full.wait())
        return expected * NODES, None

    timed = await time_on_loop(work)
    outcome = [sorted(node.ear.sum_up().items()) for node in network.nodes]
    return Sample(timed.items, timed.cpu_s, timed.wall_s, outcome)


def prepare(size: int) -> Contest:
    """Make a contest in which each node says `size` messages."""
    identities = [NodeIdentity(sha256(b"node %d" % number).digest()) for number in range(NODES)]
    said = [make_messages(node, size) for node in range(NODES)]
    # Until something large was freed once, the C library fetches every large buffer from the system
    # anew, of which streams need many. In a process that has run for a while that is past.
    bytearray(_WARMING_BYTES)
    runners: list[asyncio.Runner] = []
    networks: list[Network] = []

    def begin(make: Callable[[], Network]) -> Callable[[], Sample]:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

        async def connect() -> Network:
            network = make()
            await network.connect()
            return network

        network = runner.run(connect())
        runners.append(runner)
        networks.append(network)
        return lambda: runner.run(_talk(network, said))

    def close() -> None:
        for runner, network in zip(runners, networks, strict=True):
            runner.run(network.close())
            runner.close()

    return Contest(
        naive=begin(lambda: _NaiveNetwork(identities, joined=False)),
        ours=begin(lambda: _OurNetwork(identities)),
        others={JOINED: begin(lambda: _NaiveNetwork(identities, joined=True))},
        close=close,
    )


CLAIM: Final = Claim(
    name="connections",
    claimed=1.7,
    unit="messages delivered a CPU second",
    what="four nodes on loopback with TLS say Votes to each other: streams, several maps behind "
    "locks and a write a message, against one owner and a write a turn",
    why_missed="",
    size=400,
    prepare=prepare,
)
