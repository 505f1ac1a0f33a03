"""Connections come, go, collide and come back; at the end nothing is left."""

import asyncio
import itertools
import socket

import msgspec
import pytest

from lockstep.errors import Misuse
from lockstep.net.greeting import Goodbye
from lockstep.net.manager import PortTaken
from lockstep.net.wire import encode_frame
from lockstep.primitives.messages import BlockPage, decode_message, encode_message
from lockstep.primitives.params import FRAME_BYTES_MAX
from net.conftest import Run
from net.party import HOST, LATE_S, QUICK, Party, Stranger, ask, identity_of, town, until


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_all_dial_all_at_once_and_one_connection_a_pair_stays(run: Run) -> None:
    async def scenario() -> None:
        ports = free_ports(5)
        async with town() as place:
            parties = [
                place.start(
                    Party(
                        number,
                        port=port,
                        dial=[(HOST, other) for other in ports if other != port],
                    )
                )
                for number, port in enumerate(ports, 1)
            ]

            def all_met() -> bool:
                return all(
                    party.has(*(other for other in parties if other is not party))
                    for party in parties
                )

            await until(all_met)
            await asyncio.sleep(0.3)  # Longer than any pause: nobody may dial again.
            assert all_met()
            for one, other in itertools.combinations(parties, 2):
                seen = next(info for info in one.manager.peers() if info.peer == other.key)
                assert seen.dialled == (one.key < other.key)
                assert one.handler.words(other.key).count("connected") <= 2
                one.manager.send(other.key, ask(5))
            await until(lambda: sum(len(party.handler.frames) for party in parties) == 10)

    run(scenario)


