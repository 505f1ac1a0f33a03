"""A runtime among parts that write down on one tape what they were told."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.node.inbox import Inbox
from lockstep.node.runtime import Runtime
from lockstep.primitives.messages import BlockPage, Message, Status
from lockstep.replica.effects import (
    BatchHeld,
    BlockDecided,
    Broadcast,
    Effect,
    Notice,
    Notify,
    Persist,
    Record,
    TransactionsDropped,
)
from lockstep.replica.events import Event, Timer, TimerFired, TimerKind

PEER = b"\x01" * 32
Tape = list[tuple[str, int]]


class Script:
    """A core whose step for the n-th event returns the n-th list of effects.

    `promises` is what it says when it is asked to speak next.
    """

    def __init__(self, steps: Sequence[list[Effect]] = ()) -> None:
        self.steps = list(steps)
        self.events: list[Event] = []
        self.promises: list[Effect] = []

    def speak(self, *, time_ms: int) -> list[Effect]:
        assert time_ms > 1_600_000_000_000
        promises, self.promises = self.promises, []
        return promises

    def step(self, event: Event, *, time_ms: int, is_gathering: bool) -> list[Effect]:
        assert time_ms > 1_600_000_000_000
        assert is_gathering, "the runtime says itself when it is time to speak"
        self.events.append(event)
        if isinstance(event, TimerFired) and event.timer.height < len(self.steps):
            return self.steps[event.timer.height]
        return []


class Disk:
    """A store whose commits end only when the test lets them; its rows go on the tape."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.gate = threading.Semaphore(0)
        self.fault: Exception | None = None
        self.threads: set[str] = set()
        self.lacks: str | None = None

    def shortage(self) -> str | None:
        return self.lacks

    def commit(self, records: Sequence[Record]) -> None:
        self.gate.acquire()
        self.threads.add(threading.current_thread().name)
        if self.fault is not None:
            raise self.fault
        for record in records:
            if isinstance(record, BatchHeld):
                self.tape.append(("disk", int.from_bytes(record.batch_id)))


class World:
    """Everything around the runtime, as one tape."""

    def __init__(self, steps: Sequence[list[Effect]] = ()) -> None:
        self.tape: Tape = []
        self.disk = Disk(self.tape)
        self.core = Script(steps)
        self.inbox = Inbox()
        self.asked: list[tuple[bytes, int]] = []
        self.pages: list[BlockPage] = []
        self.renewed = 0
        self.runtime = Runtime(
            inbox=self.inbox,
            core=self.core,
            store=self.disk,
            reader=self,
            peers=self,
            publish=self.publish,
            requests=self,
            observer=self,
        )

    def renew(self) -> None:
        self.renewed += 1

    def decided_page(self, height: int, page: int) -> tuple[bytes, int] | None:
        return (b"page", 3) if height == 1 and page < 3 else None

    def broadcast(self, message: Message) -> None:
        assert isinstance(message, Status)
        self.tape.append(("send", message.height))

    def send(self, peer: bytes, message: Message) -> None:
        assert peer == PEER
        if isinstance(message, BlockPage):
            self.pages.append(message)
        if isinstance(message, Status):
            self.tape.append(("send", message.height))

    def flush(self) -> None:
        """Nothing is queued here."""

    def penalise(self, peer: bytes, code: str) -> None:
        self.tape.append(("send", int(code)))

    def publish(self, notice: Notice) -> None:
        assert isinstance(notice, TransactionsDropped)
        self.tape.append(("tell", int(notice.code)))

    def ask(self, peer: bytes, height: int) -> None:
        self.asked.append((peer, height))

    def on_step(self, event: Event, effects: Sequence[Effect], seconds: float) -> None:
        assert seconds >= 0

    def on_spoken(self, effects: Sequence[Effect]) -> None:
        assert effects

    def on_commit(self, records: int, seconds: float) -> None:
        assert records > 0

    def on_lag(self, seconds: float) -> None:
        assert seconds >= 0


def fire(number: int) -> TimerFired:
    return TimerFired(Timer(TimerKind.FETCH, height=number))


def persist(number: int) -> Persist:
    return Persist(BatchHeld(number.to_bytes(32), b"", ()))


def send(number: int) -> Broadcast:
    return Broadcast(Status(number, bytes(32), 0))


def tell(number: int) -> Notify:
    return Notify(TransactionsDropped((), str(number)))


def decided(height: int) -> Persist:
    state = ChainState(height, b"", b"", 0, 0, 0, 0, 0, 0, 0, 0, b"", b"", b"", 0, b"")
    delta = CoinDelta(height, (), (), ())
    record = BlockDecided(None, None, delta, state, None, False, ())  # type: ignore[arg-type]  # No block is looked at.
    return Persist(record)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # The thing waited for is on a tape, not an event.
            await asyncio.sleep(0)


def drive(world: World, body: Callable[[], Awaitable[None]]) -> None:
    """Run the runtime around the body, then stop it in good order."""

    async def main() -> None:
        before = asyncio.all_tasks()
        running = asyncio.create_task(world.runtime.run())
        try:
            await body()
            world.disk.gate.release(1000)
            world.runtime.stop()
            await running
        finally:
            world.disk.gate.release(1000)
            running.cancel()
            await asyncio.wait([running])
        assert asyncio.all_tasks() == before

    asyncio.run(main())
