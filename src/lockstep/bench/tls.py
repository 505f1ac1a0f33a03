"""`lockstep bench tls`: what the sockets between two nodes cost each side, TLS included.

Two peer managers with one session on loopback: mutual TLS 1.3, uvloop, the product's own outbox and
decoder. Each lives in a thread with a loop of its own, so the CPU time of a side is that of its
thread. Encoding a message is part of sending it; what a receiver does with a frame is not measured.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, TypeVar

import uvloop
from msgspec import Struct

from lockstep.bench.frames import JOINED, encode_all, make_messages
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.errors import Fatal
from lockstep.net.attendant import PeerHandler
from lockstep.net.identity import NodeIdentity
from lockstep.net.manager import PeerManager, PeerSettings
from lockstep.primitives.messages import Message
from lockstep.primitives.params import DEVNET

HOST: Final = "127.0.0.1"
SMALL_TURNS: Final = 400
JOINED_TURNS: Final = 24
LARGE_TURNS: Final = 12
_LIMIT_S: Final = 10.0
_KB: Final = 1024

T = TypeVar("T")


class NoSession(Fatal):
    """The two ends of the benchmark did not come together, or fell apart."""

    code = "bench.no_session"


class Plan(Struct, frozen=True):
    """What one sample sends: these messages in one turn of the loop, so many turns."""

    messages: list[Message]
    turns: int

    @property
    def frames(self) -> int:
        """Return how many frames that is."""
        return len(self.messages) * self.turns

    @property
    def kilobytes(self) -> float:
        """Return how many KB of frames that is, headers included, TLS excluded."""
        return len(encode_all(self.messages)) * self.turns / _KB


class End(PeerHandler):
    """One node's network room in a thread of its own."""

    def __init__(self, name: str, *, dial: tuple[tuple[str, int], ...] = ()) -> None:
        """Take a port; nothing runs yet."""
        identity = NodeIdentity(sha256(name.encode()).digest())
        settings = PeerSettings(DEVNET.network, sha256(b"bench").digest(), (HOST, 0), dial)
        self.peer: Future[bytes] = Future()
        self._arrived: Future[float] = Future()
        self._missing = 0
        self._manager = PeerManager(
            identity, settings, allowed=lambda _: True, handler=self, height=lambda: 0
        )
        self._manager.bind()
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._live, name=f"bench-{name}", daemon=True)

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return self._manager.port

    def start(self) -> None:
        """Begin to listen and dial."""
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye and end the thread; nothing happens where it has ended."""
        if not self._thread.is_alive():
            return
        self._call(self._manager.close)
        self._thread.join(_LIMIT_S)

    def clock(self) -> float:
        """Return the seconds of CPU that the thread has used."""
        return self._call(self._clock)

    def expect(self, frames: int) -> Future[float]:
        """Wait for so many frames; the future holds the thread's clock when they have come."""
        self._arrived, self._missing = Future(), frames
        return self._arrived

    def send(self, plan: Plan) -> None:
        """Send all of a plan, each turn of it in a turn of the loop."""

        async def say() -> None:
            peer = self.peer.result(0)
            for _ in range(plan.turns):
                for message in plan.messages:
                    self._manager.send(peer, message)
                await asyncio.sleep(0)

        self._call(say)

    def deliver(self, peer: bytes, frames: list[bytes]) -> bool:  # noqa: ARG002 # One peer.
        """Count frames; there is one peer only."""
        self._missing -= len(frames)
        if not self._missing:
            self._arrived.set_result(time.thread_time())
        return True

    async def room(self, peer: bytes) -> None:
        """Return at once: there is room."""

    def connected(self, peer: bytes) -> None:
        """Note who the other end is."""
        self.peer.set_result(peer)

    def disconnected(self, peer: bytes) -> None:
        """Fail what waits for frames that will not come."""
        if not self._arrived.done():
            self._arrived.set_exception(NoSession(f"the session with {peer.hex()[:8]} is over"))

    async def _clock(self) -> float:
        return time.thread_time()

    def _call(self, make: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await make()

        loop = self._loop.result(_LIMIT_S)
        return asyncio.run_coroutine_threadsafe(run(), loop).result(_LIMIT_S)

    def _live(self) -> None:
        async def run() -> None:
            self._loop.set_result(asyncio.get_running_loop())
            await self._manager.run()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())


