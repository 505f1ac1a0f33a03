"""Both clients against a real server: answers, faults, a restarted node, event streams."""

import asyncio
import socket
from decimal import Decimal
from pathlib import Path

import pytest

from fake_node import LOCK, FakeNode, make_hash, make_payment, make_pending
from lockstep.client.async_client import RpcClient
from lockstep.client.faults import (
    BadAnswer,
    NoCookie,
    NodeSlow,
    NodeUnreachable,
    NotAuthorized,
    RpcError,
    SubscriptionLost,
)
from lockstep.client.sync_client import SyncRpcClient
from lockstep.crypto.address import format_address
from lockstep.ledger.coins import Coin
from lockstep.primitives.codec import encode
from lockstep.primitives.ids import AMOUNT_MAX, make_outpoint
from lockstep.primitives.transaction import make_txid
from lockstep.replica.effects import TransactionsFinal


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_largest_amount_comes_through_both_clients(node: FakeNode) -> None:
    node.readers.coins[make_outpoint(make_hash("c"), 0)] = Coin(AMOUNT_MAX, LOCK, 0)
    addresses = [format_address("dls", LOCK)]

    def ask() -> list[dict[str, object]]:
        with SyncRpcClient("127.0.0.1", node.port, node.cookie_path) as client:
            return list(client.pages("listunspent", addresses=addresses))

    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        mine = [item async for item in client.pages("listunspent", addresses=addresses)]
        assert mine == await asyncio.to_thread(ask)
    assert mine[0]["amount"] == Decimal("92233720368.54775807")
    assert mine[0]["amount_units"] == AMOUNT_MAX


async def test_faults_come_typed(node: FakeNode) -> None:
    raw = encode(make_payment("a", memo=b"tx.dust"))
    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        with pytest.raises(RpcError, match="refused by the test") as fault:
            await client.call("sendrawtransaction", raw.hex())
        assert (fault.value.number, fault.value.code) == (-26, "tx.dust")
        with pytest.raises(RpcError) as fault:
            await client.call("nothing")
        assert (fault.value.number, bool(fault.value.hint)) == (-32601, True)
        assert RpcError.code == "rpc.error"


async def test_many_are_submitted_at_once(node: FakeNode) -> None:
    payments = [make_payment(str(i)) for i in range(400)]
    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        answers = await client.submit([encode(payment) for payment in payments])
    assert [answer.txid for answer in answers] == [make_txid(p.body).hex() for p in payments]
    assert all(answer.accepted for answer in answers)


async def test_long_bodies_are_sent_whole(node: FakeNode) -> None:
    payments = [make_payment(str(i), memo=b"") for i in range(400)]
    raws = [encode(payment) + bytes(2_000) for payment in payments]
    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        answers = await client.submit(raws)
    assert [answer.code for answer in answers] == ["bytes.malformed"] * 400


async def test_a_restarted_node_is_found_again_with_its_new_cookie(tmp_path: Path) -> None:
    port = free_port()
    client = RpcClient("127.0.0.1", port, tmp_path / ".cookie")
    plain = SyncRpcClient("127.0.0.1", port, tmp_path / ".cookie")
    for _ in range(2):
        async with FakeNode(tmp_path).serving(port):
            assert await client.call("getblockcount") == 0
            assert await asyncio.to_thread(plain.call, "getblockcount") == 0
            status, body = await asyncio.to_thread(plain.get, "/readyz")
            assert (status, b"ready" in body) == (200, True)
    await client.close()
    plain.close()


async def test_long_answers_reach_the_plain_client(node: FakeNode) -> None:
    for i in range(300):
        pending = make_pending(make_payment(str(i)))
        node.view.pendings[pending.txid] = pending

    def ask() -> list[str]:
        with SyncRpcClient("127.0.0.1", node.port, node.cookie_path) as client:
            return list(client.pages("getrawmempool"))

    async with node.serving():
        assert len(await asyncio.to_thread(ask)) == 300


async def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / ".cookie").write_text("__cookie__:x")
    async with RpcClient("127.0.0.1", free_port(), tmp_path / ".cookie") as client:
        with pytest.raises(NodeUnreachable):
            await client.call("getblockcount")
        with pytest.raises(NodeUnreachable):
            await anext(client.events())
    with pytest.raises(NodeUnreachable):
        SyncRpcClient("127.0.0.1", free_port(), tmp_path / ".cookie").call("getblockcount")
    with pytest.raises(NoCookie):
        SyncRpcClient("127.0.0.1", 1, tmp_path / "none").call("getblockcount")


async def test_a_wrong_cookie_and_a_stranger(node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("__cookie__:x")
    async with node.serving():
        async with RpcClient("127.0.0.1", node.port, tmp_path / "wrong") as client:
            with pytest.raises(NotAuthorized):
                await client.call("getblockcount")
            with pytest.raises(NotAuthorized):
                await anext(client.events())
        async with RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
            with pytest.raises(BadAnswer):
                await anext(client.events("finale"))

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhey!")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(stranger, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, RpcClient("127.0.0.1", port, tmp_path / "wrong") as client:
        with pytest.raises(BadAnswer):
            await client.call("getblockcount")


async def test_an_answer_that_does_not_come(node: FakeNode) -> None:
    async with node.serving():
        client = RpcClient("127.0.0.1", node.port, node.cookie_path, timeout_s=0.05)
        with pytest.raises(NodeSlow):
            await client.call("waittransactionfinality", "ab" * 32, 60_000)
        await client.close()


async def test_events_come_and_their_end_is_no_silence(node: FakeNode) -> None:
    async with RpcClient("127.0.0.1", 0, node.cookie_path):
        pass
    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        events = client.events("final")
        assert (await anext(events))["event"] == "subscribed"
        node.service.hear(TransactionsFinal((make_hash("t"),), 0, 3, ()))
        assert (await anext(events))["txids"] == [make_hash("t").hex()]
        node.service.close()
        assert (await anext(events))["event"] == "stopping"
        with pytest.raises(SubscriptionLost):
            await anext(events)


async def test_a_lost_stream_is_opened_again(tmp_path: Path) -> None:
    port = free_port()
    async with RpcClient("127.0.0.1", port, tmp_path / ".cookie") as client:
        events = client.events("final", reconnect=True)
        async with FakeNode(tmp_path).serving(port):
            assert (await anext(events))["event"] == "subscribed"
        assert (await anext(events))["event"] == "stopping"
        again = asyncio.ensure_future(anext(events))
        async with FakeNode(tmp_path).serving(port):
            assert (await again)["event"] == "subscribed"
        await events.aclose()
