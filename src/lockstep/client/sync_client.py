"""The synchronous client: the standard library alone, so that a command starts at once."""

import gzip
import http.client
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

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
from lockstep.client.faults import NodeSlow, NodeUnreachable, NotAuthorized

TIMEOUT_S: Final = 75


class SyncRpcClient:
    """Calls one node over one kept connection; not for several threads at once."""

    def __init__(
        self, host: str, port: int, cookie_path: Path, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Prepare to call; nothing is opened yet."""
        self._address = f"{host}:{port}"
        self._cookie_path = cookie_path
        self._authorization = ""
        self._connection = http.client.HTTPConnection(host, port, timeout=timeout_s)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def call(self, method: str, *params: Any, **named: Any) -> Any:
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
        return decode_answer(*self._send("/", JSON_TYPE, body))

    def submit_encoded(self, transactions: Sequence[bytes]) -> list[SubmitAnswer]:
        """Submit as `submit` does, in binary: a fifth of the work at both ends.

        Raises:
            RpcError: If the node looked at nothing of it; where it is busy, `retry_after_ms` says
                when to come again.
            NodeUnreachable, NodeSlow, NotAuthorized, NoCookie, BadAnswer: As `call` does.
        """
        body = encode_submission(transactions)
        return decode_submission(*self._send(SUBMISSION_PATH, SUBMISSION_TYPE, body))

    def _send(self, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        """Post a body, once more where the connection broke or the cookie is a new one."""
        if not self._authorization:
            self._authorization = read_authorization(self._cookie_path)
        broken = refused = False
        while True:
            try:
                return self._post(path, kind, body)
            except NodeUnreachable:
                if broken:
                    raise
                broken = True
            except NotAuthorized:
                if refused:
                    raise
                refused = True
                self._authorization = read_authorization(self._cookie_path)

    def submit(self, transactions: Sequence[bytes]) -> list[SubmitAnswer]:
        """Submit up to 400 encoded transactions at once; return an answer for each, in order."""
        result = self.call("submittransactions", [raw.hex() for raw in transactions])
        return read_submit_answers(result)

    def pages(self, method: str, **named: Any) -> Iterator[Any]:
        """Yield all items of a paged list, page by page."""
        cursor = ""
        while cursor is not None:
            page = self.call(method, **named, cursor=cursor)
            yield from page["items"]
            cursor = page["cursor"]

    def get(self, path: str) -> tuple[int, bytes]:
        """Read a page that needs no cookie, like /readyz; return its status and body.

        Raises:
            NodeUnreachable: If the node could not be reached, twice.
        """
        with suppress(NodeUnreachable):
            return self._exchange("GET", path, None, {})
        return self._exchange("GET", path, None, {})

    def _post(self, path: str, kind: str, body: bytes) -> tuple[int, bytes]:
        headers = {"Authorization": self._authorization, "Content-Type": kind}
        status, content = self._exchange("POST", path, body, headers)
        check_authorized(status)
        return status, content

    def _exchange(
        self, verb: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        try:
            self._connection.request(verb, path, body, {**headers, "Accept-Encoding": "gzip"})
            answer = self._connection.getresponse()
            content = answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
        except TimeoutError as fault:
            self._connection.close()
            raise NodeSlow(f"the node at {self._address} did not answer in time") from fault
        except (OSError, http.client.HTTPException, EOFError) as fault:
            self._connection.close()
            raise NodeUnreachable(f"no answer from {self._address}: {fault!r}") from fault
        return answer.status, content
