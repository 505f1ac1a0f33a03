"""The asynchronous client: many calls at once over kept connections, and event streams."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from lockstep.client.envelope import (
    JSON_TYPE,
    SUBMISSION_PATH,
    SUBMISSION_TYPE,
    SubmitAnswer,
    check_authorized,
    decode_answer,
    decode_submission,
    encode_call,
    encode_submission,
    read_authorization,
    read_submit_answers,
)
from lockstep.client.faults import (
    BadAnswer,
    NodeSlow,
    NodeUnreachable,
    NotAuthorized,
    SubscriptionLost,
)

TIMEOUT_S: Final = 75
CONNECTIONS_MAX: Final = 64
STREAM_BYTES_MIN: Final = 512 * 1024
EVENT_BYTES_MAX: Final = 64 * 1024 * 1024

_decode_event: Final = msgspec.json.Decoder(dict[str, Any]).decode


class RpcClient:
    """Calls one node; use it as an async context manager, from one loop.

    Every method of the interface may be called again without harm, so a call whose connection broke
    is sent a second time. The cookie is read again when the node refuses it: it was restarted.
    """

    def __init__(
        self, host: str, port: int, cookie_path: Path, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Prepare to call; nothing is opened yet."""
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._cookie_path = cookie_path
        self._authorization = ""
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, method: str, *params: Any, **named: Any) -> Any:
        """Call a method and return its result; numbers with a fraction come as Decimal.

        Raises:
            RpcError: If the node answered with an error.
            NodeUnreachable: If it could not be reached, twice.
            NodeSlow: If it did not answer in time.
            NotAuthorized: If it refuses the cookie that is in the file now.
            NoCookie: If the file cannot be read.
            BadAnswer: If what answers is no node.
        """
        body = encode_call(method, params, named)
        return decode_answer(*await self._send("/", JSON_TYPE, body))

    async def submit_encoded(self, transactions: Sequence[bytes]) -> list[SubmitAnswer]:
        """Submit as `submit` does, in binary: a fifth of the work at both ends.

        Raises:
            RpcError: If the node looked at nothing of it; where it is busy, `retry_after_ms` says
                when to come again.
            NodeUnreachable, NodeSlow, NotAuthorized, NoCookie, BadAnswer: As `call` does.
        """
        body = encode_submission(transactions)
        return decode_submission(*await self._send(SUBMISSION_PATH, SUBMISSION_TYPE, body))

    async def _send(self, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        """Post a body, once more where the connection broke or the cookie is a new one."""
        if not self._authorization:
            self._authorization = read_authorization(self._cookie_path)
        broken = refused = False
        while True:
            try:
                return await self._post(path, kind, body)
            except NodeUnreachable:
                if broken:
                    raise
                broken = True
            except NotAuthorized:
                if refused:
                    raise
                refused = True
                self._authorization = read_authorization(self._cookie_path)

    async def submit(self, transactions: Sequence[bytes]) -> list[SubmitAnswer]:
        """Submit up to 400 encoded transactions at once; return an answer for each, in order."""
        result = await self.call("submittransactions", [raw.hex() for raw in transactions])
        return read_submit_answers(result)

    async def pages(self, method: str, **named: Any) -> AsyncIterator[Any]:
        """Yield all items of a paged list, page by page."""
        cursor = ""
        while cursor is not None:
            page = await self.call(method, **named, cursor=cursor)
            for item in page["items"]:
                yield item
            cursor = page["cursor"]

    async def events(
        self, *kinds: str, confirms: bool = False, reconnect: bool = False
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield events as they come; after the first, named subscribed, none is missed.

        With `reconnect` a lost stream is opened again, and another subscribed event marks the gap;
        without it the loss is raised.

        Raises:
            SubscriptionLost: If the stream ended.
            NodeUnreachable: If it could not be opened.
            NotAuthorized: If the node refuses the cookie.
        """
        delay_s = 0.1
        while True:
            try:
                async for event in self._events(kinds, confirms=confirms):
                    delay_s = 0.1
                    yield event
            except (SubscriptionLost, NodeUnreachable, NotAuthorized):
                if not reconnect:
                    raise
            await asyncio.sleep(delay_s)
            delay_s = min(2.0, 2 * delay_s)

    async def _events(
        self, kinds: Sequence[str], *, confirms: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        query = f"events={','.join(kinds)}&confirms={int(confirms)}"
        headers = {"Authorization": read_authorization(self._cookie_path)}
        try:
            async with connect(
                f"ws://{self._address}/ws?{query}",
                additional_headers=headers,
                compression=None,
                max_size=EVENT_BYTES_MAX,
                proxy=None,
            ) as socket:
                async for message in socket:
                    event = _decode_event(message)
                    yield event
                    if event["event"] == "overrun":
                        raise SubscriptionLost(event["message"])
        except InvalidStatus as fault:
            if fault.response.status_code == 401:
                raise NotAuthorized("the node refused the cookie") from fault
            body = fault.response.body or b""
            raise BadAnswer(f"the node refused the subscription: {body.decode()}") from fault
        except (OSError, InvalidHandshake) as fault:
            raise NodeUnreachable(f"no event stream from {self._address}: {fault}") from fault
        except WebSocketException as fault:
            raise SubscriptionLost(f"the event stream of {self._address} broke: {fault}") from fault
        raise SubscriptionLost(f"the event stream of {self._address} ended")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, trust_env=False
            )
        return self._session

    async def _post(self, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Authorization": self._authorization, "Content-Type": kind}
        # The library sends a stream piece by piece, so that a long one does not hold up the loop.
        data = io.BytesIO(body) if len(body) > STREAM_BYTES_MIN else body
        try:
            async with self._open().post(
                f"http://{self._address}{path}", data=data, headers=headers
            ) as answer:
                content = await answer.read()
        except TimeoutError as fault:
            raise NodeSlow(f"the node at {self._address} did not answer in time") from fault
        except (aiohttp.ClientError, OSError) as fault:
            raise NodeUnreachable(f"no answer from {self._address}: {fault!r}") from fault
        check_authorized(answer.status)
        return answer.status, content
