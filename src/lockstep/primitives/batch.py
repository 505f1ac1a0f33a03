"""A batch as bytes and as parts: what is encoded once is hashed, proven and joined [L8, B1].

A txid covers a body's encoding and a leaf that of the witnesses, so both are needed for every
transaction. Joined they are the batch's own encoding: received bytes that equal them are canonical,
and a batch made here needs no other encoder. A batch of plain payments is read in columns.
"""

from collections.abc import Sequence

from msgspec import Struct

from lockstep.primitives.codec import array_head, decode_unproven, encode, not_canonical
from lockstep.primitives.plain import PlainPayments, read_plain
from lockstep.primitives.transaction import (
    BATCH_BYTES_MAX,
    BATCH_HEAD,
    PAIR_HEAD,
    Batch,
    Transaction,
)


class EncodedTransactions(Struct, frozen=True, gc=False):
    """Transactions, each beside the encodings of its body and of its witnesses."""

    transactions: Sequence[Transaction]
    bodies: Sequence[bytes]
    witnesses: Sequence[bytes]


Parts = PlainPayments | EncodedTransactions
"""The transactions of a batch in the one form or the other; both have `bodies` and `witnesses`."""


def encode_parts(transactions: Sequence[Transaction]) -> EncodedTransactions:
    """Encode the body and the witnesses of each transaction [L8]."""
    return EncodedTransactions(
        transactions,
        list(map(encode, [transaction.body for transaction in transactions])),
        list(map(encode, [transaction.witnesses for transaction in transactions])),
    )


def join_parts(bodies: Sequence[bytes], witnesses: Sequence[bytes]) -> bytes:
    """Return the canonical bytes of the batch of these transactions, at least one [L8, B1]."""
    return BATCH_HEAD + array_head(len(bodies)) + join_pairs(bodies, witnesses)


def join_pairs(bodies: Sequence[bytes], witnesses: Sequence[bytes]) -> bytes:
    """Return the encodings of transactions, one behind the other [L8]."""
    pieces = [PAIR_HEAD] * (3 * len(bodies))
    pieces[1::3] = bodies
    pieces[2::3] = witnesses
    return b"".join(pieces)


def join_batch(encodings: Sequence[bytes]) -> bytes:
    """Return the canonical bytes of the batch of transactions with these encodings [L8, B1]."""
    return b"".join((BATCH_HEAD, array_head(len(encodings)), *encodings))


def decode_batch(body: bytes) -> Parts:
    """Decode the canonical bytes of a batch.

    Raises:
        Oversize: If there are more bytes than a batch may have.
        Malformed: If the bytes are not a batch in canonical form.
    """
    if len(body) <= BATCH_BYTES_MAX and (plain := read_plain(body)) is not None:
        return plain
    batch = decode_unproven(Batch, body, size_max=BATCH_BYTES_MAX)
    parts = encode_parts(batch.transactions)
    if join_parts(parts.bodies, parts.witnesses) != body:
        raise not_canonical(Batch)
    return parts


def decode_transactions(raws: Sequence[bytes]) -> Parts:
    """Decode transactions that came one by one, in canonical bytes, as many as a batch takes.

    Raises:
        Oversize: If together they have more bytes than a batch may have.
        Malformed: If one of them is no transaction in canonical form.
    """
    parts = decode_batch(join_batch(raws))
    sizes = [
        len(PAIR_HEAD) + len(body) + len(witnesses)
        for body, witnesses in zip(parts.bodies, parts.witnesses, strict=True)
    ]
    # Joined, the end of one and the beginning of the next could make up what neither is.
    if sizes != list(map(len, raws)):
        raise not_canonical(Transaction)
    return parts
