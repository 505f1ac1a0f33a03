"""The door: a real server on a loopback port, who may come in, probes, gzip, and the stop."""

import asyncio
import base64
import gzip
import io
import stat
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fake_node import FakeNode, make_hash, make_payment, make_pending, until
from lockstep.client.async_client import RpcClient
from lockstep.client.faults import NodeBusy
from lockstep.replica.answers import VotingAnswer, VotingState
from lockstep.rpc.cookie import write_cookie
from lockstep.rpc.listening import AddressOpen, AddressTaken, bind_rpc

CALL = b'{"jsonrpc":"2.0","id":1,"method":"getblockcount"}'


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def authorize(cookie: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(cookie).decode()}


async def ask(
    node: FakeNode, verb: str = "POST", path: str = "/", **options: Any
) -> tuple[int, Any]:
    """Send one request, with the right cookie unless headers are given."""
    options.setdefault("headers", authorize(node.cookie_path.read_bytes()))
    if verb == "POST":
        options.setdefault("data", CALL)
    url = f"http://127.0.0.1:{node.port}{path}"
    async with aiohttp.ClientSession() as session, session.request(verb, url, **options) as answer:
        return answer.status, await answer.read()


async def test_only_the_cookie_opens(node: FakeNode) -> None:
    async with node.serving():
        cookie = node.cookie_path.read_bytes()
        assert cookie.startswith(b"__cookie__:")
        assert stat.S_IMODE(node.cookie_path.stat().st_mode) == 0o600
        assert (await ask(node))[0] == 200
        wrong = [
            {},
            authorize(cookie[:-1]),
            authorize(cookie + b"0"),
            authorize(b"__cookie__:"),
            authorize(cookie.replace(b"__cookie__", b"other")),
            {"Authorization": "Basic !!!"},
            {"Authorization": "Basic"},
            {"Authorization": authorize(cookie)["Authorization"].replace("Basic", "Bearer")},
        ]
        for headers in wrong:
            status, body = await ask(node, headers=headers)
            assert (status, b"rpc.unauthorized" in body) == (401, True), headers
    assert not node.cookie_path.exists()


def test_each_start_has_its_own_cookie(tmp_path: Path) -> None:
    path = tmp_path / ".cookie"
    first, content = write_cookie(path), path.read_bytes()
    second = write_cookie(path)
    assert not second.is_right(authorize(content)["Authorization"])
    first.remove()
    assert second.is_right(authorize(path.read_bytes())["Authorization"])
    second.remove()
    assert not path.exists()


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil", ""])
@pytest.mark.parametrize("path", ["/", "/metrics", "/livez"])
async def test_a_foreign_host_name_is_refused(node: FakeNode, host: str, path: str) -> None:
    async with node.serving():
        headers = authorize(node.cookie_path.read_bytes()) | {"Host": host}
        status, body = await ask(node, "POST" if path == "/" else "GET", path, headers=headers)
        assert (status, b"rpc.host" in body) == (403, True)


@pytest.mark.parametrize("host", ["localhost:1", "[::1]:24201", "LOCALHOST", "node.lan"])
async def test_own_names_are_taken_with_any_port(node: FakeNode, host: str) -> None:
    async with node.serving(hosts=["node.lan"]):
        headers = authorize(node.cookie_path.read_bytes()) | {"Host": host}
        assert (await ask(node, headers=headers))[0] == 200


async def test_pages_of_other_sites_are_refused(node: FakeNode) -> None:
    async with node.serving():
        right = authorize(node.cookie_path.read_bytes())
        for origin, status in [
            ("https://evil.example", 403),
            ("null", 403),
            ("http://localhost:3000", 200),
        ]:
            assert (await ask(node, headers=right | {"Origin": origin}))[0] == status


async def test_probes_and_metrics_need_no_cookie(node: FakeNode) -> None:
    registry = CollectorRegistry()
    Counter("lockstep_payments", "Payments.", registry=registry).inc(3)
    node.metrics = generate_latest(registry)
    async with node.serving():
        assert (await ask(node, "GET", "/livez", headers={}))[0] == 200
        assert (await ask(node, "GET", "/readyz", headers={}))[0] == 200
        status, text = await ask(node, "GET", "/metrics", headers={})
        families = {f.name: f for f in text_string_to_metric_families(text.decode())}
        assert status == 200
        assert families["lockstep_payments"].samples[0].value == 3


