"""Faults of a call, and the JSON-RPC numbers that faults of any room are answered with.

The numbers are Bitcoin's where it has one; our dotted code stands beside it in `data`.
"""

from typing import ClassVar, Final

from msgspec import Struct

from lockstep.errors import LockstepError, Rejected, Unavailable

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
TYPE_ERROR: Final = -3
INVALID_ADDRESS_OR_KEY: Final = -5
INVALID_PARAMETER: Final = -8
DATABASE_ERROR: Final = -20
DESERIALIZATION_ERROR: Final = -22
VERIFY_ERROR: Final = -25
VERIFY_REJECTED: Final = -26
NOT_NOW: Final = -28

_NUMBER_OF_CODE: Final = {
    "bytes.malformed": DESERIALIZATION_ERROR,
    "bytes.oversize": DESERIALIZATION_ERROR,
    "address.malformed": INVALID_ADDRESS_OR_KEY,
    "address.network": INVALID_ADDRESS_OR_KEY,
    "tx.coin_unknown": VERIFY_ERROR,
    "pool.full": NOT_NOW,
    "submit.busy": NOT_NOW,
    "submit.slow": NOT_NOW,
}


class CallFault(Rejected):
    """The call cannot be served as it was made; `number` is its JSON-RPC error number."""

    code = "rpc.call"
    number: ClassVar[int] = INVALID_REQUEST


class MalformedJson(CallFault):
    """The body is not JSON, or nested too deeply."""

    code = "rpc.parse"
    number = PARSE_ERROR


class InvalidRequest(CallFault):
    """The JSON is no JSON-RPC request."""

    code = "rpc.request"
    number = INVALID_REQUEST


class BatchTooLong(CallFault):
    """A batch holds more calls than allowed."""

    code = "rpc.batch"
    number = INVALID_REQUEST


class BodyTooLong(CallFault):
    """The body is longer than this method may use."""

    code = "rpc.body"
    number = INVALID_REQUEST


class UnknownMethod(CallFault):
    """There is no method of this name."""

    code = "rpc.method"
    hint = "`help` lists the methods"
    number = METHOD_NOT_FOUND


class WrongParameters(CallFault):
    """A parameter is missing, unknown or one too many."""

    code = "rpc.params"
    hint = "`help METHOD` shows the parameters"
    number = INVALID_PARAMS


class WrongType(CallFault):
    """A parameter has the wrong JSON type."""

    code = "rpc.param_type"
    number = TYPE_ERROR


class WrongValue(CallFault):
    """A parameter has the right type and an impossible value."""

    code = "rpc.param_value"
    number = INVALID_PARAMETER


class NotFound(CallFault):
    """Nothing known goes by this name."""

    code = "rpc.not_found"
    number = INVALID_ADDRESS_OR_KEY


class TransactionRefused(Rejected):
    """A transaction was refused; `reason` is the dotted code of the rule it breaks."""

    code = "tx.refused"

    def __init__(self, reason: str, sentence: str, *, retry_after_ms: int = 0) -> None:
        """Carry the refusal as the node gave it, and when to come again where that may help."""
        super().__init__(sentence)
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class SubmissionSlow(Unavailable):
    """The node has not decided about a payment in time; it may still become final."""

    code = "submit.slow"
    hint = "ask for the payment's state, or submit it again: the same payment is never paid twice"


class SubmissionBusy(Unavailable):
    """As many payments wait to be looked at as this node looks at."""

    code = "submit.busy"
    hint = "submit the payment again after the time that is told, or to another node"

    def __init__(self, sentence: str, *, retry_after_ms: int) -> None:
        """Say when there should be room again."""
        super().__init__(sentence)
        self.retry_after_ms = retry_after_ms


class TooManyWaiters(Unavailable):
    """More calls wait for finality than this node keeps."""

    code = "rpc.waiters"
    hint = "subscribe to final events on /ws instead of waiting for each payment"


class Stopping(Unavailable):
    """The node is stopping and takes no new work."""

    code = "node.stopping"
    hint = "submit to another masternode, or again after the restart"


class NoRoom(Unavailable):
    """The node's disk is full, or nearly: it takes no work and signs nothing until it is not."""

    code = "node.disk_full"
    hint = "make room on the node's disk, it goes on by itself; or submit to another masternode"


class TimedOut(Unavailable):
    """The call took longer than the node allows."""

    code = "rpc.timeout"


class FaultData(Struct, frozen=True, omit_defaults=True):
    """Our dotted code and the next step, beside the number; when to come again, where known."""

    code: str
    hint: str
    retry_after_ms: int = 0


class FaultAnswer(Struct, frozen=True):
    """The `error` member of an answer."""

    code: int
    message: str
    data: FaultData


def refusal_number(code: str) -> int:
    """Return Bitcoin's number for the dotted code of a refused transaction."""
    return _NUMBER_OF_CODE.get(code, VERIFY_REJECTED)


def answer_fault(fault: LockstepError) -> FaultAnswer:
    """Put a fault of any room into the words of JSON-RPC."""
    code = fault.code
    if isinstance(fault, CallFault):
        number = fault.number
    elif isinstance(fault, TransactionRefused):
        code = fault.reason
        number = refusal_number(code)
    elif isinstance(fault, Rejected):
        number = _NUMBER_OF_CODE.get(code, INVALID_PARAMETER)
    elif isinstance(fault, Unavailable):
        number = NOT_NOW
    else:
        number = INTERNAL_ERROR
    retry_after_ms = 0
    if isinstance(fault, TransactionRefused | SubmissionBusy):
        retry_after_ms = fault.retry_after_ms
    return FaultAnswer(number, str(fault), FaultData(code, fault.hint, retry_after_ms))
