"""Calls and answers as bytes, and the cookie: what both clients share. No sockets here.

JSON numbers with a fraction become Decimal, so an amount is never a float.
"""

import base64
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from lockstep.client.faults import BadAnswer, NoCookie, NodeBusy, NotAuthorized, RpcError
from lockstep.primitives.codec import array_head

SUBMIT_TRANSACTIONS_MAX: Final = 400
SUBMISSION_PATH: Final = "/submit"
SUBMISSION_TYPE: Final = "application/msgpack"
JSON_TYPE: Final = "application/json"


class _FaultData(Struct):
    code: str = ""
    hint: str = ""
    retry_after_ms: int = 0


class _Fault(Struct):
    code: int
    message: str
    data: _FaultData | None = None


class _Answer(Struct):
    result: Any = None
    error: _Fault | None = None
    id: int | str | UnsetType | None = UNSET


class SubmitAnswer(Struct, frozen=True):
    """What became of one submitted transaction; `txid` is None where the bytes are none.

    Where `retry_after_ms` is above zero the same may be accepted after that time.
    """

    txid: str | None
    accepted: bool
    code: str
    message: str
    retry_after_ms: int = 0


class _Row(Struct, array_like=True):
    txid: bytes | None
    accepted: bool
    code: str
    message: str
    retry_after_ms: int


class _Refusal(Struct):
    code: str
    message: str
    hint: str
    retry_after_ms: int


_encode: Final = msgspec.json.Encoder().encode
_rows: Final = msgspec.msgpack.Decoder(list[_Row]).decode
_refusal: Final = msgspec.msgpack.Decoder(_Refusal).decode
_decode: Final = msgspec.json.Decoder(_Answer, float_hook=Decimal).decode


def encode_call(method: str, params: tuple[Any, ...], named: dict[str, Any]) -> bytes:
    """Write one call of JSON-RPC 2.0 with positional or named parameters."""
    if params and named:
        raise TypeError("parameters are either positional or named")
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": named or params}
    return _encode(call)


def decode_answer(status: int, body: bytes) -> Any:
    """Return the result of an answered call.

    Raises:
        RpcError: If the node answered with an error.
        NodeBusy: If it has too many connections.
        BadAnswer: If this is no answer of a node.
    """
    try:
        answer = _decode(body)
    except msgspec.MsgspecError as fault:
        raise _no_answer(status, "JSON-RPC answer") from fault
    if answer.error is not None:
        data = answer.error.data or _FaultData()
        raise RpcError(
            answer.error.code,
            data.code,
            answer.error.message,
            data.hint,
            retry_after_ms=data.retry_after_ms,
        )
    if answer.id is UNSET:
        raise BadAnswer(f"status {status} and no JSON-RPC answer")
    return answer.result


def read_submit_answers(result: Any) -> list[SubmitAnswer]:
    """Read the result of `submittransactions`.

    Raises:
        BadAnswer: If it has another shape.
    """
    try:
        return msgspec.convert(result, list[SubmitAnswer])
    except msgspec.ValidationError as fault:
        raise BadAnswer(f"not an answer to submittransactions: {fault}") from fault


def encode_submission(transactions: Sequence[bytes]) -> bytes:
    """Write the body of a binary submission: the batch of these encoded transactions."""
    return b"".join((array_head(1), array_head(len(transactions)), *transactions))


def decode_submission(status: int, body: bytes) -> list[SubmitAnswer]:
    """Return the answers to a binary submission, in order.

    Raises:
        RpcError: If the node looked at nothing of it; its number is the HTTP status.
        NodeBusy: If it has too many connections.
        BadAnswer: If this is no answer of a node.
    """
    try:
        if status != 200:
            fault = _refusal(body)
            raise RpcError(
                status, fault.code, fault.message, fault.hint, retry_after_ms=fault.retry_after_ms
            )
        rows = _rows(body)
    except msgspec.MsgspecError as fault:
        raise _no_answer(status, "answer to a submission") from fault
    return [
        SubmitAnswer(
            None if row.txid is None else row.txid.hex(),
            row.accepted,
            row.code,
            row.message,
            row.retry_after_ms,
        )
        for row in rows
    ]


def check_authorized(status: int) -> None:
    """Raise NotAuthorized if the node refused the cookie, whatever else it says."""
    if status == 401:
        raise NotAuthorized("the node refused the cookie")


def read_authorization(cookie_path: Path) -> str:
    """Read the cookie file and return the value of the Authorization header.

    Raises:
        NoCookie: If the file cannot be read.
    """
    try:
        cookie = cookie_path.read_bytes().strip()
    except OSError as fault:
        raise NoCookie(f"the cookie file {cookie_path} cannot be read: {fault.strerror}") from fault
    return "Basic " + base64.b64encode(cookie).decode()


def _no_answer(status: int, wanted: str) -> BadAnswer | NodeBusy:
    """Return why a body is not what was wanted; the node's HTTP library says 503 in plain text."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return NodeBusy("the node has too many connections")
    return BadAnswer(f"status {status} and no {wanted}")
