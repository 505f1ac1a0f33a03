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
    decode_batch,
    encode_parts,
    join_batch,
    join_parts,
)
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import BATCH_BYTES_MAX, Batch, Transaction
from unit.primitives.test_codec import count_nodes, write

CHAIN_ID = bytes(32)


def make_transactions(number: int) -> tuple[Transaction, ...]:
    bodies = [
        make_body([make_outpoint(bytes(32), at)], [(RICH, lock_of(1))]) for at in range(number)
    ]
    return tuple(sign(body, [1], chain_id=CHAIN_ID) for body in bodies)


@pytest.mark.parametrize("number", [1, 2, 15, 16, 17, 255, 256, 400])
def test_the_joined_parts_are_the_encoding_of_the_batch(number: int) -> None:
    transactions = make_transactions(1) * number
    body = codec.encode(Batch(transactions))
    assert join_parts(encode_parts(transactions)) == body
    assert join_batch([codec.encode(each) for each in transactions]) == body
    decoded = decode_batch(body)
    assert decoded.transactions == transactions
    assert decoded.bodies == [codec.encode(each.body) for each in transactions]
    assert decoded.witnesses == [codec.encode(each.witnesses) for each in transactions]


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
    assert isinstance(found, Batch | EncodedTransactions)
    return tuple(found.transactions)


def decode_whole(data: bytes) -> Batch:
    return codec.decode(Batch, data, size_max=BATCH_BYTES_MAX)


@given(st.data())
def test_other_bytes_are_refused_as_by_encoding_the_whole_again(data: st.DataObject) -> None:
    """Longer integers, wider headers, missing fields, flipped bits: the same verdict [L8]."""
    body = codec.encode(Batch(make_transactions(data.draw(st.integers(1, 3)))))
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
