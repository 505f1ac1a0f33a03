"""Nothing leaves before the commit that covers it, or any earlier one, has ended [F5, D1]."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import Fatal
from lockstep.node.inbox import Inbox
from lockstep.node.runtime import RECORDS_WAITING_MAX, TURN_EVENTS_MAX
from lockstep.primitives.messages import BlockPage, GetBlock, Status
from lockstep.replica.effects import (
    Broadcast,
    Effect,
    Penalise,
    Send,
    ServeBlock,
    SetTimer,
)
from lockstep.replica.events import Event, Persisted, Timer, TimerFired, TimerKind
from unit.node.runtime_world import (
    PEER,
    World,
    decided,
    drive,
    fire,
    persist,
    send,
    tell,
    until,
)

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


def test_what_was_promised_during_a_commit_is_said_with_the_next_one() -> None:
    world = World([[persist(0), send(0)], [persist(1), send(1)]])

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: len(world.core.events) == 1)
        world.core.promises = [persist(7), send(7)]
        world.inbox.put_now(fire(1))
        await until(lambda: len(world.core.events) == 2)
        assert world.tape == []
        assert world.core.promises, "a promise cannot leave while a commit is in flight"
        world.disk.gate.release()
        await until(lambda: not world.core.promises)
        world.disk.gate.release()
        await until(lambda: ("send", 7) in world.tape)

    drive(world, body)
    rows = [("disk", 0), ("send", 0), ("disk", 1), ("disk", 7), ("send", 1), ("send", 7)]
    assert world.tape == rows


def test_what_is_free_waits_for_no_commit() -> None:
    free = Broadcast(Status(9, bytes(32), 0), is_free=True)
    world = World([[persist(0), send(0), free]])

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: world.tape == [("send", 9)])
        world.disk.gate.release()
        await until(lambda: ("send", 0) in world.tape)

    drive(world, body)
    assert world.tape == [("send", 9), ("disk", 0), ("send", 0)]


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


def test_a_core_that_fails_stops_the_node_and_takes_no_further_event() -> None:
    world = World([[send(0)], [send(1)]])
    step = world.core.step

    def fail_at_once(event: Event, *, time_ms: int, is_gathering: bool) -> list[Effect]:
        effects = step(event, time_ms=time_ms, is_gathering=is_gathering)
        if event == fire(1):
            raise Fatal("an invariant is gone")
        return effects

    world.core.step = fail_at_once  # type: ignore[method-assign]  # The core of this test alone.

    async def body() -> None:
        for number in (0, 1, 0):
            world.inbox.put_now(fire(number))
        await until(lambda: len(world.core.events) == 2)
        for _ in range(50):
            await asyncio.sleep(0)

    with pytest.raises(Fatal, match="an invariant is gone"):
        drive(world, body)
    assert world.tape == [("send", 0)]
    assert world.core.events == [fire(0), fire(1)]
