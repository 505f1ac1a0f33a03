"""The dispatcher: dialects, batches, limits, and faults in Bitcoin's numbers."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_node import FakeNode, make_payment
from lockstep.errors import Fatal
from lockstep.primitives.codec import encode
from lockstep.primitives.transaction import make_txid
from lockstep.rpc.dispatch import Dispatcher, Reply
from lockstep.rpc.shapes import format_coins
from lockstep.rpc.table import METHODS


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


@pytest.fixture
def door(node: FakeNode) -> Dispatcher:
    return Dispatcher(node.service, METHODS)


def read(reply: Reply) -> Any:
    return msgspec.json.decode(reply.body)


async def fault(door: Dispatcher, method: str, params: Any) -> tuple[int, str, str]:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    error = read(await door.dispatch(msgspec.json.encode(call)))["error"]
    return error["code"], error["data"]["code"], error["message"]


async def test_modern_answers_have_one_member_and_status_200(door: Dispatcher) -> None:
    good = await door.dispatch(b'{"jsonrpc":"2.0","id":"a","method":"getblockcount"}')
    bad = await door.dispatch(b'{"jsonrpc":"2.0","id":7,"method":"nothing"}')
    assert (good.status, read(good)) == (200, {"jsonrpc": "2.0", "result": 0, "id": "a"})
    assert bad.status == 200
    assert set(read(bad)) == {"jsonrpc", "error", "id"}
    assert read(bad)["error"]["code"] == -32601


@pytest.mark.parametrize(
    "version", [b'"version":"1.1",', b'"jsonrpc":1,', b'"jsonrpc":"1.0",', b""]
)
async def test_legacy_answers_have_both_members_and_telling_status(
    door: Dispatcher, version: bytes
) -> None:
    good = await door.dispatch(b"{" + version + b'"method":"getblockcount","params":[],"id":"1"}')
    unknown = await door.dispatch(b"{" + version + b'"method":"nothing","id":1}')
    wrong = await door.dispatch(b"{" + version + b'"method":"getblockhash","params":[9],"id":1}')
    assert (good.status, read(good)) == (200, {"result": 0, "error": None, "id": "1"})
    assert (unknown.status, read(unknown)["result"]) == (404, None)
    assert (wrong.status, read(wrong)["error"]["code"]) == (500, -5)


@pytest.mark.parametrize(
    "number", [b"1e999", b"-0", b"123456789012345678901234567890", b'"\\u00e9"', b"null", b"1.50"]
)
async def test_ids_come_back_byte_for_byte(door: Dispatcher, number: bytes) -> None:
    reply = await door.dispatch(b'{"jsonrpc":"2.0","method":"uptime","id": ' + number + b"}")
    assert reply.body.endswith(b',"id":' + number + b"}")


@pytest.mark.parametrize("number", [b"[1]", b"{}", b"true", b'"' + b"x" * 300 + b'"'])
async def test_impossible_ids_are_refused(door: Dispatcher, number: bytes) -> None:
    reply = await door.dispatch(b'{"jsonrpc":"2.0","method":"uptime","id":' + number + b"}")
    assert (reply.status, read(reply)["error"]["code"]) == (400, -32600)


async def test_a_notification_is_served_and_not_answered(node: FakeNode, door: Dispatcher) -> None:
    reply = await door.dispatch(b'{"jsonrpc":"2.0","method":"stop"}')
    assert (reply, node.stops) == (Reply(204, b""), 1)


async def test_a_batch_answers_each_call_in_order(door: Dispatcher) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "getblockcount"},
        {"jsonrpc": "2.0", "method": "uptime"},
        {"id": 2, "method": "nothing"},
        5,
    ]
    answers = read(await door.dispatch(msgspec.json.encode(calls)))
    assert [answer["id"] for answer in answers] == [1, 2, None]
    assert [answer.get("error", {}) and answer["error"]["code"] for answer in answers] == [
        {},
        -32601,
        -32600,
    ]


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (10, 200), (11, 400)])
async def test_a_batch_has_one_to_ten_calls(door: Dispatcher, count: int, status: int) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "getblockcount"}
    reply = await door.dispatch(msgspec.json.encode([call] * count))
    assert reply.status == status
    assert (b"error" in reply.body) == (status == 400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"method":"uptime","id":"\xff"}',
        b"[" * 100_000,
        b'{"method":"uptime","id":1,"params":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_what_is_not_json_is_a_parse_error(door: Dispatcher, body: bytes) -> None:
    reply = await door.dispatch(body)
    assert (reply.status, read(reply)["error"]["code"]) == (400, -32700)


@pytest.mark.parametrize(
    "body",
    [
        b"5",
        b'"x"',
        b"{}",
        b'{"method":5,"id":1}',
        b'{"method":"uptime","params":"x","id":1}',
        b'{"jsonrpc":"3.0","method":"uptime","id":1}',
        b'{"method":"uptime","id":1,"params":' + b"[" * 18 + b"]" * 18 + b"}",
        b'{"method":"uptime","id":1,"params":' + b'{"a":' * 18 + b"1" + b"}" * 18 + b"}",
    ],
)
async def test_what_is_no_call_is_an_invalid_request(door: Dispatcher, body: bytes) -> None:
    reply = await door.dispatch(body)
    assert (reply.status, read(reply)["error"]["code"]) == (400, -32600)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
CALLS = st.fixed_dictionaries(
    {"id": st.just(1), "method": st.sampled_from(sorted(METHODS))},
    optional={"params": JSON, "jsonrpc": JSON},
)


@given(st.binary(max_size=99) | (JSON | CALLS | st.lists(CALLS)).map(msgspec.json.encode))
async def test_nothing_that_comes_in_is_a_defect_of_ours(body: bytes) -> None:
    node = FakeNode(Path())
    reply = await Dispatcher(node.service, METHODS).dispatch(body)
    assert reply.status in {200, 204, 400, 404, 500}
    assert b"rpc.internal" not in reply.body
    assert not node.failures


@pytest.mark.parametrize(
    ("method", "params", "number", "name"),
    [
        ("getblockhash", [], -32602, "'height'"),
        ("getblockhash", [1, 2], -32602, "1 parameters"),
        ("getblockhash", {"height": 1, "tallness": 2}, -32602, "'tallness'"),
        ("getblockhash", ["1"], -3, "'height'"),
        ("getblockhash", [1.5], -3, "'height'"),
        ("getblockhash", [True], -3, "'height'"),
        ("getblockhash", [-1], -8, "'height'"),
        ("getblockhash", [2**63], -8, "'height'"),
        ("getblock", ["xyz"], -8, "'blockhash'"),
        ("getblock", ["00" * 33], -8, "'blockhash'"),
        ("getblock", ["00" * 32, 3], -8, "'verbosity'"),
        ("submittransactions", [["00", 5]], -3, "'hexstrings'"),
        ("submittransactions", [[]], -8, "'hexstrings'"),
        ("submittransactions", [["00"] * 401], -8, "'hexstrings'"),
        ("decoderawtransaction", ["0"], -8, "'hexstring'"),
        ("waittransactionfinality", ["00" * 32, 60_001], -8, "'timeout_ms'"),
        ("listunspent", {"addresses": ["x"], "cursor": "0c12"}, -8, "'cursor'"),
        ("getrawmempool", {"cursor": "zz"}, -8, "'cursor'"),
        ("masternodelist", {"epoch": 5}, -8, "'epoch'"),
    ],
)
async def test_a_wrong_parameter_is_named(
    door: Dispatcher, method: str, params: Any, number: int, name: str
) -> None:
    code, _, message = await fault(door, method, params)
    assert code == number
    assert name in message


async def test_null_stands_for_a_parameter_left_out(door: Dispatcher) -> None:
    assert (await fault(door, "getblock", [None, 1]))[0] == -32602
    reply = await door.dispatch(b'{"id":1,"method":"getrawmempool","params":[null,null,5]}')
    assert read(reply)["result"] == {"items": [], "cursor": None}


async def test_faults_carry_bitcoins_number_and_our_code(door: Dispatcher) -> None:
    def send(code: str) -> list[str]:
        return [encode(make_payment("a", memo=code.encode())).hex()]

    assert (await fault(door, "sendrawtransaction", ["00"]))[:2] == (-22, "bytes.malformed")
    assert (await fault(door, "sendrawtransaction", ["00" * 100_001]))[:2] == (
        -22,
        "bytes.oversize",
    )
    assert (await fault(door, "sendrawtransaction", send("tx.coin_unknown")))[0] == -25
    assert (await fault(door, "sendrawtransaction", send("tx.dust"))) == (
        -26,
        "tx.dust",
        "refused by the test",
    )
    assert (await fault(door, "listunspent", {"addresses": ["ls1x"]}))[0] == -5
    assert (await fault(door, "getutxostate", ["00" * 32, 0]))[:2] == (-5, "rpc.not_found")
    assert (await fault(door, "getrawtransaction", ["00" * 32]))[0] == -5
    assert (await fault(door, "getblockhash", [1]))[0] == -5


async def test_only_submittransactions_takes_a_long_body(door: Dispatcher) -> None:
    padding = b" " * (1024 * 1024)
    send = encode(make_payment("a")).hex().encode()
    short = await door.dispatch(b'{"id":1,"method":"getblockcount"}' + padding)
    long = await door.dispatch(
        b'{"id":1,"method":"submittransactions","params":[["' + send + b'"]]}' + padding
    )
    assert read(short)["error"]["data"]["code"] == "rpc.body"
    assert read(long)["error"] is None


async def test_each_submitted_transaction_has_its_own_answer(
    node: FakeNode, door: Dispatcher
) -> None:
    good, bad = make_payment("a"), make_payment("b", memo=b"tx.fee")
    raws = [encode(good).hex(), "c0", encode(bad).hex(), encode(good).hex() + "00"]
    call = {"id": 1, "method": "submittransactions", "params": [raws]}
    rows = read(await door.dispatch(msgspec.json.encode(call)))["result"]
    assert [(row["txid"], row["accepted"], row["code"]) for row in rows] == [
        (make_txid(good.body).hex(), True, ""),
        (None, False, "bytes.malformed"),
        (make_txid(bad.body).hex(), False, "tx.fee"),
        (None, False, "bytes.malformed"),
    ]
    assert node.submitter.seen == [good, bad]


async def test_a_stopping_node_takes_no_transactions(node: FakeNode, door: Dispatcher) -> None:
    node.service.request_stop()
    send = encode(make_payment("a")).hex()
    assert (await fault(door, "sendrawtransaction", [send]))[:2] == (-28, "node.stopping")
    assert node.submitter.seen == []


async def test_a_defect_of_ours_is_answered_without_its_trace(
    node: FakeNode, door: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    node.readers.damage = ZeroDivisionError("a secret of ours")
    code, ours, message = await fault(door, "getblockhash", [1])
    assert (code, ours) == (-32603, "rpc.internal")
    assert "secret" not in message
    assert "ZeroDivisionError" in caplog.text


async def test_a_damaged_record_stops_the_node(node: FakeNode, door: Dispatcher) -> None:
    damage = Fatal("the record is damaged")
    node.readers.damage = damage
    assert (await fault(door, "getblockhash", [1]))[0] == -20
    assert node.failures == [damage]


async def test_an_answer_waits_for_the_disk(node: FakeNode, door: Dispatcher) -> None:
    await door.dispatch(b'{"id":1,"method":"getconsensusinfo"}')
    assert node.settles == 1
    await door.dispatch(b'{"id":1,"method":"uptime"}')
    assert node.settles == 1


@given(st.integers(0, 2**63 - 1))
def test_amounts_are_exact_to_the_last_unit(units: int) -> None:
    text = bytes(format_coins(units)).decode()
    whole, _, part = text.partition(".")
    assert len(part) == 8
    assert int(whole) * 10**8 + int(part) == units
    assert Decimal(text) * 10**8 == units
    assert msgspec.json.decode(format_coins(units), type=Decimal) == Decimal(text)


@pytest.mark.parametrize("text", ["0", "00 11", " 00", "0g", "é0", "0x00"])
async def test_hex_is_pairs_of_characters_and_nothing_between(
    door: Dispatcher, node: FakeNode, text: str
) -> None:
    for method, params in [
        ("sendrawtransaction", [text]),
        ("submittransactions", [["00", text]]),
        ("decoderawtransaction", [text]),
    ]:
        body = msgspec.json.encode({"id": 1, "method": method, "params": params})
        error = msgspec.json.decode((await door.dispatch(body)).body)["error"]
        assert (error["code"], "hexstring" in error["message"]) == (-8, True)
    assert node.submitter.seen == []
