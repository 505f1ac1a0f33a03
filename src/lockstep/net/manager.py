"""The connections of a node: listen, dial and dial again, one session per peer, say to all.

A peer is a node key that TLS proved and that the caller allows. Each connection lives in one task
of this manager's group, and each address to dial in one task of its own; when `run` returns, no
task and no socket is left. Errors of peers and of the network end here, in a log line and in
`dials()`; defects and fatal errors of the handler leave through `run`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from random import SystemRandom
from typing import Final

from msgspec import Struct

from lockstep.errors import Fatal, LockstepError, Misuse, Rejected
from lockstep.net.attendant import Attendant, PeerHandler
from lockstep.net.connection import Connection
from lockstep.net.greeting import DuplicateSession, OwnKey
from lockstep.net.identity import NodeIdentity
from lockstep.net.peers import Arrivals, Backoff, PeerLimits
from lockstep.net.roster import PeerInfo, Roster
from lockstep.net.wire import encode_frame
from lockstep.primitives.messages import Message, encode_message

logger: Final = logging.getLogger(__name__)

ACCEPT_PAUSE_S: Final = 0.2
LISTEN_BACKLOG: Final = 512

_dice: Final = SystemRandom()


class PortTaken(Fatal):
    """The address to listen on cannot be had."""

    code = "net.port_taken"
    hint = "stop the other program, or set p2p_listen to another address"


class PeerSettings(Struct, frozen=True):
    """Where a node listens and dials, and which chain it is on.

    Attributes:
        network: Name of the network.
        chain_id: Hash of its genesis.
        listen: (host, port); port 0 takes a free one.
        dial: Addresses to keep a session with.
    """

    network: str
    chain_id: bytes
    listen: tuple[str, int]
    dial: tuple[tuple[str, int], ...] = ()


class DialInfo(Struct):
    """One address this node dials: the key met there, and why the last try ended.

    `code` and `sentence` are empty while a session is open and before the first try has ended.
    """

    address: str
    peer: bytes | None = None
    tries: int = 0
    code: str = ""
    sentence: str = ""


class PeerManager:
    """Keeps the sessions of one node; used on one event loop only.

    Args:
        identity: The node key.
        settings: Addresses and chain.
        allowed: Tells whether a node key may be a peer; asked at each handshake.
        handler: Told about peers and given their frames.
        height: Returns the last decided height, for HELLO and PING.
        limits: Bounds and pauses.
        jitter: Draws from 0 to 1.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        settings: PeerSettings,
        *,
        allowed: Callable[[bytes], bool],
        handler: PeerHandler,
        height: Callable[[], int],
        limits: PeerLimits | None = None,
        jitter: Callable[[], float] = _dice.random,
    ) -> None:
        self._identity = identity
        self._settings = settings
        self._limits = limits or PeerLimits()
        self._jitter = jitter
        self._listener: socket.socket | None = None
        self._roster = Roster(
            own_key=identity.public_key,
            network=settings.network,
            chain_id=settings.chain_id,
            allowed=allowed,
            height=height,
            limits=self._limits,
        )
        # The attendant's own deadline comes first; this one is for what it cannot reach.
        self._tls_s = self._limits.handshake_s + 1
        self._attendant = Attendant(self._roster, handler, self._limits)
        self._arrivals: Arrivals[asyncio.Task[None]] = Arrivals(
            total_max=self._limits.handshakes_max, per_ip_max=self._limits.handshakes_per_ip
        )
        self._dials = {address: DialInfo(_format_address(*address)) for address in settings.dial}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Accepted, but its task has not begun yet; a stop at that moment must close it.
        self._unclaimed: set[socket.socket] = set()
        self._leaving = asyncio.Event()
        self._ended = asyncio.Event()

    # For the node.

    @property
    def port(self) -> int:
        """Return the port this node listens on.

        Raises:
            Misuse: If it does not listen yet.
        """
        if self._listener is None:
            raise Misuse("the port is known once bind has been called")
        return self._roster.port

    def bind(self) -> None:
        """Take the port, so that it is known, or refused, before anything runs.

        Raises:
            PortTaken: If the address cannot be had.
        """
        if self._listener is not None:
            return
        host, port = self._settings.listen
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server(
                (host, port), family=family, backlog=LISTEN_BACKLOG
            )
        except OSError as fault:
            raise PortTaken(
                f"cannot listen for peers on {_format_address(host, port)}: {fault.strerror}"
            ) from fault
        self._listener.setblocking(False)
        self._roster.port = self._listener.getsockname()[1]

    async def run(self) -> None:
        """Listen and dial until `close` is called.

        Raises:
            PortTaken: If the address cannot be had.
            BaseExceptionGroup: Around what the handler raised.
        """
        self.bind()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._spawn(self._accept(), "net-accept")
                for address in self._dials:
                    self._spawn(self._keep(address), f"net-dial-{_format_address(*address)}")
                await self._leaving.wait()
                await self._leave()
        finally:
            self._group = None
            for left in self._unclaimed:
                left.close()
            self._close_listener()
            self._ended.set()

    async def close(self) -> None:
        """Say GOODBYE to all, let it leave, close every socket; within `close_s` and a little."""
        self._leaving.set()
        if self._group is not None:
            await self._ended.wait()
        else:
            self._close_listener()

    def broadcast(self, message: Message) -> None:
        """Send to every peer with an open session; encoded once for all.

        Raises:
            Misuse: If the message exceeds the frame cap.
        """
        if connections := self._roster.connections():
            frame = encode_frame(encode_message(message))
            for connection in connections:
                connection.send(frame)

    def send(self, peer: bytes, message: Message) -> None:
        """Send to one peer; nothing happens if it has no open session.

        Raises:
            Misuse: If the message exceeds the frame cap.
        """
        if connection := self._roster.connection_of(peer):
            connection.send(encode_frame(encode_message(message)))

    def flush(self) -> None:
        """Let what is queued leave now, and not with the end of the turn of the loop."""
        for connection in self._roster.connections():
            connection.flush()

    def penalise(self, peer: bytes, code: str) -> None:
        """Count a provable fault of a peer and close its connection; it has to wait a while."""
        logger.warning("peer %s is penalised: %s", peer.hex()[:16], code)
        self._roster.penalise(peer, code)

    def peers(self) -> list[PeerInfo]:
        """Describe the open sessions, by key."""
        return self._roster.describe()

    def dials(self) -> list[DialInfo]:
        """Describe the addresses this node dials and how the last try went."""
        return list(self._dials.values())

    # Inside.

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        if self._group is None:
            raise Misuse("tasks are made only while the manager runs")
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave(self) -> None:
        """Close every connection in good order, then end every task."""
        for connection in self._roster.leave():
            await connection.gone()
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        listener = self._listener
        if listener is None:
            raise Misuse("accepting needs a bound socket")
        while True:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as fault:
                # Out of file handles, or the caller hung up in the queue: neither is the end.
                logger.warning("cannot accept a connection: %s", fault)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            self._unclaimed.add(accepted)
            self._spawn(self._answer(accepted, address[0], address[1]), "net-inbound")

    async def _answer(self, accepted: socket.socket, ip: str, port: int) -> None:
        """Live one inbound connection."""
        self._unclaimed.discard(accepted)
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is None:
            raise Misuse("an inbound connection lives in a task")
        if victim := self._arrivals.add(task, ip):
            victim.cancel()
        connection = self._make_connection(_format_address(ip, port), dialled=False)
        try:
            reason = await self._attendant.attend(
                connection,
                loop.connect_accepted_socket(
                    lambda: connection,
                    accepted,
                    ssl=self._identity.server_context,
                    ssl_handshake_timeout=self._tls_s,
                    ssl_shutdown_timeout=self._limits.close_s,
                ),
                on_open=lambda: self._arrivals.remove(task),
            )
        finally:
            self._arrivals.remove(task)
        # Strangers who do not even prove a key shall not fill the log.
        level = logging.INFO if connection.peer else logging.DEBUG
        logger.log(level, "inbound %s ended: %s: %s", connection.address, reason.code, reason)

    async def _keep(self, address: tuple[str, int]) -> None:
        """Keep a session with whoever is at the address."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._limits.redial_first_s, self._limits.redial_max_s, self._jitter)
        info = self._dials[address]
        while True:
            while info.peer and (present := self._roster.connection_of(info.peer)):
                await present.finished.wait()
            info.tries += 1
            connection = self._make_connection(info.address, dialled=True)
            started_s = loop.time()
            reason = await self._dial(address, connection)
            if connection.peer:
                info.peer = connection.peer
            alarming = isinstance(reason, Rejected) and not isinstance(reason, DuplicateSession)
            level = logging.WARNING if alarming and reason.code != info.code else logging.INFO
            logger.log(level, "dialled %s ended: %s: %s", info.address, reason.code, reason)
            info.code, info.sentence = reason.code, str(reason)
            if isinstance(reason, OwnKey):
                return
            if connection.facts and loop.time() - started_s >= self._limits.settled_s:
                backoff.reset()
            pause_s = max(backoff.next_s(), self._roster.cooling_s(connection.peer))
            await asyncio.sleep(pause_s)

    async def _dial(self, address: tuple[str, int], connection: Connection) -> LockstepError:
        """Live one outbound connection; return why it ended."""
        info = self._dials[address]

        def note_open() -> None:
            info.peer = connection.peer
            info.code = info.sentence = ""

        return await self._attendant.attend(
            connection,
            asyncio.get_running_loop().create_connection(
                lambda: connection,
                *address,
                ssl=self._identity.client_context,
                server_hostname="",
                ssl_handshake_timeout=self._tls_s,
                ssl_shutdown_timeout=self._limits.close_s,
            ),
            on_open=note_open,
        )

    def _make_connection(self, address: str, *, dialled: bool) -> Connection:
        return Connection(
            self._roster, self._limits, dialled=dialled, address=address, jitter=self._jitter
        )


def _format_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
