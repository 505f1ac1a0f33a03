"""Nothing leaves before the commit that covers it, or any earlier one, has ended [F5, D1]."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import Fatal
from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.node.inbox import Inbox
from lockstep.node.runtime import RECORDS_WAITING_MAX, TURN_EVENTS_MAX, Runtime
from lockstep.primitives.messages import BlockPage, GetBlock, Message, Status
from lockstep.replica.effects import (
    BatchHeld,
    BlockDecided,
    Broadcast,
    Effect,
    Notice,
    Notify,
    Penalise,
    Persist,
    Record,
    Send,
    ServeBlock,
    SetTimer,
    TransactionsDropped,
)
from lockstep.replica.events import Event, Persisted, Timer, TimerFired, TimerKind

PEER = b"\x01" * 32
Tape = list[tuple[str, int]]


class Script:
    """A core whose step for the n-th event returns the n-th list of effects."""

    def __init__(self, steps: Sequence[list[Effect]] = ()) -> None:
        self.steps = list(steps)
        self.events: list[Event] = []

    def step(self, event: Event, *, time_ms: int) -> list[Effect]:
        assert time_ms > 1_600_000_000_000
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

    def penalise(self, peer: bytes, code: str) -> None:
        self.tape.append(("send", int(code)))

    def publish(self, notice: Notice) -> None:
        assert isinstance(notice, TransactionsDropped)
        self.tape.append(("tell", int(notice.code)))

    def ask(self, peer: bytes, height: int) -> None:
        self.asked.append((peer, height))

    def on_step(self, event: Event, effects: Sequence[Effect], seconds: float) -> None:
        assert seconds >= 0

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
    state = ChainState(height, b"", b"", 0, 0, 0, 0, 0, 0, 0, 0, b"")
    delta = CoinDelta(height, (), (), ())
    record = BlockDecided(None, delta, state, None, False, ())  # type: ignore[arg-type]  # No block is looked at.
    return Persist(record)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    async with asyncio.timeout(5):
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


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(STEPS)
def test_what_leaves_is_covered_and_in_order(shapes: list[tuple[int, int, int, bool]]) -> None:
    steps: list[list[Effect]] = []
    for number, (records, sends, tells, _) in enumerate(shapes):
        effects: list[Effect] = [persist(number)] * records
        effects += [send(number)] * sends
        effects += [tell(number)] * tells
        steps.append(effects)
    world = World(steps)

    async def body() -> None:
        for number, (*_, release) in enumerate(shapes):
            world.inbox.put_now(fire(number))
            if release:
                world.disk.gate.release()
            await until(lambda number=number: len(world.core.events) > number)  # type: ignore[misc]  # Bound now.

    drive(world, body)
    expected = {(kind, n): steps[n].count(e(n)) for n in range(len(steps)) for kind, e in KINDS}
    assert {key: world.tape.count(key) for key in expected} == expected
    assert len(world.tape) == sum(expected.values())
    left = [(number, kind) for kind, number in world.tape if kind != "disk"]
    assert left == sorted(left)
    for place, (kind, number) in enumerate(world.tape):
        if kind != "disk":
            behind = [n for k, n in world.tape[place:] if k == "disk"]
            assert all(n > number for n in behind)
    assert world.disk.threads <= {"storage_0"}


KINDS: list[tuple[str, Callable[[int], Effect]]] = [
    ("disk", persist),
    ("send", send),
    ("tell", tell),
]


def test_steps_go_on_while_a_commit_is_in_flight_and_the_next_takes_all_that_waits() -> None:
    steps: list[list[Effect]] = [
        [persist(0), send(0)],
        [send(1)],
        [persist(2), tell(2)],
        [persist(3)],
        [send(4)],
    ]
    world = World(steps)

    async def body() -> None:
        for number in range(5):
            world.inbox.put_now(fire(number))
            await until(lambda number=number: len(world.core.events) > number)  # type: ignore[misc]  # Bound now.
        assert world.tape == []
        settled = asyncio.ensure_future(world.runtime.settled())
        world.disk.gate.release()
        # Step 1 made no record, so the first commit covers it too.
        await until(lambda: world.tape == [("disk", 0), ("send", 0), ("send", 1)])
        assert not settled.done()
        world.disk.gate.release()
        await settled
        assert world.tape[3:] == [("disk", 2), ("disk", 3), ("tell", 2), ("send", 4)]
        await world.runtime.settled()

    drive(world, body)


def test_a_step_without_records_is_carried_out_at_once_when_nothing_waits() -> None:
    world = World([[send(0), tell(0)]])

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: len(world.tape) == 2)
        assert world.tape == [("send", 0), ("tell", 0)]

    drive(world, body)


def test_a_decided_block_renews_the_readers_before_the_core_forgets() -> None:
    world = World([[decided(7), send(0)], [decided(8)], [decided(9)]])

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: len(world.core.events) == 1)
        world.inbox.put_now(fire(1))
        world.inbox.put_now(fire(2))
        await until(lambda: len(world.core.events) == 3)
        assert world.renewed == 0
        world.disk.gate.release()
        await until(lambda: Persisted(7) in world.core.events)
        assert world.renewed == 1
        world.disk.gate.release()
        await until(lambda: Persisted(9) in world.core.events)
        assert (world.renewed, Persisted(8) in world.core.events) == (2, False)

    drive(world, body)


def test_a_failing_disk_stops_the_node_and_nothing_it_should_cover_leaves() -> None:
    world = World([[persist(0), send(0)], [send(1)]])
    world.disk.fault = Fatal("the disk is gone")

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: len(world.core.events) == 1)
        world.inbox.put_now(fire(1))
        await until(lambda: len(world.core.events) == 2)

    with pytest.raises(Fatal, match="the disk is gone"):
        drive(world, body)
    assert world.tape == []


def test_a_slow_disk_makes_events_wait_and_not_records_pile_up() -> None:
    world = World([[persist(n), send(n)] for n in range(3 * RECORDS_WAITING_MAX)])

    async def body() -> None:
        for number in range(3 * RECORDS_WAITING_MAX):
            world.inbox.put_now(fire(number))
        await until(lambda: len(world.core.events) > RECORDS_WAITING_MAX)
        for _ in range(50):
            await asyncio.sleep(0)
        # One commit in flight, one full group behind it, and the turn that filled it.
        assert len(world.core.events) <= RECORDS_WAITING_MAX + 2 * TURN_EVENTS_MAX
        world.disk.gate.release(1000)
        await until(lambda: world.tape.count(("send", 3 * RECORDS_WAITING_MAX - 1)) == 1)

    drive(world, body)
    assert len(world.tape) == 6 * RECORDS_WAITING_MAX


def test_the_same_timer_set_again_replaces_the_first() -> None:
    first, other = Timer(TimerKind.PROPOSE, 1, 0), Timer(TimerKind.PROPOSE, 1, 1)
    world = World([[SetTimer(first, 1), SetTimer(first, 60_000), SetTimer(other, 2)]])

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: len(world.core.events) == 2)

    drive(world, body)
    assert world.core.events == [fire(0), TimerFired(other)]


def test_requests_for_blocks_are_noted_and_pages_served() -> None:
    effects: list[Effect] = [
        Send(PEER, GetBlock(5, 0)),
        ServeBlock(PEER, 1, 2),
        ServeBlock(PEER, 1, 3),
        ServeBlock(PEER, 2, 0),
        Penalise(PEER, "3"),
    ]
    world = World([effects])

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: bool(world.tape))

    drive(world, body)
    assert world.asked == [(PEER, 5)]
    assert world.pages == [BlockPage(1, 2, 3, b"page")]
    assert world.tape == [("send", 3)]


async def test_a_full_inbox_makes_those_outside_wait_but_never_the_node_itself() -> None:
    inbox = Inbox(events_max=2)
    await inbox.put(fire(0))
    await inbox.put(fire(1))
    waiting = asyncio.ensure_future(inbox.put(fire(2)))
    await asyncio.sleep(0)
    inbox.put_now(fire(3))
    assert (waiting.done(), len(inbox)) == (False, 3)
    assert [inbox.pop(), inbox.pop()] == [fire(0), fire(1)]
    await waiting
    assert [inbox.pop(), inbox.pop(), inbox.pop()] == [fire(3), fire(2), None]