async def test_who_watches_is_answered_however_many_connections_there_are(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.rpc.server.CONNECTIONS_MAX", 3)
    async with node.serving():
        crowd = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(3)]
        for path in ("/livez", "/readyz", "/metrics?name=x"):
            assert (await ask(node, "GET", path, headers={}))[0] == 200
        assert (await ask(node))[0] == 503
        assert (await ask(node, "GET", "/livezz", headers={}))[0] == 503
        client = RpcClient("127.0.0.1", node.port, node.cookie_path)
        with pytest.raises(NodeBusy):
            await client.call("getblockcount")
        with pytest.raises(NodeBusy):
            await client.submit_encoded([b"any"])
        await client.close()
        for _, writer in crowd:
            writer.close()
            await writer.wait_closed()
        assert (await ask(node))[0] == 200


async def test_readyz_gives_the_reasons(node: FakeNode) -> None:
    async def reasons() -> list[str]:
        status, body = await ask(node, "GET", "/readyz", headers={})
        codes = [row["code"] for row in msgspec.json.decode(body)["reasons"]]
        assert status == (503 if codes else 200)
        return codes

    async with node.serving():
        assert await reasons() == []
        node.connect(1, 2)
        assert await reasons() == []
        node.connect(1)
        assert await reasons() == ["no_quorum"]
        node.view.own_id = None
        node.connect(1, 2)
        assert await reasons() == ["no_quorum"]
        node.connect(1, 2, 3)
        node.view.catching_up = True
        node.view.silence = VotingAnswer(VotingState.ASKING, 1, 3, None)
        assert await reasons() == ["asking", "catching_up"]
        node.view.silence = VotingAnswer(VotingState.AMNESIA, 1, 3, None)
        assert await reasons() == ["amnesia", "catching_up"]
        node.service.request_stop()
        assert "stopping" in await reasons()


async def test_long_answers_are_compressed_where_taken(node: FakeNode) -> None:
    body = b'{"id":1,"method":"getgenesis"}'
    async with node.serving():
        right = authorize(node.cookie_path.read_bytes())
        url = f"http://127.0.0.1:{node.port}/"
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            for accept, data, coding in [
                ("gzip, br", body, "gzip"),
                ("identity", body, None),
                ("gzip", CALL, None),
            ]:
                headers = right | {"Accept-Encoding": accept}
                async with session.post(url, data=data, headers=headers) as answer:
                    content = await answer.read()
                    assert answer.headers.get("Content-Encoding") == coding
                    plain = gzip.decompress(content) if coding else content
                    assert msgspec.json.decode(plain).get("error") is None


async def test_very_long_answers_are_whole(node: FakeNode) -> None:
    for i in range(1_000):
        pending = make_pending(make_payment(str(i)))
        node.view.pendings[pending.txid] = pending
    body = b'{"id":1,"method":"getrawmempool","params":[true,"",1000]}'
    async with node.serving():
        _, content = await ask(node, data=body)
        assert len(msgspec.json.decode(content)["result"]["items"]) == 1_000


async def test_a_body_beyond_all_limits_is_cut_off(node: FakeNode) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield bytes(1024 * 1024)

    async with node.serving():
        assert (await ask(node, data=io.BytesIO(b" " * (8 * 1024 * 1024 + 1))))[0] == 413
        try:
            status, _ = await ask(node, data=endless())
        except aiohttp.ClientOSError:
            status = 413
        assert status == 413
        assert (await ask(node))[0] == 200


async def test_other_verbs_and_paths_are_none(node: FakeNode) -> None:
    async with node.serving():
        assert (await ask(node, "GET", "/"))[0] == 405
        assert (await ask(node, "GET", "/wp-login.php"))[0] == 404


async def test_stop_is_answered_and_ends_waits(node: FakeNode) -> None:
    txid = make_hash("x").hex().encode()
    body = b'{"id":1,"method":"waittransactionfinality","params":["' + txid + b'",60000]}'
    async with node.serving():
        wait = asyncio.create_task(ask(node, data=body))
        await until(lambda: node.service._waiting == 1)
        status, answer = await ask(node, data=b'{"id":1,"method":"stop"}')
        assert (status, b"stopping" in answer, node.stops) == (200, True, 1)
        assert (await wait)[0] == 200


def test_the_address_is_bound_before_anything_starts() -> None:
    with bind_rpc("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressTaken, match=str(port)):
            bind_rpc("127.0.0.1", port)
    with pytest.raises(AddressTaken):
        bind_rpc("no.such.host.invalid", 1)
    with pytest.raises(AddressOpen):
        bind_rpc("0.0.0.0", 0)
    bind_rpc("0.0.0.0", 0, allow_remote=True).close()
