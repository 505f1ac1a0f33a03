"""Simulated links and connections keep the rules of the transport they stand for."""

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from lockstep.sim.clock import Clock
from lockstep.sim.links import Links
from lockstep.sim.network import Network
from lockstep.sim.options import Options


class Listener:
    """A node that writes down what it hears."""

    def __init__(self) -> None:
        self.is_up = True
        self.heard: list[tuple[str, int] | tuple[int, bytes]] = []

    def on_connected(self, peer: int) -> None:
        self.heard.append(("up", peer))

    def on_disconnected(self, peer: int) -> None:
        self.heard.append(("down", peer))

    def on_frames(self, frames: Sequence[tuple[int, bytes]]) -> None:
        self.heard.extend(frames)


class Cable:
    """Two listeners and the network between them."""

    def __init__(self, options: Options, seed: int = 0) -> None:
        self.clock = Clock()
        self.links = Links(2, options, Random(seed))
        self.network = Network(self.clock, self.links, Random(seed))
        self.ends = [Listener(), Listener()]
        self.network.attach(self.ends)
        self.network.heal(within_ms=1)
        self.run(1)
        for end in self.ends:
            end.heard.clear()

    def run(self, milliseconds: int) -> None:
        until_ms = self.clock.now_ms + milliseconds
        self.clock.at(until_ms, lambda: None)
        while self.clock.now_ms < until_ms:
            self.clock.advance()


@given(st.integers(0, 2**32), st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_quiet_link_delivers_everything_in_order(seed: int, pauses_ms: list[int]) -> None:
    cable = Cable(Options(delay_ms=40, jitter_ms=60), seed)
    sent = []
    for number, pause_ms in enumerate(pauses_ms):
        cable.network.broadcast(0, bytes([number]))
        sent.append((0, bytes([number])))
        cable.run(pause_ms + 1)
    cable.run(200)
    assert cable.ends[1].heard == sent
    assert cable.ends[0].heard == []


def test_lossy_link_loses_and_repeats_until_it_is_healed() -> None:
    cable = Cable(Options(loss_percent=30, duplicate_percent=30))
    for number in range(200):
        cable.network.send(0, 1, bytes([number]))
    cable.run(2_000)
    arrived = [frame[1] for frame in cable.ends[1].heard]
    assert 90 < len(set(arrived)) < 190
    assert len(arrived) > len(set(arrived)) + 20
    assert cable.links.lost == 200 - len(set(arrived))
    cable.links.is_faulty = False
    cable.ends[1].heard.clear()
    for number in range(200):
        cable.network.send(0, 1, bytes([number]))
    cable.run(2_000)
    assert cable.ends[1].heard == [(0, bytes([number])) for number in range(200)]


def test_frames_of_a_broken_connection_never_arrive_on_the_next() -> None:
    cable = Cable(Options(delay_ms=400, jitter_ms=1), seed=4)
    cable.network.send(0, 1, b"old")
    cable.network.forget(0)
    cable.network.reach_out(0, within_ms=1)
    cable.run(1)
    cable.network.send(0, 1, b"new")
    cable.run(1_000)
    assert cable.ends[1].heard == [("down", 0), ("up", 0), (0, b"new")]


def test_partition_is_noticed_late_and_healed() -> None:
    cable = Cable(Options())
    cable.network.cut([(0, 1)], noticed_ms=2_000)
    cable.network.send(0, 1, b"lost")
    cable.network.send(1, 0, b"heard")
    cable.network.reach_out(0, within_ms=1)
    cable.run(2_100)
    assert cable.ends[0].heard[-1] == ("down", 1)
    assert cable.ends[1].heard == [("down", 0)]
    cable.network.heal(within_ms=10)
    cable.run(20)
    assert cable.ends[1].heard[-1] == ("up", 0)


def test_node_that_is_down_hears_nothing_and_is_not_connected() -> None:
    cable = Cable(Options())
    cable.network.send(0, 1, b"late")
    cable.ends[1].is_up = False
    cable.network.forget(1)
    cable.network.reach_out(0, within_ms=5)
    cable.run(1_000)
    assert cable.ends[1].heard == []
    assert cable.ends[0].heard == [("down", 1)]
