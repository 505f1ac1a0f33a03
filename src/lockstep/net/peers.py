"""What is decided about peers without touching one: bounds, pauses, slots, which duplicate stays.

Pure: the time and the dice come in. Nothing here survives a restart, and no score is for ever.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")

FAULTS_FORGOTTEN_S: Final = 600.0
COOLING_FIRST_S: Final = 1.0
COOLING_MAX_S: Final = 60.0


class PeerLimits(Struct, frozen=True):
    """Bounds and pauses of the network room; the defaults are for the real world.

    Attributes:
        handshake_s: From the accepted or dialled socket to an open session, in all.
        ping_s: Least pause between two PINGs; up to twice as much with jitter.
        missed_max: PINGs in a row after which a peer that says nothing at all is gone.
        close_s: How long what was said may take to leave before the socket is cut.
        queue_bytes_max: Unsent bytes to one peer; one more closes the connection.
        read_ahead_bytes: Undelivered bytes from one peer at which reading pauses.
        peers_max: Open sessions.
        handshakes_max: Unfinished inbound handshakes; the oldest makes room.
        handshakes_per_ip: The same from one IP address.
        redial_first_s: Pause before the first new try; doubles from there.
        redial_max_s: Longest pause between two tries.
        settled_s: A session that lasted so long makes the next pause the first again.
    """

    handshake_s: float = 10.0
    ping_s: float = 5.0
    missed_max: int = 3
    close_s: float = 2.0
    queue_bytes_max: int = 64 * 1024 * 1024
    read_ahead_bytes: int = 1024 * 1024
    peers_max: int = 1100
    handshakes_max: int = 256
    handshakes_per_ip: int = 64
    redial_first_s: float = 0.25
    redial_max_s: float = 8.0
    settled_s: float = 5.0


class Backoff:
    """Pauses that double up to a bound, each shortened by up to half by the dice."""

    __slots__ = ("_first_s", "_jitter", "_max_s", "_pause_s")

    def __init__(self, first_s: float, max_s: float, jitter: Callable[[], float]) -> None:
        """Start with `first_s`; `jitter` draws from 0 to 1."""
        self._first_s = first_s
        self._max_s = max_s
        self._jitter = jitter
        self._pause_s = first_s

    def next_s(self) -> float:
        """Return the next pause in seconds."""
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._max_s)
        return pause_s * (1 - self._jitter() / 2)

    def reset(self) -> None:
        """Make the next pause the first again."""
        self._pause_s = self._first_s


class _Record(Struct):
    faults: int
    last_s: float


class Conduct:
    """Faults counted per node key, and how long each keeps its peer away.

    Only keys that a connection proved are counted, so nobody can spoil another's name, and only
    keys this node allows, so the table is as small as the set of them.
    """

    __slots__ = ("_records",)

    def __init__(self) -> None:
        self._records: dict[bytes, _Record] = {}

    def add_fault(self, peer: bytes, now_s: float) -> None:
        """Count one more fault; after a long quiet time the count begins anew."""
        faults = self.faults(peer, now_s)
        self._records[peer] = _Record(faults + 1, now_s)

    def faults(self, peer: bytes, now_s: float) -> int:
        """Return how many faults are not forgotten yet."""
        record = self._records.get(peer)
        if record is None or now_s - record.last_s > FAULTS_FORGOTTEN_S:
            return 0
        return record.faults

    def cooling_s(self, peer: bytes, now_s: float) -> float:
        """Return for how many seconds yet the peer is not to be talked to."""
        faults = self.faults(peer, now_s)
        if faults == 0:
            return 0.0
        pause_s = min(COOLING_FIRST_S * (1 << min(faults - 1, 16)), COOLING_MAX_S)
        return max(0.0, self._records[peer].last_s + pause_s - now_s)


class Arrivals(Generic[T]):
    """Unfinished inbound handshakes, oldest first; when there are too many the oldest goes.

    An honest handshake takes milliseconds, so the oldest is the one least likely to be honest, and
    strangers who open connections and fall silent cannot keep anybody out.
    """

    __slots__ = ("_arrivals", "_per_ip_max", "_total_max")

    def __init__(self, *, total_max: int, per_ip_max: int) -> None:
        self._arrivals: dict[T, str] = {}
        self._total_max = total_max
        self._per_ip_max = per_ip_max

    def add(self, arrival: T, ip: str) -> T | None:
        """Take a new one in; return the one that has to make room, if any has."""
        victim: T | None = None
        same = [other for other, place in self._arrivals.items() if place == ip]
        if len(same) >= self._per_ip_max:
            victim = same[0]
        elif len(self._arrivals) >= self._total_max:
            victim = next(iter(self._arrivals))
        if victim is not None:
            del self._arrivals[victim]
        self._arrivals[arrival] = ip
        return victim

    def remove(self, arrival: T) -> None:
        """Forget one that is through, or gone; nothing happens if it is not there."""
        self._arrivals.pop(arrival, None)


class Link(Struct, frozen=True):
    """What decides between two connections to one peer."""

    dialled: bool
    instance: bytes


def stays(old: Link, new: Link, *, own_key: bytes, peer_key: bytes) -> bool:
    """Tell whether the old connection to a peer stays and the new one has to go.

    Both ends answer alike when both nodes dialled at once: the connection that the lower key
    dialled stays. In two cases the old one is dead and its end merely has not been noticed: the
    peer's process is another one, or the same side dialled again.
    """
    if old.instance != new.instance or old.dialled == new.dialled:
        return False
    return old.dialled == (own_key < peer_key)
