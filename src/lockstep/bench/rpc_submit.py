"""`lockstep bench rpc-submit`: what it costs a node's door to take payments in, by way of coming.

A real server on loopback, in a thread whose CPU time alone counts; the clients send prepared bytes.
Every payment is opened, gathered into a batch, joined and answered; all signatures are found good
at once, and what becomes of a batch in the core is not measured.
"""

import asyncio
import base64
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from lockstep.bench import course
from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.crypto.keys import SignatureCheck
from lockstep.errors import Misuse
from lockstep.node.submitter import NodeSubmitter
from lockstep.primitives.batch import join_batch
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX, VerifiedBatch
from lockstep.replica.batcher import Batcher
from lockstep.replica.effects import Notice, TransactionsAccepted
from lockstep.replica.events import BatchReceived, Event
from lockstep.replica.ingress import judging_payments
from lockstep.replica.judging import judge_at_once
from lockstep.replica.openpayments import OpenPayment
from lockstep.rpc.listening import bind_rpc
from lockstep.rpc.ports import ChainReaders, PeerDirectory, View
from lockstep.rpc.server import RpcServer
from lockstep.rpc.service import NodeService
from lockstep.rpc.submission import SUBMISSION_PATH

CONNECTIONS: Final = 32
LIST_PAYMENTS: Final = 100
_RECEIVE_BYTES: Final = 1 << 16


class _AllGood:
    """A verifier whose verdicts cost nothing."""

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        return [True] * len(checks)


class _Core:
    """What stands behind the submitter: batches are made at once, and held at once."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.hear: Callable[[Notice], None] | None = None

    def holds_any(self, txids: Collection[bytes]) -> bool:
        del txids
        return False

    async def make_batch(
        self, payments: Sequence[OpenPayment]
    ) -> tuple[VerifiedBatch | None, dict[int, str]]:
        judging = judging_payments(payments, chain_id=self.genesis.chain_id)
        return judge_at_once(judging, _AllGood())

    async def post(self, event: Event) -> None:
        if not isinstance(event, BatchReceived) or self.hear is None:
            raise Misuse("the submitter posts batches, to a core that is there")
        held = event.batch.txids
        self.hear(TransactionsAccepted(held, (True,) * len(held)))


class Way(Struct, frozen=True):
    """A way of coming: HTTP requests that are sent at once, one a connection."""

    requests: tuple[bytes, ...]
    payments: int


def run(request: Request) -> Report:
    """Measure all ways in turns."""
    genesis = make_genesis([1] * 4, coins=BATCH_TRANSACTIONS_MAX)
    with _serving(genesis) as (port, cookie, clock):
        ways = make_ways(genesis, cookie)
        connections = max(len(way.requests) for way in ways.values())
        with ExitStack() as stack:
            sockets = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                for _ in range(connections)
            ]
            figures = _measure(ways, sockets, clock, request.repetitions)
    return Report(figures=figures, content={}, lines=_describe(figures))


def make_ways(genesis: Genesis, cookie: bytes) -> dict[str, Way]:
    """Write the requests of each way; payments differ, those of one way from one another."""
    maker = PaymentMaker(genesis)
    raws = [encode(maker.pay(index)) for index in range(BATCH_TRANSACTIONS_MAX)]

    def call(method: str, *params: object) -> bytes:
        content = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return _post("/", cookie, msgspec.json.encode(content))

    singles = tuple(call("sendrawtransaction", raw.hex()) for raw in raws[:CONNECTIONS])
    listed = [raw.hex() for raw in raws[:LIST_PAYMENTS]]
    whole = _post(SUBMISSION_PATH, cookie, join_batch(raws))
    few = tuple(_post(SUBMISSION_PATH, cookie, join_batch([raw])) for raw in raws[:CONNECTIONS])
    return {
        f"JSON, one each on {CONNECTIONS} connections": Way(singles, CONNECTIONS),
        f"JSON, a list of {LIST_PAYMENTS}": Way(
            (call("submittransactions", listed),), LIST_PAYMENTS
        ),
        f"binary, one each on {CONNECTIONS} connections": Way(few, CONNECTIONS),
        f"binary, a list of {len(raws)}": Way((whole,), len(raws)),
    }


def _post(path: str, cookie: bytes, body: bytes) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Basic {base64.b64encode(cookie).decode()}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def _serving(genesis: Genesis) -> Iterator[tuple[int, bytes, Callable[[], float]]]:
    """Serve in a thread; yield port, cookie and what reads the CPU time of that thread."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / ".cookie"
        listener = bind_rpc("127.0.0.1", 0)
        port: int = listener.getsockname()[1]
        loop = asyncio.new_event_loop()
        stop, up = asyncio.Event(), threading.Event()
        work = _serve(genesis, listener, path, stop, up)
        thread = threading.Thread(target=_run_loop, args=(loop, work), name="door")
        thread.start()
        up.wait()

        async def read_clock() -> float:
            return time.thread_time()

        try:
            yield (
                port,
                path.read_bytes(),
                lambda: asyncio.run_coroutine_threadsafe(read_clock(), loop).result(),
            )
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


