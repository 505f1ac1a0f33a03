"""`lockstep bench codec`: payments to bytes and back, together and one by one.

A batch is decoded whole and proven canonical by the encodings of its parts, which are needed in any
case. Beside it stand the ways that are not taken: to encode the whole again, and to handle every
payment by itself.
"""

from typing import Final

from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.errors import Misuse
from lockstep.primitives.batch import decode_batch, encode_parts, join_batch, join_parts
from lockstep.primitives.codec import decode, encode
from lockstep.primitives.transaction import (
    BATCH_BYTES_MAX,
    BATCH_TRANSACTIONS_MAX,
    TRANSACTION_BYTES_MAX,
    Batch,
    Transaction,
)

SIZES: Final = (1, 20, BATCH_TRANSACTIONS_MAX)


def run(request: Request) -> Report:
    """Measure batches of several sizes, and the largest one payment by payment."""
    maker = PaymentMaker(make_genesis([1] * 4, coins=BATCH_TRANSACTIONS_MAX))
    variants: dict[str, Variant] = {}
    for size in SIZES:
        variants |= _whole(maker.make_body(0, size), size)
    body = maker.make_body(0, BATCH_TRANSACTIONS_MAX)
    variants |= _one_by_one(body)
    figures = measure(variants, repetitions=request.repetitions)
    content = {"bytes_per_payment": round(len(body) / BATCH_TRANSACTIONS_MAX)}
    return Report(figures=figures, content=content, lines=_describe(figures))


def _whole(body: bytes, size: int) -> dict[str, Variant]:
    batch = decode(Batch, body, size_max=BATCH_BYTES_MAX)
    if _join(batch) != body:
        raise Misuse("the parts of a batch do not join to it")
    return {
        f"decode a batch of {size}": Variant(lambda: decode_batch(body), size),
        f"decode and encode whole, {size}": Variant(
            lambda: decode(Batch, body, size_max=BATCH_BYTES_MAX), size
        ),
        f"encode a batch of {size}": Variant(lambda: encode(batch), size),
        f"encode by parts, {size}": Variant(lambda: _join(batch), size),
    }


def _join(batch: Batch) -> bytes:
    parts = encode_parts(batch.transactions)
    return join_parts(parts.bodies, parts.witnesses)


def _one_by_one(body: bytes) -> dict[str, Variant]:
    transactions = decode(Batch, body, size_max=BATCH_BYTES_MAX).transactions
    raws = [encode(each) for each in transactions]
    count = len(raws)

    def decode_each() -> list[Transaction]:
        return [decode(Transaction, raw, size_max=TRANSACTION_BYTES_MAX) for raw in raws]

    return {
        f"join {count} encoded payments": Variant(lambda: join_batch(raws), count),
        f"encode {count} one by one": Variant(lambda: list(map(encode, transactions)), count),
        f"decode {count} one by one": Variant(decode_each, count),
    }


def _describe(figures: dict[str, Figure]) -> list[str]:
    lines = ["CPU microseconds a payment (10th to 90th percentile)"]
    for name, found in figures.items():
        lines.append(f"  {name:30} {found.cpu:8.3f} ({found.cpu_low:.3f} to {found.cpu_high:.3f})")
    return lines
