"""The JSON-RPC dispatcher: one body in, one reply out; of HTTP it knows the status alone.

Two dialects. 2.0: status 200, one of `result` and `error`. Legacy (1.0, 1.1, or no version at
all): both members always, status 404 for an unknown method and 500 for any other error, as
Bitcoin's clients expect. The id is echoed byte for byte.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from lockstep.errors import Fatal, LockstepError
from lockstep.rpc.faults import (
    DATABASE_ERROR,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    BatchTooLong,
    BodyTooLong,
    FaultAnswer,
    FaultData,
    InvalidRequest,
    MalformedJson,
    TimedOut,
    UnknownMethod,
    answer_fault,
)
from lockstep.rpc.method import Method, call_method
from lockstep.rpc.service import NodeService

BATCH_CALLS_MAX: Final = 10
"""Calls in one body."""
ID_BYTES_MAX: Final = 256
"""The id of a call."""
DEPTH_MAX: Final = 16
"""How deep parameters may be nested."""

_log: Final = logging.getLogger("lockstep.rpc")
_NULL: Final = b"null"
_encode: Final = msgspec.json.Encoder().encode


class Reply(Struct, frozen=True):
    """What to answer with: an HTTP status and a body, empty where no answer is due."""

    status: int
    body: bytes


class _Envelope(Struct):
    method: Raw = Raw()
    params: Raw = Raw()
    id: Raw = Raw()
    jsonrpc: Raw = Raw()
    version: Raw = Raw()


class _Call(Struct):
    method: str
    params: Sequence[Any] | dict[str, Any]
    id: bytes
    is_modern: bool
    is_notification: bool


class Dispatcher:
    """Serves calls of a method table against a service."""

    def __init__(self, service: NodeService, methods: Mapping[str, Method]) -> None:
        """Serve these methods."""
        self._service = service
        self._methods = methods
        self._envelopes = msgspec.json.Decoder(_Envelope)
        self._batches = msgspec.json.Decoder(list[Raw])

    async def dispatch(self, body: bytes) -> Reply:
        """Serve one body, a call or a batch of at most `BATCH_CALLS_MAX`."""
        try:
            if body.lstrip()[:1] != b"[":
                return await self._serve(body, len(body))
            calls = self._batches.decode(body)
        except (msgspec.DecodeError, RecursionError) as fault:
            return _refuse(MalformedJson(f"the body is not JSON: {fault}"))
        if not 1 <= len(calls) <= BATCH_CALLS_MAX:
            sentence = f"a batch has 1 to {BATCH_CALLS_MAX} calls, not {len(calls)}"
            return _refuse(BatchTooLong(sentence))
        replies = [await self._serve(bytes(call), len(body)) for call in calls]
        parts = [reply.body for reply in replies if reply.body]
        return Reply(200, b"[" + b",".join(parts) + b"]") if parts else Reply(204, b"")

    async def _serve(self, body: bytes, body_bytes: int) -> Reply:
        try:
            call = self._read(body)
        except (InvalidRequest, MalformedJson) as fault:
            return _refuse(fault)
        result: bytes = _NULL
        error: FaultAnswer | None = None
        try:
            result = await self._run(call, body_bytes)
        except Fatal as fault:
            # The disk or an invariant is gone: the node must stop, whoever noticed it.
            self._service.fail(fault)
            error = FaultAnswer(DATABASE_ERROR, str(fault), FaultData(fault.code, fault.hint))
        except LockstepError as fault:
            error = answer_fault(fault)
        except Exception:  # noqa: BLE001  # No call may bring the door down; it is logged whole.
            _log.exception("rpc.internal", extra={"method": call.method[:64]})
            text = "an internal error; the node's log has more"
            error = FaultAnswer(INTERNAL_ERROR, text, FaultData("rpc.internal", ""))
        return _reply(call, result, error)

    def _read(self, body: bytes) -> _Call:
        """Read the envelope of one call.

        Raises:
            MalformedJson: If it is not JSON.
            InvalidRequest: If it is no JSON-RPC request.
        """
        try:
            envelope = self._envelopes.decode(body)
            method, params, jsonrpc, version = (
                msgspec.json.decode(raw) if raw else None
                for raw in (envelope.method, envelope.params, envelope.jsonrpc, envelope.version)
            )
            call_id = _read_id(envelope.id)
        except msgspec.ValidationError as fault:
            raise InvalidRequest("a call is a JSON object") from fault
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as fault:
            raise MalformedJson(f"the body is not JSON: {fault}") from fault
        if jsonrpc not in (None, "1.0", "1.1", 1, "2.0") or version not in (None, "1.0", "1.1"):
            raise InvalidRequest("the version of JSON-RPC is not 1.0, 1.1 or 2.0")
        if not isinstance(method, str):
            raise InvalidRequest("the method must be a string")
        if params is not None and not isinstance(params, list | dict):
            raise InvalidRequest("params must be an array or an object")
        if _is_deeper(params, DEPTH_MAX):
            raise InvalidRequest(f"params are nested deeper than {DEPTH_MAX} levels")
        return _Call(
            method=method,
            params=[] if params is None else params,
            id=call_id,
            is_modern=jsonrpc == "2.0",
            is_notification=jsonrpc == "2.0" and not envelope.id,
        )

    async def _run(self, call: _Call, body_bytes: int) -> bytes:
        method = self._methods.get(call.method)
        if method is None:
            raise UnknownMethod(f"there is no method {call.method[:64]!r}")
        if body_bytes > method.body_bytes_max:
            most = method.body_bytes_max
            raise BodyTooLong(f"a body of {body_bytes} bytes where {method.name} takes {most}")
        arguments = method.read_parameters(call.params)
        try:
            async with asyncio.timeout(method.timeout_ms / 1000):
                return _encode(await call_method(method, self._service, arguments))
        except TimeoutError as fault:
            raise TimedOut(f"{method.name} took over {method.timeout_ms} ms") from fault


def _read_id(raw: Raw) -> bytes:
    """Return the id's own bytes: a string, a number or null of bounded length.

    Raises:
        InvalidRequest: If it is anything else.
    """
    data = bytes(raw).strip() if raw else _NULL
    if len(data) > ID_BYTES_MAX or data[:1] not in b'"-0123456789n':
        raise InvalidRequest(f"the id must be a string or number of at most {ID_BYTES_MAX} bytes")
    data.decode()
    return data


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether arrays and objects are nested in more than this many levels."""
    if not isinstance(value, (list, dict)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    # Most of what is long is a list of texts.
    nested = [item for item in inner if isinstance(item, (list, dict))]
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in nested)


def _reply(call: _Call, result: bytes, error: FaultAnswer | None) -> Reply:
    if call.is_notification:
        return Reply(204, b"")
    failure = _NULL if error is None else _encode(error)
    if not call.is_modern:
        body = b'{"result":' + result + b',"error":' + failure + b',"id":' + call.id + b"}"
        return Reply(200 if error is None else _legacy_status(error.code), body)
    member = b'"result":' + result if error is None else b'"error":' + failure
    return Reply(200, b'{"jsonrpc":"2.0",' + member + b',"id":' + call.id + b"}")


def _legacy_status(number: int) -> int:
    if number == METHOD_NOT_FOUND:
        return 404
    return 400 if number == INVALID_REQUEST else 500


def _refuse(fault: MalformedJson | InvalidRequest | BatchTooLong) -> Reply:
    """Answer what is no request, so that clients of either dialect find the error."""
    error = _encode(answer_fault(fault))
    return Reply(400, b'{"jsonrpc":"2.0","error":' + error + b',"id":null}')