def run(request: Request) -> Report:
    """Measure single small frames, joined small frames, and large ones."""
    plans = make_plans()
    samples: dict[str, list[tuple[float, float]]] = {}
    with session() as (sender, receiver):
        for number in range(-1, request.repetitions):
            for name, plan in plans.items():
                sent, received = transfer(sender, receiver, plan)
                if number >= 0:
                    samples.setdefault(f"send {name}", []).append(sent)
                    samples.setdefault(f"receive {name}", []).append(received)
    figures = {name: summarise(found) for name, found in samples.items()}
    content = {
        "kilobytes_per_frame": {
            name: round(plan.kilobytes / plan.frames, 3) for name, plan in plans.items()
        },
        "us_per_kb": {name: figure.cpu for name, figure in figures.items()},
        "us_per_frame": {
            f"{way} {name}": round(figures[f"{way} {name}"].cpu * plan.kilobytes / plan.frames, 3)
            for name, plan in plans.items()
            for way in ("send", "receive")
        },
    }
    return Report(figures=figures, content=content, lines=_describe(figures, content))


def make_plans(*, divisor: int = 1) -> dict[str, Plan]:
    """Return what is sent, by name; `divisor` makes all of it shorter."""
    messages = make_messages()
    return {
        "small frames": Plan(messages["vote on 1 batch"], SMALL_TURNS // divisor),
        f"{JOINED} small frames joined": Plan(messages["joined votes"], JOINED_TURNS // divisor),
        "large frames": Plan(messages["batch of 400"], LARGE_TURNS // divisor),
    }


@contextmanager
def session() -> Iterator[tuple[End, End]]:
    """Lend two ends with an open session.

    Raises:
        NoSession: If they do not come together in time.
    """
    receiver = End("receiver")
    sender = End("sender", dial=((HOST, receiver.port),))
    ends = (sender, receiver)
    try:
        for end in ends:
            end.start()
        try:
            for end in ends:
                end.peer.result(_LIMIT_S)
        except TimeoutError as fault:
            raise NoSession(f"no session within {_LIMIT_S:g} s on {HOST}") from fault
        yield ends
    finally:
        for end in ends:
            end.stop()


def transfer(
    sender: End, receiver: End, plan: Plan
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Send a plan; return (CPU, wall) microseconds a KB of the sender and of the receiver.

    Raises:
        NoSession: If not all of it arrives in time.
    """
    wall = time.perf_counter()
    sender_cpu, receiver_cpu = sender.clock(), receiver.clock()
    arrived = receiver.expect(plan.frames)
    sender.send(plan)
    try:
        receiver_cpu = arrived.result(_LIMIT_S) - receiver_cpu
    except TimeoutError as fault:
        raise NoSession(f"{plan.frames} frames did not arrive within {_LIMIT_S:g} s") from fault
    sender_cpu = sender.clock() - sender_cpu
    wall = time.perf_counter() - wall
    per_us = 1e6 / plan.kilobytes
    return (sender_cpu * per_us, wall * per_us), (receiver_cpu * per_us, wall * per_us)


def _describe(figures: dict[str, Figure], content: dict[str, Any]) -> list[str]:
    lines = ["CPU microseconds a KB (10th to 90th percentile), and a frame, of one side"]
    for name, found in figures.items():
        lines.append(
            f"  {name.ljust(32)} {found.cpu:8.3f} ({found.cpu_low:.3f} to {found.cpu_high:.3f}),"
            f" {content['us_per_frame'][name]:8.3f}"
        )
    return lines
