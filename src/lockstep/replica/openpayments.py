"""Payments that people hand in, opened: decoded and derived once, before a batch is made of them.

What comes out is what a batch is joined from, so nothing is encoded or hashed a second time. Whose
bytes are no payment gets a fault of his own, and costs the others nothing but time.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final

import msgspec
from msgspec import Raw, Struct

from lockstep.errors import Rejected
from lockstep.primitives.batch import (
    Parts,
    decode_batch,
    decode_transactions,
    encode_parts,
    join_parts,
)
from lockstep.primitives.codec import Malformed, Oversize, decode
from lockstep.primitives.transaction import (
    BATCH_BYTES_MAX,
    BATCH_TRANSACTIONS_MAX,
    TRANSACTION_BYTES_MAX,
    Transaction,
    VerifiedTransaction,
    Witness,
)
from lockstep.replica.judging import STEP_TRANSACTIONS
from lockstep.replica.witnesses import Opened, derive_parts

STEP_BYTES: Final = BATCH_BYTES_MAX // 2
"""Encoded bytes of payments that are opened between two looks at the sockets."""
_rows: Final = msgspec.msgpack.Decoder(tuple[list[Raw]])


class OpenPayment(Struct, frozen=True, gc=False):
    """A payment with what follows from its bytes, and who is to have signed it.

    Attributes:
        derived: The payment; whether its witnesses are good is to be found out yet.
        key, signature: Of the one witness of one key; empty where the witnesses are others.
        witnesses: Those, else none.
    """

    derived: VerifiedTransaction
    key: bytes
    signature: bytes
    witnesses: tuple[Witness, ...]


def open_payments(parts: Parts) -> list[OpenPayment]:
    """Derive decoded payments; no signature is checked."""
    opened = derive_parts(parts, 0, len(parts.bodies))
    others = opened.others
    witnesses = [others.get(place, ()) for place in range(len(opened.derived))] if others else []
    return list(
        map(
            OpenPayment,
            opened.derived,
            opened.keys,
            opened.signatures,
            witnesses or repeat(()),
        )
    )


def gather_payments(payments: Sequence[OpenPayment]) -> list[Opened]:
    """Return the payments as a batch of them is judged, in steps."""
    steps: list[Opened] = []
    for start in range(0, len(payments), STEP_TRANSACTIONS):
        step = payments[start : start + STEP_TRANSACTIONS]
        others = {place: each.witnesses for place, each in enumerate(step) if not each.key}
        steps.append(
            Opened(
                [each.derived for each in step],
                [each.key for each in step],
                [each.signature for each in step],
                others,
            )
        )
    return steps


def join_payments(payments: Sequence[OpenPayment]) -> bytes:
    """Return the canonical bytes of the batch of these payments, at least one [L8, B1]."""
    return join_parts(
        [payment.derived.body for payment in payments],
        [payment.derived.witnesses for payment in payments],
    )


def open_encoded(raws: Sequence[bytes]) -> list[OpenPayment | Rejected]:
    """Open encoded payments, as many as a batch takes; a fault stands where bytes are none [L8]."""
    opened: list[OpenPayment | Rejected] = []
    try:
        opened += open_payments(decode_transactions(raws))
    except Rejected:
        # One of them is bad, or together they are too long: each is looked at by itself.
        for raw in raws:
            try:
                transaction = decode(Transaction, raw, size_max=TRANSACTION_BYTES_MAX)
                opened += open_payments(encode_parts([transaction]))
            except Rejected as fault:
                opened.append(fault)
    return opened


def open_body(body: bytes) -> list[OpenPayment | Rejected]:
    """Open payments that come as the bytes of one batch [L8, B1].

    Raises:
        Oversize: If there are more bytes or payments than a batch takes.
        Malformed: If the bytes are no row of values.
    """
    opened: list[OpenPayment | Rejected] = []
    try:
        opened += open_payments(decode_batch(body))
    except Oversize:
        raise
    except Malformed:
        opened += open_encoded(_split(body))
    return opened


def _split(body: bytes) -> list[bytes]:
    """Cut what is no batch into what should be its payments."""
    try:
        [rows] = _rows.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Malformed(f"not a batch: {fault}") from fault
    if not 1 <= len(rows) <= BATCH_TRANSACTIONS_MAX:
        raise Oversize(f"{len(rows)} payments where 1 to {BATCH_TRANSACTIONS_MAX} are taken")
    return [bytes(row) for row in rows]


def cut_into_steps(raws: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the payments in pieces that are each opened in a millisecond or two, in order."""
    start = size_bytes = 0
    for place, raw in enumerate(raws):
        size_bytes += len(raw)
        if place > start and (size_bytes > STEP_BYTES or place - start == BATCH_TRANSACTIONS_MAX):
            yield raws[start:place]
            start, size_bytes = place, len(raw)
    yield raws[start:]
