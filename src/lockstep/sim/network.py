"""Simulated connections: who knows that it is connected to whom, and the frames between them.

Each pair has at most one living connection, with a number that grows at each reconnect. A node that
crashed or was cut off is noticed by the other side late, as over a real transport. Frames that
arrive at one node in the same millisecond are handed over together, as one read of a socket does.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Protocol

from lockstep.sim.clock import Clock
from lockstep.sim.links import Direction, Links


class Endpoint(Protocol):
    """What the network asks of a node."""

    @property
    def is_up(self) -> bool:
        """Tell whether the node runs."""
        ...

    def on_connected(self, peer: int) -> None:
        """Learn that a peer can be reached."""
        ...

    def on_disconnected(self, peer: int) -> None:
        """Learn that a peer is gone."""
        ...

    def on_frames(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Take frames, each with the index of the peer it came from."""
        ...


class Network:
    """All connections of a world.

    Attributes:
        links: What they run over.
    """

    def __init__(self, clock: Clock, links: Links, dice: Random) -> None:
        """Connect nobody yet."""
        self._clock = clock
        self.links = links
        self._dice = dice
        self._endpoints: list[Endpoint] = []
        self._numbers: dict[Direction, int] = {}
        self._broken: dict[Direction, None] = {}
        self._known: list[dict[int, int]] = []
        self._arriving: dict[tuple[int, int], list[tuple[int, int, bytes]]] = {}

    def attach(self, endpoints: Sequence[Endpoint]) -> None:
        """Take the nodes in, by index."""
        self._endpoints = list(endpoints)
        self._known = [{} for _ in endpoints]

    def broadcast(self, sender: int, data: bytes) -> None:
        """Send a frame to every peer that the sender knows to be connected."""
        for receiver in self._known[sender]:
            self.send(sender, receiver, data)

    def send(self, sender: int, receiver: int, data: bytes) -> None:
        """Send a frame to one peer; it is lost where the sender has no connection."""
        number = self._known[sender].get(receiver)
        if number is None:
            return
        for time_ms in self.links.arrivals(sender, receiver, self._clock.now_ms):
            key = (receiver, time_ms)
            frames = self._arriving.get(key)
            if frames is None:
                frames = self._arriving[key] = []
                self._clock.at(time_ms, self._deliver, key)
            frames.append((sender, number, data))

    def reach_out(self, node: int, *, within_ms: int) -> None:
        """Let a node connect to every other one, each after a time drawn up to `within_ms`."""
        for peer in range(len(self._endpoints)):
            if peer != node:
                delay_ms = self._dice.randint(1, within_ms)
                self._clock.after(delay_ms, self._connect, min(node, peer), max(node, peer))

    def forget(self, node: int) -> None:
        """Take it that a node crashed: it knows nobody; the others notice within half a second."""
        self._known[node] = {}
        for peer in range(len(self._endpoints)):
            if peer != node:
                self._break(node, peer, noticed_ms=500)

    def cut(self, directions: Iterable[Direction], *, noticed_ms: int) -> None:
        """Block these directions; their connections are given up within the time."""
        cut = list(directions)
        self.links.block(cut)
        pairs = dict.fromkeys((min(pair), max(pair)) for pair in cut)
        for one, other in pairs:
            self._break(one, other, noticed_ms=noticed_ms)

    def heal(self, *, within_ms: int) -> None:
        """Open all links again and connect who is not connected, each pair after a time."""
        self.links.unblock()
        count = len(self._endpoints)
        for one in range(count):
            for other in range(one + 1, count):
                delay_ms = self._dice.randint(1, within_ms)
                self._clock.after(delay_ms, self._connect, one, other)

    def _deliver(self, key: tuple[int, int]) -> None:
        receiver = key[0]
        frames = self._arriving.pop(key)
        endpoint = self._endpoints[receiver]
        if not endpoint.is_up:
            return
        known = self._known[receiver]
        endpoint.on_frames(
            [(sender, data) for sender, number, data in frames if known.get(sender) == number]
        )

    def _break(self, one: int, other: int, *, noticed_ms: int) -> None:
        pair = (min(one, other), max(one, other))
        self._broken[pair] = None
        number = self._numbers.get(pair, 0)
        for node, peer in (pair, pair[::-1]):
            if self._known[node].get(peer) == number:
                delay_ms = self._dice.randint(1, noticed_ms)
                self._clock.after(delay_ms, self._lose, node, peer, number)

    def _lose(self, node: int, peer: int, number: int) -> None:
        if self._known[node].get(peer) == number:
            del self._known[node][peer]
            if self._endpoints[node].is_up:
                self._endpoints[node].on_disconnected(peer)

    def _connect(self, one: int, other: int) -> None:
        """Make a new connection unless the last one lives, or a side is down or cut off."""
        pair = (one, other)
        ends = self._endpoints
        if not (ends[one].is_up and ends[other].is_up and self.links.is_open(one, other)):
            return
        number = self._numbers.get(pair, 0)
        if number and pair not in self._broken:
            return
        self._broken.pop(pair, None)
        for node, peer in (pair, pair[::-1]):
            if peer in self._known[node]:
                self._lose(node, peer, self._known[node][peer])
        self._numbers[pair] = number + 1
        for node, peer in (pair, pair[::-1]):
            self._known[node][peer] = number + 1
        for node, peer in (pair, pair[::-1]):
            ends[node].on_connected(peer)
