"""A batch as bytes and as parts: what is encoded once is hashed, proven and joined [L8, B1].

A txid covers a body's encoding and a leaf that of the witnesses, so both are needed for every
transaction. Joined they are the batch's own encoding: received bytes that equal them are canonical,
and a batch made here needs no other encoder.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from lockstep.primitives.codec import array_head, decode_unproven, encode, not_canonical
from lockstep.primitives.transaction import BATCH_BYTES_MAX, Batch, Transaction

PAIR_HEAD: Final = array_head(2)
"""Begins the encoding of a transaction; its body's and its witnesses' follow."""
_BATCH_HEAD: Final = array_head(1)


class EncodedTransactions(Struct, frozen=True, gc=False):
    """Transactions, each beside the encodings of its body and of its witnesses."""

    transactions: Sequence[Transaction]
    bodies: list[bytes]
    witnesses: list[bytes]


def encode_parts(transactions: Sequence[Transaction]) -> EncodedTransactions:
    """Encode the body and the witnesses of each transaction [L8]."""
    return EncodedTransactions(
        transactions,
        list(map(encode, [transaction.body for transaction in transactions])),
        list(map(encode, [transaction.witnesses for transaction in transactions])),
    )


def join_parts(parts: EncodedTransactions) -> bytes:
    """Return the canonical bytes of the batch of these transactions, at least one [L8, B1]."""
    count = len(parts.transactions)
    pieces = [PAIR_HEAD] * (3 * count)
    pieces[1::3] = parts.bodies
    pieces[2::3] = parts.witnesses
    return _BATCH_HEAD + array_head(count) + b"".join(pieces)


def join_batch(encodings: Sequence[bytes]) -> bytes:
    """Return the canonical bytes of the batch of transactions with these encodings [L8, B1]."""
    return b"".join((_BATCH_HEAD, array_head(len(encodings)), *encodings))


def decode_batch(body: bytes) -> EncodedTransactions:
    """Decode the canonical bytes of a batch.

    Raises:
        Oversize: If there are more bytes than a batch may have.
        Malformed: If the bytes are not a batch in canonical form.
    """
    batch = decode_unproven(Batch, body, size_max=BATCH_BYTES_MAX)
    parts = encode_parts(batch.transactions)
    if join_parts(parts) != body:
        raise not_canonical(Batch)
    return parts


def decode_transactions(raws: Sequence[bytes]) -> EncodedTransactions:
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
