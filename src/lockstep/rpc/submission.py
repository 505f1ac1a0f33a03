"""Binary submission: the bytes of a batch in, a row for each payment out; of HTTP the status alone.

The same rules as those of `submittransactions` hold; what is spared is hex, JSON and a copy. All is
MessagePack: the body is what a batch is encoded to, `[[transaction, ...]]` [B1].
"""

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from lockstep.errors import LockstepError, Rejected, Unavailable
from lockstep.primitives.transaction import BATCH_BYTES_MAX
from lockstep.rpc.faults import SubmissionBusy
from lockstep.rpc.service import NodeService

SUBMISSION_PATH: Final = "/submit"
SUBMISSION_TYPE: Final = "application/msgpack"
SUBMISSION_BYTES_MAX: Final = BATCH_BYTES_MAX
"""The body of a binary submission: a batch [B1]."""

_encode: Final = msgspec.msgpack.Encoder().encode


class SubmissionRow(Struct, frozen=True, array_like=True):
    """What became of one payment; `txid` is nil where its bytes are none.

    `code` and `message` are empty where it was accepted; `retry_after_ms` is above zero where the
    same may be accepted later.
    """

    txid: bytes | None
    accepted: bool
    code: str
    message: str
    retry_after_ms: int


class SubmissionFault(Struct, frozen=True):
    """Why nothing of a submission was looked at, as a map."""

    code: str
    message: str
    hint: str
    retry_after_ms: int


class SubmissionReply(Struct, frozen=True):
    """What to answer with: an HTTP status, a body, and when to come again, 0 where that is moot."""

    status: int
    body: bytes
    retry_after_ms: int = 0


async def answer_submission(service: NodeService, body: bytes) -> SubmissionReply:
    """Submit the payments of an encoded batch: 200 and rows, or another status and a fault."""
    try:
        results = await service.submit_batch(body)
    except (Rejected, Unavailable) as fault:
        return refuse_submission(fault, status=400 if isinstance(fault, Rejected) else 503)
    # The fields of a result are those of its row, in the same order.
    rows = [astuple(row) if row.txid else (None, *astuple(row)[1:]) for row in results]
    return SubmissionReply(200, _encode(rows))


def refuse_submission(fault: LockstepError, *, status: int) -> SubmissionReply:
    """Answer a submission of which nothing was looked at."""
    retry_after_ms = fault.retry_after_ms if isinstance(fault, SubmissionBusy) else 0
    answer = SubmissionFault(fault.code, str(fault), fault.hint, retry_after_ms)
    return SubmissionReply(status, _encode(answer), retry_after_ms)
