"""A node whose disk is full says nothing new, loses nothing, and goes on when there is room."""

import asyncio
from contextlib import suppress

import pytest

from lockstep.node import runtime
from lockstep.rpc.faults import NoRoom
from lockstep.storage.faults import DiskFull
from unit.node.runtime_world import (
    World,
    drive,
    fire,
    persist,
    send,
    until,
)


def test_a_nearly_full_disk_makes_events_wait_with_nothing_in_memory_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "ROOM_INTERVAL_S", 0)
    world = World([[persist(0), send(0)], [persist(1), send(1)]])
    world.disk.lacks = "nearly full"
    world.disk.gate.release(2)

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: world.runtime.shortage() == "nearly full")
        world.inbox.put_now(fire(1))
        for _ in range(50):
            await asyncio.sleep(0)
        # What was done is on the disk and told; nothing else is done.
        assert world.tape == [("disk", 0), ("send", 0)]
        assert len(world.core.events) == 1
        await world.runtime.settled()
        world.disk.lacks = None
        await until(lambda: world.tape[2:] == [("disk", 1), ("send", 1)])
        assert world.runtime.shortage() is None

    drive(world, body)


def test_a_commit_that_finds_no_room_is_tried_until_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime, "ROOM_INTERVAL_S", 0)
    world = World([[persist(0), send(0)], [persist(1), send(1)]])
    world.disk.fault = DiskFull("the disk is full")
    world.disk.gate.release(1000)

    async def body() -> None:
        world.inbox.put_now(fire(0))
        settled = asyncio.ensure_future(world.runtime.settled())
        await until(lambda: world.runtime.shortage() is not None)
        world.inbox.put_now(fire(1))
        for _ in range(50):
            await asyncio.sleep(0)
        assert world.tape == []
        # Nobody is told what is not on the disk, and nobody waits for it.
        with suppress(NoRoom):
            await settled
        with pytest.raises(NoRoom):
            await world.runtime.settled()
        world.disk.fault = None
        await until(lambda: len(world.tape) == 4)
        assert world.tape == [("disk", 0), ("send", 0), ("disk", 1), ("send", 1)]
        await world.runtime.settled()

    drive(world, body)


def test_a_stop_does_not_wait_for_room() -> None:
    world = World([[persist(0), send(0)]])
    world.disk.fault = DiskFull("the disk is full")
    world.disk.gate.release(1000)

    async def body() -> None:
        world.inbox.put_now(fire(0))
        await until(lambda: world.runtime.shortage() is not None)

    with pytest.raises(DiskFull):
        drive(world, body)
    assert world.tape == []
