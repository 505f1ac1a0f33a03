"""Calls and answers as bytes, and the cookie: what both clients share. No sockets here.

JSON numbers with a fraction become Decimal, so an amount is never a float.
"""

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from lockstep.client.faults import BadAnswer, NoCookie, NotAuthorized, RpcError

SUBMIT_TRANSACTIONS_MAX: Final = 400


class _FaultData(Struct):
    code: str = ""
    hint: str = ""


class _Fault(Struct):
    code: int
    message: str
    data: _FaultData | None = None


class _Answer(Struct):
    result: Any = None
    error: _Fault | None = None
    id: int | str | UnsetType | None = UNSET


class SubmitAnswer(Struct, frozen=True):
    """What became of one submitted transaction; `txid` is None where the bytes are none."""

    txid: str | None
    accepted: bool
    code: str
    message: str


_encode: Final = msgspec.json.Encoder().encode
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
        NotAuthorized: If it refused the cookie.
        BadAnswer: If this is no answer of a node.
    """
    if status == 401:
        raise NotAuthorized("the node refused the cookie")
    try:
        answer = _decode(body)
    except msgspec.MsgspecError as fault:
        raise BadAnswer(f"status {status} and no JSON-RPC answer") from fault
    if answer.error is not None:
        data = answer.error.data or _FaultData()
        raise RpcError(answer.error.code, data.code, answer.error.message, data.hint)
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
