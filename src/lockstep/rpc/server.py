"""HTTP and WebSocket in front of the dispatcher, inside the node's own loop and task group.

uvicorn keeps its hands off signals, loop and lifespan; the sockets are bound by us. No answer
carries a stack trace.
"""

import asyncio
import contextlib
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from lockstep.errors import LockstepError
from lockstep.rpc.cookie import write_cookie
from lockstep.rpc.dispatch import Dispatcher
from lockstep.rpc.gate import Gate
from lockstep.rpc.joining import JoiningProtocol
from lockstep.rpc.service import NodeService
from lockstep.rpc.stream import Subscriber
from lockstep.rpc.submission import (
    SUBMISSION_BYTES_MAX,
    SUBMISSION_PATH,
    SUBMISSION_TYPE,
    answer_submission,
)
from lockstep.rpc.table import METHODS
from lockstep.rpc.transaction_methods import SUBMIT_BODY_BYTES_MAX

CONNECTIONS_MAX: Final = 256
"""Connections of programs at once; with more, the answer is 503."""
BODY_TIMEOUT_S: Final = 10
SEND_TIMEOUT_S: Final = 10
KEEP_ALIVE_S: Final = 75
SHUTDOWN_S: Final = 3
GZIP_BYTES_MIN: Final = 1024
"""Longer answers are compressed for those who take it."""
THREAD_BYTES_MIN: Final = 128 * 1024
"""Longer ones are compressed in a thread."""
SUBSCRIBE_BYTES_MAX: Final = 4096
"""A message that a subscriber sends."""

Answer = Callable[[Scope, bytes], Awaitable[Response]]
"""What answers a body that was posted."""
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_log: Final = logging.getLogger("lockstep.rpc")