def _run_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    asyncio.set_event_loop(loop)
    loop.run_until_complete(work)


async def _serve(
    genesis: Genesis,
    listener: socket.socket,
    cookie_path: Path,
    stop: asyncio.Event,
    up: threading.Event,
) -> None:
    core = _Core(genesis)
    async with asyncio.TaskGroup() as group:
        submitter = NodeSubmitter(
            known=core,
            batcher=Batcher(members=len(genesis.members)),
            maker=core,
            post=core.post,
            publish=lambda _: None,
            group=group,
        )
        core.hear = submitter.hear
        server = RpcServer(
            _make_service(core, submitter),
            sockets=[listener],
            cookie_path=cookie_path,
            render_metrics=lambda: b"",
        )
        running = group.create_task(server.run())
        up.set()
        await stop.wait()
        submitter.close()
        server.stop()
        await running


def _make_service(core: _Core, submitter: NodeSubmitter) -> NodeService:
    """Make a service whose submissions work; of the rest nothing is asked here."""

    async def settled() -> None:
        return

    nothing: Callable[..., None] = lambda *_: None  # noqa: E731  # Three doors that lead nowhere.
    return NodeService(
        view=cast("View", core),
        readers=cast("ChainReaders", core),
        submitter=submitter,
        peers=cast("PeerDirectory", core),
        settled=cast("Callable[[], Awaitable[None]]", settled),
        stop=nothing,
        fail=nothing,
        shortage=nothing,
        verify_backend="none",
    )


def _measure(
    ways: dict[str, Way],
    sockets: list[socket.socket],
    clock: Callable[[], float],
    repetitions: int,
) -> dict[str, Figure]:
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values():
        _exchange(way, sockets)
    for _ in range(repetitions):
        for name, way in ways.items():
            if samples[name] and course.is_cut_short():
                break
            cpu_s, wall_s = clock(), time.perf_counter()
            _exchange(way, sockets)
            wall_s = time.perf_counter() - wall_s
            per_us = 1e6 / way.payments
            samples[name].append(((clock() - cpu_s) * per_us, wall_s * per_us))
            course.note({name: summarise(samples[name])})
    return {name: summarise(found) for name, found in samples.items()}


def _exchange(way: Way, sockets: list[socket.socket]) -> None:
    """Send all requests, then read all answers."""
    used = sockets[: len(way.requests)]
    for each, content in zip(used, way.requests, strict=True):
        each.sendall(content)
    for each in used:
        _read_answer(each)


def _read_answer(connection: socket.socket) -> None:
    data = connection.recv(_RECEIVE_BYTES)
    while b"\r\n\r\n" not in data:
        data += connection.recv(_RECEIVE_BYTES)
    head, _, body = data.partition(b"\r\n\r\n")
    words = {line.partition(b":")[0].lower(): line for line in head.splitlines()}
    size = int(words[b"content-length"].partition(b":")[2])
    while len(body) < size:
        body += connection.recv(_RECEIVE_BYTES)
    if not head.startswith(b"HTTP/1.1 200") or b"bytes.malformed" in body:
        raise Misuse(f"the door refused a submission: {head[:60]!r}")


def _describe(figures: dict[str, Figure]) -> list[str]:
    lines = ["CPU microseconds a payment at the node's door (10th to 90th percentile)"]
    for name, found in figures.items():
        lines.append(
            f"  {name:38} {found.cpu:8.2f} ({found.cpu_low:.2f} to {found.cpu_high:.2f}),"
            f" wall {found.wall:.2f}"
        )
    return lines
