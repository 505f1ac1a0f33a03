"""The event stream: what is said, to whom, and what becomes of who does not listen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fake_node import FakeNode, make_confirm, make_hash, until
from lockstep.client.async_client import RpcClient
from lockstep.client.envelope import read_authorization
from lockstep.primitives import codec
from lockstep.primitives.votes import Vote
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    Notice,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.rpc.stream import (
    QUEUE_BYTES_MAX,
    QUEUE_EVENTS_MAX,
    SUBSCRIBERS_MAX,
    EventKind,
    EventStream,
    TooManySubscribers,
)

TXID = make_hash("t")
FINAL = TransactionsFinal((TXID,), 2, 3, (make_confirm(0), make_confirm(1), make_confirm(2)))
NOTICES: list[Notice] = [
    TransactionsAccepted((TXID,), (True,)),
    TransactionsRefused(((TXID, "tx.fee", "low"),)),
    FINAL,
    TransactionsDropped((TXID,), "tx.conflict"),
    BlockAdded(5, make_hash("b"), 2, True, 99, (TXID,), 1, False),
    Alarm("alarm.test", "a test"),
]


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def subscribe(node: FakeNode, query: str = "", **headers: str) -> connect:
    right = {"Authorization": read_authorization(node.cookie_path)}
    url = f"ws://127.0.0.1:{node.port}/ws?{query}"
    return connect(url, additional_headers=right | headers, compression=None, proxy=None)


async def read(socket: ClientConnection) -> Any:
    return msgspec.json.decode(await socket.recv())


async def all_of(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """Yield messages until the connection ends, whatever the close code."""
    with suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


async def test_every_notice_is_told_in_order(node: FakeNode) -> None:
    async with node.serving(), subscribe(node) as socket:
        assert (await read(socket))["event"] == "subscribed"
        for notice in NOTICES:
            node.service.hear(notice)
        events = [await read(socket) for _ in EventKind]
    assert [event["event"] for event in events] == [
        "accepted",
        "refused",
        "final",
        "dropped",
        "block_transactions",
        "block",
        "alarm",
    ]
    final, block = events[2], events[5]
    assert (final["txids"], final["epoch"], final["weight"]) == ([TXID.hex()], 2, 3)
    assert "confirms" not in final
    assert (block["height"], block["transactions"], block["closing"]) == (5, 1, True)


async def test_only_what_was_asked_for_is_told_with_its_proof(node: FakeNode) -> None:
    async with node.serving(), subscribe(node, "events=final,block&confirms=1") as socket:
        assert (await read(socket))["events"] == ["block", "final"]
        for notice in NOTICES:
            node.service.hear(notice)
        final, block = await read(socket), await read(socket)
    assert (final["event"], block["event"]) == ("final", "block")
    raws = [bytes.fromhex(text) for text in final["confirms"]]
    assert tuple(codec.decode(Vote, raw, size_max=999) for raw in raws) == FINAL.confirms


async def test_a_wrong_name_or_cookie_is_refused_before_the_handshake(node: FakeNode) -> None:
    async with node.serving():
        for status, query, headers in [
            (400, "events=finale", {}),
            (401, "", {"Authorization": "Basic eDp5"}),
            (403, "", {"Origin": "https://evil.example"}),
        ]:
            with pytest.raises(InvalidStatus) as refused:
                async with subscribe(node, query, **headers):
                    pass
            assert refused.value.response.status_code == status


async def test_who_does_not_read_is_dropped_and_told_so(node: FakeNode) -> None:
    notice = TransactionsAccepted(tuple(make_hash(str(i)) for i in range(2_000)), (True,) * 2_000)
    async with node.serving(), subscribe(node, "events=accepted,block") as socket:
        await read(socket)
        # Nothing is read while more comes than the queue and all buffers on the way hold.
        for _ in range(400):
            node.service.hear(notice)
            await asyncio.sleep(0)
        events = [msgspec.json.decode(message) async for message in all_of(socket)]
        assert events[-1]["event"] == "overrun"
        assert events[-1]["lost"] + len(events) - 1 <= 400
        assert socket.close_code == 1013
        async with subscribe(node, "events=block") as again:
            await read(again)
            node.service.hear(NOTICES[4])
            assert (await read(again))["event"] == "block"


async def test_who_leaves_is_forgotten(node: FakeNode) -> None:
    async with node.serving():
        async with subscribe(node) as socket:
            await read(socket)
            assert len(node.service.events._subscribers) == 1
        await until(lambda: not node.service.events._subscribers)


async def test_a_stop_is_told_to_subscribers(node: FakeNode) -> None:
    async with node.serving(), subscribe(node) as socket:
        await read(socket)
        node.service.request_stop()
        assert (await read(socket))["event"] == "stopping"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_a_dead_subscriber_does_not_hold_up_the_stop(node: FakeNode) -> None:
    notice = TransactionsAccepted(tuple(make_hash(str(i)) for i in range(2_000)), (True,) * 2_000)
    loop = asyncio.get_running_loop()
    socket = None
    try:
        async with node.serving():
            async with RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
                assert await client.call("getblockcount") == 0
            socket = await subscribe(node)
            for _ in range(200):
                node.service.hear(notice)
                await asyncio.sleep(0)
            started = loop.time()
        assert loop.time() - started < 8
    finally:
        if socket is not None:
            socket.transport.abort()


async def test_a_queue_is_bounded_in_events_and_in_bytes() -> None:
    stream = EventStream()
    many = stream.subscribe(["final"], confirms=False)
    for _ in range(QUEUE_EVENTS_MAX + 5):
        stream.publish(FINAL)
    first = await many.next()
    assert first is not None
    assert msgspec.json.decode(first)["lost"] == QUEUE_EVENTS_MAX + 1
    assert await many.next() is None
    large = stream.subscribe([], confirms=True)
    large.offer(bytes(QUEUE_BYTES_MAX))
    assert await large.next() == bytes(QUEUE_BYTES_MAX)
    large.offer(bytes(QUEUE_BYTES_MAX))
    large.offer(b"x")
    last = await large.next()
    assert last is not None
    assert msgspec.json.decode(last)["event"] == "overrun"


def test_subscribers_are_bounded() -> None:
    stream = EventStream()
    subscribers = [stream.subscribe([], confirms=False) for _ in range(SUBSCRIBERS_MAX)]
    with pytest.raises(TooManySubscribers):
        stream.subscribe([], confirms=False)
    stream.unsubscribe(subscribers[0])
    stream.subscribe([], confirms=False)
