"""What is read in columns is what the decoder finds, and nothing else is read so [L8, L4]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.ledger.rules import has_good_shape
from lockstep.primitives.codec import encode
from lockstep.primitives.params import DUST, SUPPLY_MAX
from lockstep.primitives.plain import read_plain
from lockstep.primitives.transaction import (
    BATCH_TRANSACTIONS_MAX,
    Batch,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
)
from unit.primitives.test_batch import transactions_of

amounts = st.one_of(
    st.sampled_from(
        [
            *(0, 127, 128, 255, 256, DUST - 1, DUST, 2**15, 2**16 - 1, 2**16, 2**31),
            *(2**32 - 1, 2**32, SUPPLY_MAX - DUST, SUPPLY_MAX),
        ]
    ),
    st.integers(0, SUPPLY_MAX),
)
# Bytes that look like heads of what stands beside them.
hashes = st.one_of(
    st.sampled_from([b"\x92" * 32, b"\xc4\x20" * 16, bytes(32), b"\n" * 32]),
    st.binary(min_size=32, max_size=32),
)
outputs = st.lists(st.builds(TransactionOutput, amounts, hashes), min_size=1, max_size=3)
plain = st.builds(
    lambda outpoint, paid, key, signature: Transaction(
        TransactionBody(1, (outpoint,), tuple(paid), b""),
        (Witness(Policy(1, (key,)), 1, (signature,)),),
    ),
    st.binary(min_size=36, max_size=36),
    st.tuples(*[st.builds(TransactionOutput, amounts, hashes)] * 2),
    hashes,
    st.binary(min_size=64, max_size=64),
)


def is_plain(transaction: Transaction) -> bool:
    """Tell by the fields what the pattern tells by the bytes."""
    body, witnesses = transaction.body, transaction.witnesses
    return (
        (len(body.inputs), len(body.outputs), body.memo, len(witnesses)) == (1, 2, b"", 1)
        and len(witnesses[0].policy.keys) == 1
        and has_good_shape(transaction, size_bytes=len(encode(transaction)))
    )


def strange(good: Transaction) -> list[Transaction]:
    """Return transactions that differ in one thing from a plain one."""
    body, (witness,) = good.body, good.witnesses
    version, inputs, paid = body.version, body.inputs, body.outputs
    keys, signatures = witness.policy.keys, witness.signatures
    bodies = [
        TransactionBody(version + 1, inputs, paid, b""),
        TransactionBody(version, (), paid, b""),
        TransactionBody(version, inputs * 2, paid, b""),
        TransactionBody(version, inputs, paid[:1], b""),
        TransactionBody(version, inputs, paid * 2, b""),
        TransactionBody(version, inputs, paid, b"m"),
    ]
    rows = [
        (),
        (witness, witness),
        (Witness(Policy(2, keys), 1, signatures),),
        (Witness(Policy(1, keys), 2, signatures),),
        (Witness(Policy(1, keys), 0, signatures),),
        (Witness(Policy(1, keys * 2), 1, signatures),),
        (Witness(Policy(1, keys), 1, signatures * 2),),
    ]
    return [
        *[Transaction(each, good.witnesses) for each in bodies],
        *[Transaction(body, each) for each in rows],
    ]


@given(st.lists(plain, min_size=1, max_size=20))
def test_columns_are_what_the_decoder_finds(payments: list[Transaction]) -> None:
    body = encode(Batch(tuple(payments)))
    found = read_plain(body)
    assert (found is not None) == all(map(is_plain, payments))
    if found is not None:
        assert transactions_of(found) == tuple(payments)
        assert [*found.bodies] == [encode(each.body) for each in payments]
        assert [*found.witnesses] == [encode(each.witnesses) for each in payments]
        assert [*found.paid] == [sum(o.amount for o in each.body.outputs) for each in payments]


@given(plain, st.data())
def test_one_that_is_not_plain_has_the_batch_decoded(
    payment: Transaction, data: st.DataObject
) -> None:
    others = [payment] * data.draw(st.integers(0, 3))
    for other in strange(payment):
        place = data.draw(st.integers(0, len(others)))
        batch = Batch((*others[:place], other, *others[place:]))
        assert read_plain(encode(batch)) is None


@given(st.lists(plain.filter(is_plain), min_size=1, max_size=3), st.data())
def test_bytes_before_between_or_behind_are_not_passed_over(
    payments: list[Transaction], data: st.DataObject
) -> None:
    body = encode(Batch(tuple(payments)))
    place = data.draw(st.integers(0, len(body)))
    more = data.draw(st.one_of(st.binary(min_size=1, max_size=4), st.just(encode(payments[0]))))
    damaged = body[:place] + more + body[place:]
    found = read_plain(damaged)
    assert found is None or encode(Batch(transactions_of(found))) == damaged


@pytest.mark.parametrize("count", [1, 15, 16, BATCH_TRANSACTIONS_MAX, BATCH_TRANSACTIONS_MAX + 1])
def test_as_many_are_read_as_a_batch_has(count: int) -> None:
    paid = (TransactionOutput(DUST, bytes(32)),) * 2
    payment = Transaction(
        TransactionBody(1, (bytes(36),), paid, b""),
        (Witness(Policy(1, (bytes(32),)), 1, (bytes(64),)),),
    )
    found = read_plain(encode([[payment] * count]))
    assert (found is not None) == (count <= BATCH_TRANSACTIONS_MAX)
    assert found is None or len(found.bodies) == count


@pytest.mark.parametrize("amount", [DUST, 2**16 - 1, 2**16, 2**32 - 1])
def test_an_amount_that_is_longer_than_need_be_is_not_canonical(amount: int) -> None:
    """[L8] Two encodings of one payment would be two txids."""
    paid = (TransactionOutput(amount, bytes(32)), TransactionOutput(SUPPLY_MAX // 2, bytes(32)))
    payment = Transaction(
        TransactionBody(1, (bytes(36),), paid, b""),
        (Witness(Policy(1, (bytes(32),)), 1, (bytes(64),)),),
    )
    body, short = encode(Batch((payment,))), encode(amount)
    assert read_plain(body) is not None
    for head, size in ((b"\xce", 4), (b"\xcf", 8)):
        if size >= len(short):
            longer = body.replace(short, head + amount.to_bytes(size, "big"), 1)
            assert longer != body
            assert read_plain(longer) is None