def test_two_addresses_of_one_peer_do_not_fight(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            listener = place.start(Party(1))
            port = listener.manager.port
            dialler = place.start(Party(2, dial=[(HOST, port), ("localhost", port)]))
            await until(lambda: dialler.has(listener) and listener.has(dialler))
            await asyncio.sleep(0.3)
            assert listener.handler.words(dialler.key) == ["connected"]
            assert sum(info.tries for info in dialler.manager.dials()) <= 3

    run(scenario)


def test_a_cut_connection_comes_back(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            listener = place.start(Party(1))
            dialler = place.start(Party(2, dial=[listener.address]))
            for turn in range(1, 6):
                await until(lambda: dialler.has(listener) and listener.has(dialler))
                cut = (listener, dialler)[turn % 2]
                cut.manager._roster.connections()[0].abort()
                await until(lambda: len(listener.handler.told) >= 2 * turn)  # noqa: B023 # Awaited here.
            await until(lambda: dialler.has(listener) and listener.has(dialler))
            for party, other in ((listener, dialler), (dialler, listener)):
                assert party.handler.words(other.key) == [
                    *["connected", "disconnected"] * 5,
                    "connected",
                ]
                assert party.manager.peers()[0].faults == 0, "a cut is nobody's fault"

    run(scenario)


def test_a_restarted_peer_is_met_again_on_its_address(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            (port,) = free_ports(1)
            dialler = place.start(Party(2, dial=[(HOST, port)]))
            await until(lambda: dialler.dial_code() == "net.unreachable")
            for _ in range(2):
                listener = place.start(Party(1, port=port))
                await until(lambda: dialler.has(listener))  # noqa: B023 # Awaited here.
                await listener.manager.close()
                await until(lambda: dialler.dial_code() == "net.unreachable")
            key = identity_of(1).public_key
            assert dialler.handler.words(key) == ["connected", "disconnected"] * 2

    run(scenario)


@pytest.mark.parametrize("instance", [b"s" * 16, b"t" * 16], ids=["same", "restarted"])
def test_a_newer_connection_of_a_peer_replaces_its_dead_one(run: Run, instance: bytes) -> None:
    async def scenario() -> None:
        async with town() as place:
            party = place.start(Party(1))
            ghost = identity_of(7)
            old = await Stranger.dial(party.address, ghost.client_context)
            await old.hello()
            await until(lambda: party.handler.words(ghost.public_key) == ["connected"])
            new = await Stranger.dial(party.address, ghost.client_context)
            await new.hello(instance=instance)
            farewell = await old.word()
            assert isinstance(farewell, Goodbye)
            assert farewell.code == "session.duplicate"
            await old.close()
            new.writer.write(encode_frame(encode_message(ask(4))))
            await until(lambda: party.handler.heights() == [4])
            assert party.handler.words(ghost.public_key) == [
                "connected",
                "disconnected",
                "connected",
            ]
            assert party.keys() == [ghost.public_key]
            await new.close()

    run(scenario)


def test_close_lets_what_was_said_leave_and_then_says_goodbye(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            leaver = place.start(Party(1))
            other = place.start(Party(2, dial=[leaver.address]))
            hand = await Stranger.dial(leaver.address, identity_of(7).client_context)
            await hand.hello()
            await until(lambda: other.has(leaver) and len(leaver.keys()) == 2)
            pages = [BlockPage(1, page, 6, bytes(900_000)) for page in range(6)]
            for page in pages:
                leaver.manager.broadcast(page)
            closing = asyncio.create_task(leaver.manager.close())
            for page in pages:
                frame = await hand.frame()
                assert frame
                assert decode_message(frame) == page
            goodbye = await hand.word()
            assert isinstance(goodbye, Goodbye)
            assert (goodbye.code, goodbye.sentence) == (
                "session.node_stops",
                "the node is stopping",
            )
            assert await hand.frame() is None
            await hand.close()
            await closing
            assert leaver.task
            assert leaver.task.done()
            await until(lambda: other.handler.words(leaver.key)[-1] == "disconnected")
            assert [decode_message(frame) for frame in other.handler.frames] == pages
            assert other.dial_code() in {"session.left", "net.unreachable"}
            with pytest.raises(OSError, match="onnect"):
                await Stranger.dial((HOST, leaver.manager.port), None)

    run(scenario)


def test_close_does_not_wait_for_a_peer_that_does_not_read(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            # Nor do missed PINGs end it.
            limits = msgspec.structs.replace(QUICK, close_s=0.2, ping_s=60)
            party = place.start(Party(1, limits=limits))
            lazy = await Stranger.dial(party.address, identity_of(7).client_context)
            await lazy.hello()
            mute = await Stranger.dial(party.address, None)
            lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]  # A full transport.
            await until(party.keys)
            for page in range(20):
                party.manager.broadcast(BlockPage(1, page, 20, bytes(1_000_000)))
            start_s = asyncio.get_running_loop().time()
            await party.manager.close()
            assert asyncio.get_running_loop().time() - start_s < LATE_S
            await lazy.close()
            await mute.close()

    run(scenario)


def test_a_busy_handler_stops_the_reading_and_nothing_is_lost(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            limits = msgspec.structs.replace(QUICK, read_ahead_bytes=200_000, ping_s=0.03)
            busy = place.start(Party(1, limits=limits))
            sender = place.start(Party(2, dial=[busy.address], limits=limits))
            await until(lambda: busy.has(sender) and sender.has(busy))
            busy.handler.gate.clear()
            pages = [BlockPage(1, page, 500, bytes(50_000)) for page in range(500)]
            for page in pages:
                sender.manager.broadcast(page)
            # Long enough for many missed PINGs: who is not read is not taken for dead.
            await asyncio.sleep(0.5)
            assert busy.handler.frames == []
            assert busy.manager.peers()[0].bytes_in < 1_500_000
            assert sender.manager.peers()[0].queued_bytes > 5_000_000
            busy.handler.gate.set()
            await until(lambda: len(busy.handler.frames) == 500)
            assert [decode_message(frame) for frame in busy.handler.frames] == pages
            assert busy.handler.words(sender.key) == ["connected"]

    run(scenario)


def test_a_fault_of_the_handler_ends_the_manager(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            sender = place.start(Party(1))
            broken = Party(2, dial=[sender.address])
            broken.handler.fault = ZeroDivisionError("a defect")
            running = asyncio.create_task(broken.manager.run())
            await until(lambda: sender.has(broken))
            sender.manager.broadcast(ask(1))
            with pytest.raises(ExceptionGroup) as caught:
                await running
            assert caught.group_contains(ZeroDivisionError)
            assert broken.handler.words(sender.key) == ["connected", "disconnected"]

    run(scenario)


def test_a_defect_in_a_callback_ends_the_manager(run: Run) -> None:
    """The loop only logs what a protocol's callback raises; a node must not go on with it."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _told: None)
        async with town() as place:
            broken = Party(1)
            broken.manager._roster.judge = fail  # type: ignore[assignment]  # Planted.
            running = asyncio.create_task(broken.manager.run())
            place.start(Party(2, dial=[broken.address]))
            with pytest.raises(ExceptionGroup) as caught:
                await running
            assert caught.group_contains(ZeroDivisionError)

    run(scenario)


def test_a_cancelled_manager_leaves_nothing(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            other = place.start(Party(1))
            doomed = Party(2, dial=[other.address, (HOST, 1)])
            running = asyncio.create_task(doomed.manager.run())
            await until(lambda: other.has(doomed) and doomed.has(other))
            silent = await Stranger.dial(doomed.address, None)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert await silent.frame() is None
            await silent.close()
            assert doomed.keys() == []
            await until(lambda: other.handler.words(doomed.key)[-1] == "disconnected")

    run(scenario)


def test_a_taken_port_is_told_before_anything_runs() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"{HOST}:{port}") as caught:
            asyncio.run(make_party(port))
        assert caught.value.hint


async def make_party(port: int) -> None:
    Party(1, port=port)


def test_a_message_above_the_cap_is_our_mistake(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            one = place.start(Party(1))
            two = place.start(Party(2, dial=[one.address]))
            await until(lambda: one.has(two))
            with pytest.raises(Misuse):
                one.manager.broadcast(BlockPage(1, 0, 1, bytes(FRAME_BYTES_MAX)))
            assert one.has(two)

    run(scenario)
