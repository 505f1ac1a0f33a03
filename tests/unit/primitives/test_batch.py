"""A batch by its parts has the same bytes as the whole, and proves the same [L8, B1]."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from building import RICH, lock_of, make_body, sign
from lockstep.errors import Misuse, Rejected
from lockstep.primitives import codec
from lockstep.primitives.batch import (
    EncodedTransactions,
    Parts,
    decode_batch,
    encode_parts,
    join_batch,
    join_parts,
)
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import (
    BATCH_BYTES_MAX,
    Batch,
    Policy,
    Transaction,
    TransactionBody,
    Witness,
)
from unit.primitives.test_codec import count_nodes, write

CHAIN_ID = bytes(32)


def transactions_of(parts: Parts) -> tuple[Transaction, ...]:
    """Return what the parts of a batch are, whichever form they have."""
    if isinstance(parts, EncodedTransactions):
        return tuple(parts.transactions)
    rows = zip(parts.inputs, parts.outputs, parts.keys, parts.signatures, strict=True)
    return tuple(
        Transaction(
            TransactionBody(1, (outpoint,), outputs, b""),
            (Witness(Policy(1, (key,)), 1, (signature,)),),
        )
        for outpoint, outputs, key, signature in rows
    )


def make_transactions(number: int, *, is_mixed: bool = False) -> tuple[Transaction, ...]:
    """Make payments of two outputs, which are plain, and with `is_mixed` of one or three too."""
    bodies = [
        make_body(
            [make_outpoint(bytes(32), at)],
            [(RICH >> at % 40, lock_of(1))] * (1 + at % 3 if is_mixed else 2),
        )
        for at in range(number)
    ]
    return tuple(sign(body, [1], chain_id=CHAIN_ID) for body in bodies)


@pytest.mark.parametrize("number", [1, 2, 15, 16, 17, 255, 256, 400])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_the_joined_parts_are_the_encoding_of_the_batch(number: int, is_mixed: bool) -> None:
    transactions = make_transactions(1, is_mixed=is_mixed) * number
    body = codec.encode(Batch(transactions))
    parts = encode_parts(transactions)
    assert join_parts(parts.bodies, parts.witnesses) == body
    assert join_batch([codec.encode(each) for each in transactions]) == body
    decoded = decode_batch(body)
    assert transactions_of(decoded) == transactions
    assert [*decoded.bodies] == [codec.encode(each.body) for each in transactions]
    assert [*decoded.witnesses] == [codec.encode(each.witnesses) for each in transactions]


def test_a_row_begins_as_msgspec_writes_it() -> None:
    for number in range(500):
        assert codec.array_head(number) == codec.encode([None] * number)[: -number or None]
    for number in (-1, 2**16):
        with pytest.raises(Misuse):
            codec.array_head(number)


def outcome(decode: object, data: bytes) -> object:
    """Return the transactions, or the code and sentence of the refusal."""
    try:
        found = decode(data)  # type: ignore[operator]  # Two functions of one argument.
    except Rejected as fault:
        return fault.code, str(fault)
    if isinstance(found, Batch):
        return found.transactions
    assert isinstance(found, Parts)
    return transactions_of(found)


def decode_whole(data: bytes) -> Batch:
    return codec.decode(Batch, data, size_max=BATCH_BYTES_MAX)


@given(st.data())
def test_other_bytes_are_refused_as_by_encoding_the_whole_again(data: st.DataObject) -> None:
    """Longer integers, wider headers, missing fields, flipped bits: the same verdict [L8]."""
    made = make_transactions(data.draw(st.integers(1, 4)), is_mixed=data.draw(st.booleans()))
    body = codec.encode(Batch(made))
    plain = msgspec.msgpack.decode(body)
    wide = data.draw(st.integers(0, count_nodes(plain) - 1))
    damaged = bytearray(write(plain, count(), wide))
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    found = outcome(decode_batch, bytes(damaged))
    assert found == outcome(decode_whole, bytes(damaged))
    if isinstance(found, tuple) and found and isinstance(found[0], Transaction):
        assert codec.encode(Batch(found)) == damaged
