"""The life of one connection, from the handshake to the end, and who is told of it.

What a peer or the network does wrong ends here as the reason the connection ended for. What the
handler raises, and defects of our own, are not caught.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from lockstep.errors import LockstepError, Rejected, Unavailable
from lockstep.net.connection import Connection
from lockstep.net.endings import PeerLost
from lockstep.net.identity import WrongCertificate
from lockstep.net.peers import PeerLimits
from lockstep.net.roster import Roster

logger: Final = logging.getLogger(__name__)


class Unreachable(Unavailable):
    """Nobody answers at the address."""

    code = "net.unreachable"


class TlsFailed(Unavailable):
    """The other end speaks no TLS 1.3, or not with an acceptable certificate."""

    code = "session.tls_failed"


class HandshakeSlow(Unavailable):
    """The handshake was not over in time."""

    code = "session.handshake_slow"


class PeerHandler(Protocol):
    """Whoever is told about peers: the node's ingress.

    For one peer `connected`, any number of `deliver`, `disconnected` come strictly in this order,
    also when a new connection takes the place of an old one. An exception ends the manager's `run`.
    """

    def deliver(self, peer: bytes, frames: list[bytes]) -> bool:
        """Take frames for the replica, undecoded, in order; tell whether there is room for more."""
        ...

    async def room(self, peer: bytes) -> None:
        """Wait until there is, after `deliver` said no; meanwhile the peer is not read."""
        ...

    def connected(self, peer: bytes) -> None:
        """Hear that a session with this peer has opened."""
        ...

    def disconnected(self, peer: bytes) -> None:
        """Hear that it is over."""
        ...


class Attendant:
    """Sees every connection of a node through; used on one event loop only."""

    def __init__(self, roster: Roster, handler: PeerHandler, limits: PeerLimits) -> None:
        self._roster = roster
        self._handler = handler
        self._limits = limits

    async def attend(
        self,
        connection: Connection,
        establish: Awaitable[object],
        on_open: Callable[[], None] = lambda: None,
    ) -> LockstepError:
        """See one connection through from TCP to the end; return why it ended.

        Args:
            connection: The protocol that `establish` will put on a TLS transport.
            establish: Connects, or accepts, and makes the TLS handshake.
            on_open: Called when the handshake is over.
        """
        try:
            try:
                async with asyncio.timeout(self._limits.handshake_s):
                    await establish
                    await connection.opened()
            except TimeoutError:
                slow = HandshakeSlow(
                    f"the handshake was not over after {self._limits.handshake_s:g} s"
                )
                connection.close(slow)
                return slow
            except ssl.SSLCertVerificationError as fault:
                return WrongCertificate(
                    f"the peer's certificate is not ours: {fault.verify_message}"
                )
            except ssl.SSLError as fault:
                return TlsFailed(f"no TLS 1.3 with the peer: {fault.reason or fault}")
            except (OSError, UnicodeError) as fault:
                return Unreachable(f"cannot connect: {fault}")
            except (Rejected, Unavailable) as fault:
                return fault
            on_open()
            self._roster.greeted(connection)
            await self._converse(connection)
            return connection.reason or PeerLost("the connection broke")
        finally:
            await self._bury(connection)

    async def _converse(self, connection: Connection) -> None:
        """Tell the handler of the peer and hand on its frames until the connection is gone."""
        if connection.replaces is not None:
            await connection.replaces.finished.wait()
            connection.replaces = None
        peer = connection.peer
        logger.info("connected to %s at %s", peer.hex()[:16], connection.address)
        self._handler.connected(peer)
        try:
            await connection.pump(self._handler.deliver, self._handler.room)
        finally:
            self._roster.remove(connection)
            self._handler.disconnected(peer)

    async def _bury(self, connection: Connection) -> None:
        """Leave nothing of a connection behind, and remember a fault of its peer."""
        self._roster.greeted(connection)
        try:
            await connection.gone()
        finally:
            self._roster.remove(connection)
            self._roster.remember(connection)
            connection.finished.set()