class _Embedded(uvicorn.Server):
    """A server that leaves the signals to the node."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


class _Post:
    """An ASGI application that reads a whole body and answers it."""

    def __init__(self, answer: Answer, bytes_max: int) -> None:
        self._answer = answer
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(scope, receive, self._bytes_max)
        response = body if isinstance(body, Response) else await self._answer(scope, body)
        status, headers = response.status_code, response.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})


class _Shortcut:
    """ASGI middleware that answers what is posted without looking through the routes."""

    def __init__(self, app: ASGIApp, posts: Mapping[str, _Post]) -> None:
        self._app = app
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        post = self._posts.get(scope["path"])
        if post is None or scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        else:
            await post(scope, receive, send)


class RpcServer:
    """The node's door for people and programs; owned by the composition root."""

    def __init__(
        self,
        service: NodeService,
        *,
        sockets: Sequence[socket],
        cookie_path: Path,
        render_metrics: Callable[[], bytes],
        hosts: Sequence[str] = (),
    ) -> None:
        """Prepare to serve on bound sockets, and write the cookie.

        `hosts` are names by which the node may be called besides those of loopback.
        """
        self._service = service
        self._sockets = list(sockets)
        self._dispatcher = Dispatcher(service, METHODS)
        self._render_metrics = render_metrics
        self._cookie = write_cookie(cookie_path)
        posts = {
            "/": _Post(self._call, SUBMIT_BODY_BYTES_MAX),
            SUBMISSION_PATH: _Post(self._submit, SUBMISSION_BYTES_MAX),
        }
        routes = [
            *(Route(path, post, methods=["POST"]) for path, post in posts.items()),
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/healthz", self._readyz),
            Route("/metrics", self._metrics),
            WebSocketRoute("/ws", self._stream),
        ]
        app = Gate(_Shortcut(Starlette(routes=routes), posts), self._cookie, hosts)
        self._server = _Embedded(
            uvicorn.Config(
                app,
                loop="none",
                http=JoiningProtocol,
                ws="websockets-sansio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S,
                ws_max_size=SUBSCRIBE_BYTES_MAX,
                ws_per_message_deflate=False,
            )
        )

    async def run(self) -> None:
        """Serve until `stop` is called; then finish what is under way and remove the cookie."""
        try:
            await self._server.serve(sockets=self._sockets)
        except asyncio.CancelledError:
            self._server.force_exit = True
            await self._server.shutdown(self._sockets)
            raise
        finally:
            self._cookie.remove()

    def stop(self) -> None:
        """Ask the server to end; `run` returns soon after."""
        self._service.close()
        self._server.should_exit = True

    async def _submit(self, scope: Scope, body: bytes) -> Response:
        del scope
        reply = await answer_submission(self._service, body)
        headers = {"Content-Type": SUBMISSION_TYPE}
        if reply.retry_after_ms:
            # The header counts whole seconds; the body has the milliseconds.
            headers["Retry-After"] = str((reply.retry_after_ms + 999) // 1000)
        return Response(reply.body, reply.status, headers)

    async def _call(self, scope: Scope, body: bytes) -> Response:
        reply = await self._dispatcher.dispatch(body)
        headers = {"Content-Type": "application/json"} if reply.body else {}
        content = reply.body
        if len(content) > GZIP_BYTES_MIN:
            headers["Vary"] = "Accept-Encoding"
            if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
                headers["Content-Encoding"] = "gzip"
                content = await _compress(content)
        return Response(content, reply.status, headers)

    async def _livez(self, request: Request) -> Response:
        del request
        return JSONResponse({"status": "live"})

    async def _readyz(self, request: Request) -> Response:
        del request
        reasons = self._service.reasons()
        rows = [{"code": reason.code, "message": reason.message} for reason in reasons]
        status = "not ready" if rows else "ready"
        return JSONResponse({"status": status, "reasons": rows}, 503 if rows else 200)

    async def _metrics(self, request: Request) -> Response:
        del request
        return Response(self._render_metrics(), 200, {"Content-Type": _METRICS_TYPE})

    async def _stream(self, socket: WebSocket) -> None:
        wanted = socket.query_params.get("events", "")
        kinds = [kind for kind in wanted.split(",") if kind]
        confirms = socket.query_params.get("confirms", "") in {"1", "true"}
        try:
            subscriber = self._service.events.subscribe(kinds, confirms=confirms)
        except LockstepError as fault:
            error = {"code": fault.code, "message": str(fault)}
            await socket.send_denial_response(JSONResponse({"error": error}, 400))
            return
        try:
            await socket.accept()
            await socket.send_json(
                {
                    "event": "subscribed",
                    "events": sorted(subscriber.kinds),
                    "chain_id": self._service.view.chain_id.hex(),
                    "height": self._service.readers.state().height,
                }
            )
            await _serve_stream(socket, subscriber)
        finally:
            self._service.events.unsubscribe(subscriber)


async def _serve_stream(socket: WebSocket, subscriber: Subscriber) -> None:
    """Send events until the stream ends, the client leaves, or it no longer reads."""
    leaving = asyncio.create_task(_drain(socket))
    leaving.add_done_callback(lambda _: subscriber.end({"event": "closed"}))
    try:
        while (event := await subscriber.next()) is not None:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await socket.send_text(event.decode())
        await socket.close(subscriber.close_code)
    except (TimeoutError, WebSocketDisconnect) as fault:
        _log.info("rpc.subscriber_gone", extra={"reason": type(fault).__name__})
    finally:
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving


async def _drain(socket: WebSocket) -> None:
    """Read and ignore what a subscriber says, until it leaves."""
    async for _ in _messages(socket):
        pass


async def _messages(socket: WebSocket) -> AsyncIterator[str]:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            yield await socket.receive_text()


async def _read_body(scope: Scope, receive: Receive, bytes_max: int) -> bytes | Response:
    """Return the body, or what to answer where it is too long or does not come."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _gather_body(scope, receive, bytes_max)
    except TimeoutError:
        return PlainTextResponse("the body did not come in time", 408)
    except ClientDisconnect:
        return Response(status_code=400)
    if body is None:
        return PlainTextResponse(f"a body has at most {bytes_max} bytes", 413)
    return body


async def _gather_body(scope: Scope, receive: Receive, bytes_max: int) -> bytes | None:
    """Return the body, or nothing once it grows beyond what is taken."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > bytes_max:
            return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message["body"]
        size += len(part)
        if size > bytes_max:
            return None
        parts.append(part)
        if not message["more_body"]:
            # One part is the usual case, and joining it copies nothing.
            return b"".join(parts)


async def _compress(content: bytes) -> bytes:
    """Compress quickly rather than well; long answers in a thread, so that the loop goes on."""
    if len(content) < THREAD_BYTES_MIN:
        return gzip.compress(content, 1)
    return await asyncio.to_thread(gzip.compress, content, 1)
