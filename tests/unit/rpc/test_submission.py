"""The binary door: a batch in, a row a payment out, by the same rules as the JSON one."""

import asyncio
from io import BytesIO
from pathlib import Path

import aiohttp
import msgspec
import pytest

from fake_node import FakeNode, make_payment
from lockstep.client.async_client import RpcClient
from lockstep.client.envelope import SubmitAnswer, encode_submission
from lockstep.client.faults import NotAuthorized, RpcError
from lockstep.client.sync_client import SyncRpcClient
from lockstep.primitives import codec
from lockstep.primitives.transaction import BATCH_BYTES_MAX, Batch, Transaction
from lockstep.rpc.faults import SubmissionBusy
from unit.rpc.test_door import ask, authorize

PAYMENTS = [make_payment(str(number)) for number in range(3)]
MEMOS = ["", "tx.dust", "pool.full"]


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def encoded(payments: list[Transaction]) -> list[bytes]:
    return [codec.encode(payment) for payment in payments]


def test_the_body_is_the_batch_itself() -> None:
    """[B1, L8]."""
    assert encode_submission(encoded(PAYMENTS)) == codec.encode(Batch(tuple(PAYMENTS)))


async def submit_by_all(node: FakeNode, raws: list[bytes]) -> list[list[SubmitAnswer]]:
    """Return the answers by each client, in JSON and in binary."""

    def plainly() -> list[list[SubmitAnswer]]:
        with SyncRpcClient("127.0.0.1", node.port, node.cookie_path) as client:
            return [client.submit(raws), client.submit_encoded(raws)]

    async with RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        found = [await client.submit(raws), await client.submit_encoded(raws)]
    return found + await asyncio.to_thread(plainly)


async def test_binary_and_json_get_the_same_answers(node: FakeNode) -> None:
    payments = [make_payment("a", memo=memo.encode()) for memo in MEMOS]
    raws = [*encoded(payments), codec.encode([1, 2]), codec.encode(None)]
    async with node.serving():
        first, *others = await submit_by_all(node, raws)
    assert others == [first] * 3
    assert [answer.code for answer in first] == [*MEMOS, "bytes.malformed", "bytes.malformed"]
    assert [answer.txid is None for answer in first] == [False] * 3 + [True] * 2


async def test_what_is_no_batch_is_refused_whole(node: FakeNode) -> None:
    good = codec.encode(Batch(tuple(PAYMENTS)))
    many = encode_submission([codec.encode(0)] * 401)
    bodies = {b"": 400, b"\x00": 400, good[:-1]: 400, good + b"\x00": 400, many: 400}
    bodies[bytes(BATCH_BYTES_MAX + 1)] = 413
    async with node.serving():
        for body, due in bodies.items():
            status, answer = await ask(node, path="/submit", data=BytesIO(body))
            assert status == due, body[:40]
            if due == 400:
                assert msgspec.msgpack.decode(answer)["code"] in {
                    "bytes.malformed",
                    "bytes.oversize",
                }
    assert node.submitter.seen == []


async def test_the_gate_stands_before_it(node: FakeNode) -> None:
    async with node.serving():
        for headers, due in [
            ({}, 401),
            (authorize(node.cookie_path.read_bytes()) | {"Origin": "https://evil.example"}, 403),
            (authorize(node.cookie_path.read_bytes()) | {"Host": "evil.example"}, 403),
        ]:
            data = encode_submission(encoded(PAYMENTS))
            assert (await ask(node, path="/submit", data=data, headers=headers))[0] == due
        node.cookie_path.write_bytes(b"__cookie__:wrong")
        async with RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
            with pytest.raises(NotAuthorized):
                await client.submit_encoded(encoded(PAYMENTS))
    assert node.submitter.seen == []


async def test_a_busy_node_says_when_to_come_again(node: FakeNode) -> None:
    node.submitter.busy = SubmissionBusy("full", retry_after_ms=1_200)
    raws = encoded(PAYMENTS)
    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        for call in (
            client.submit_encoded(raws),
            client.submit(raws),
            client.call("sendrawtransaction", raws[0].hex()),
        ):
            with pytest.raises(RpcError) as caught:
                await call
            assert (caught.value.code, caught.value.retry_after_ms) == ("submit.busy", 1_200)
        url = f"http://127.0.0.1:{node.port}/submit"
        headers = authorize(node.cookie_path.read_bytes())
        async with aiohttp.ClientSession() as session:
            answer = await session.post(url, data=encode_submission(raws), headers=headers)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_a_payment_that_found_no_room_says_so_alone(node: FakeNode) -> None:
    """In its own row, and as the error of a single submission."""
    node.submitter.retry_after_ms = 700
    raw = codec.encode(make_payment("a", memo=b"submit.busy"))
    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        for [answer] in (await client.submit([raw]), await client.submit_encoded([raw])):
            assert (answer.accepted, answer.retry_after_ms) == (False, 700)
        with pytest.raises(RpcError) as caught:
            await client.call("sendrawtransaction", raw.hex())
        assert (caught.value.number, caught.value.retry_after_ms) == (-28, 700)


async def test_a_node_that_stops_or_has_no_room_takes_none(node: FakeNode) -> None:
    async with node.serving(), RpcClient("127.0.0.1", node.port, node.cookie_path) as client:
        node.shortage = "the disk is full"
        with pytest.raises(RpcError) as caught:
            await client.submit_encoded(encoded(PAYMENTS))
        assert (caught.value.number, caught.value.code) == (503, "node.disk_full")
    assert node.submitter.seen == []
