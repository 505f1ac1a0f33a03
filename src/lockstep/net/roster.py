"""Who is connected: the table of open sessions, who may join it, and who has to wait.

One session per node key. No sockets here; the connections ask and tell through `ConnectionOwner`.
"""

import asyncio
import secrets
from collections.abc import Callable

from msgspec import Struct

from lockstep.errors import Rejected, Unavailable
from lockstep.net.connection import Connection
from lockstep.net.greeting import (
    INSTANCE_BYTES,
    Cooling,
    DuplicateSession,
    NodeFacts,
    NoSlot,
    OwnKey,
    SessionRefused,
    UnknownKey,
    make_facts,
)
from lockstep.net.peers import Conduct, Link, PeerLimits, stays


class Penalised(Rejected):
    """The peer sent something that no honest node sends."""

    code = "session.penalised"


class NodeStops(Unavailable):
    """This node is stopping in good order."""

    code = "session.node_stops"


class PeerInfo(Struct, frozen=True):
    """One open session, for people and programs; `latency_us` is None before the first PONG."""

    peer: bytes
    address: str
    dialled: bool
    since_ms: int
    bytes_in: int
    bytes_out: int
    queued_bytes: int
    latency_us: int | None
    height: int
    software: str
    faults: int


class Roster:
    """The sessions of one node and the conduct of its peers; used on one event loop only.

    Attributes:
        port: Where this node listens, for its facts; set by the manager once it is known.
    """

    def __init__(
        self,
        *,
        own_key: bytes,
        network: str,
        chain_id: bytes,
        allowed: Callable[[bytes], bool],
        height: Callable[[], int],
        limits: PeerLimits,
    ) -> None:
        self.port = 0
        self._own_key = own_key
        self._network = network
        self._chain_id = chain_id
        self._allowed = allowed
        self._height = height
        self._limits = limits
        self._instance = secrets.token_bytes(INSTANCE_BYTES)
        self._peers: dict[bytes, Connection] = {}
        self._greeting: dict[bytes, Connection] = {}
        self._conduct = Conduct()
        self._leaving = False

    # For the manager.

    def connection_of(self, peer: bytes) -> Connection | None:
        """Return the open session with this peer, if there is one."""
        return self._peers.get(peer)

    def connections(self) -> list[Connection]:
        """Return the open sessions; closing one while going through them is allowed."""
        return list(self._peers.values())

    def penalise(self, peer: bytes, code: str) -> None:
        """Count a provable fault and close the peer's connection."""
        self._add_fault(peer)
        if connection := self._peers.get(peer):
            connection.close(Penalised(f"no honest node does this: {code}"))

    def cooling_s(self, peer: bytes) -> float:
        """Return for how many seconds yet a peer is not to be talked to."""
        return self._conduct.cooling_s(peer, asyncio.get_running_loop().time())

    def describe(self) -> list[PeerInfo]:
        """Describe the open sessions, by key."""
        now_s = asyncio.get_running_loop().time()
        return [
            PeerInfo(
                peer=peer,
                address=connection.address,
                dialled=connection.dialled,
                since_ms=connection.since_ms,
                bytes_in=connection.bytes_in,
                bytes_out=connection.bytes_out,
                queued_bytes=connection.queued_bytes,
                latency_us=connection.latency_us,
                height=connection.height,
                software=connection.facts.software if connection.facts else "",
                faults=self._conduct.faults(peer, now_s),
            )
            for peer, connection in sorted(self._peers.items())
        ]

    def leave(self) -> list[Connection]:
        """Say GOODBYE to all and open no more sessions; return those that are closing now."""
        self._leaving = True
        connections = self.connections()
        for connection in connections:
            connection.close(NodeStops("the node is stopping"))
        return connections

    def greeted(self, connection: Connection) -> None:
        """Forget that a greeting is under way, however it ended."""
        if self._greeting.get(connection.peer) is connection:
            del self._greeting[connection.peer]

    def remove(self, connection: Connection) -> None:
        """Strike out a connection, unless another has taken its place already."""
        if self._peers.get(connection.peer) is connection:
            del self._peers[connection.peer]

    def remember(self, connection: Connection) -> None:
        """Count the fault for which a connection ended, if its peer made one."""
        if isinstance(connection.reason, Rejected) and not isinstance(
            connection.reason, SessionRefused | Penalised
        ):
            self._add_fault(connection.peer)

    # For connections (ConnectionOwner).

    def own_facts(self) -> NodeFacts:
        """Return what this node tells of itself just now."""
        return make_facts(
            network=self._network,
            chain_id=self._chain_id,
            port=self.port,
            height=self._height(),
            instance=self._instance,
        )

    def greet(self, connection: Connection) -> None:
        """Note whom a dialled connection reached.

        Raises:
            DuplicateSession: If this node already dials, or has dialled, the same peer.
        """
        if not connection.dialled:
            return
        peer = connection.peer
        known = self._peers.get(peer)
        if peer in self._greeting or (known is not None and known.dialled):
            raise DuplicateSession("another address of this peer is connected already")
        self._greeting[peer] = connection

    def judge(self, connection: Connection, facts: NodeFacts) -> SessionRefused | None:
        """Return the reason to refuse this peer, or None."""
        peer, own = connection.peer, self._own_key
        if peer == own:
            return OwnKey(
                "this node has the same node key: the address is its own, or two nodes share a key"
            )
        if not self._allowed(peer):
            return UnknownKey(
                f"the node key {peer.hex()[:16]} belongs to no masternode of this chain and is not "
                "allowed otherwise"
            )
        cooling_s = self.cooling_s(peer)
        if cooling_s > 0:
            return Cooling(f"after a fault this peer has to wait {cooling_s:.1f} s")
        # Both nodes dial at once: the lower key's connection will stay, so no other is opened.
        if not connection.dialled and peer in self._greeting and own < peer:
            return DuplicateSession("a connection in the other direction is being opened")
        old = self._peers.get(peer)
        if old is not None and old.facts is not None:
            old_link = Link(old.dialled, old.facts.instance)
            new_link = Link(connection.dialled, facts.instance)
            if stays(old_link, new_link, own_key=own, peer_key=peer):
                return DuplicateSession("the two nodes are connected already")
        elif len(self._peers) >= self._limits.peers_max:
            return NoSlot(f"this node has {len(self._peers)} peers and takes no more")
        return None

    def opened(self, connection: Connection) -> None:
        """Make the connection the one to its peer."""
        if self._leaving:
            connection.close(NodeStops("the node is stopping"))
            return
        if old := self._peers.get(connection.peer):
            connection.replaces = old
            old.close(DuplicateSession("a newer connection takes this one's place"))
        self._peers[connection.peer] = connection

    def _add_fault(self, peer: bytes) -> None:
        if self._allowed(peer):
            self._conduct.add_fault(peer, asyncio.get_running_loop().time())
