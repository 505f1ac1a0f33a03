"""What is derived from many transactions at once is what the definitions say of each [L2-L4]."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.hashing import tagged_hash
from lockstep.errors import Rejected
from lockstep.ledger.rules import check_witness, has_good_shape
from lockstep.primitives import codec
from lockstep.primitives.bitmap import iterate_bits
from lockstep.primitives.params import DUST, SUPPLY_MAX
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    VerifiedTransaction,
    Witness,
    make_leaf,
    make_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.replica.witnesses import claim_spends, derive_transactions

CHAIN_ID = b"\x07" * 32
KEYS = [bytes([number]) * 32 for number in range(4)]

outputs = st.builds(
    TransactionOutput,
    st.sampled_from([0, DUST - 1, DUST, 50_000, SUPPLY_MAX - DUST, SUPPLY_MAX]),
    st.just(bytes(32)),
)
bodies = st.builds(
    TransactionBody,
    st.sampled_from([1, 1, 1, 1, 0, 2]),
    st.lists(st.sampled_from([bytes(36), b"\x01" * 36]), max_size=3).map(tuple),
    st.one_of(
        st.lists(outputs, max_size=3).map(tuple),
        st.sampled_from([256, 257]).map(lambda size: (TransactionOutput(DUST, bytes(32)),) * size),
    ),
    st.sampled_from([b"", b"memo", bytes(512), bytes(513)]),
)
policies = st.builds(
    Policy,
    st.sampled_from([1, 1, 1, 2]),
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=3).map(tuple),
)
witnesses = st.builds(
    Witness,
    policies,
    st.sampled_from([1, 1, 1, 0, 2, 3, 4]),
    st.lists(st.sampled_from([bytes(64), b"\x01" * 64]), min_size=1, max_size=2).map(tuple),
)
transactions = st.builds(Transaction, bodies, st.lists(witnesses, max_size=2).map(tuple))


def derive(transaction: Transaction) -> VerifiedTransaction:
    """Follow the definitions, one after the other."""
    size_bytes = len(codec.encode(transaction))
    txid = make_txid(transaction.body)
    leaf = make_leaf(txid, transaction.witnesses)
    return VerifiedTransaction(
        body=codec.encode(transaction.body),
        witnesses=codec.encode(transaction.witnesses),
        txid=txid,
        leaf=leaf,
        node=tagged_hash("merkle-leaf", leaf),
        locks=tuple(make_lock(witness.policy) for witness in transaction.witnesses),
        size_bytes=size_bytes,
        has_shape=has_good_shape(transaction, size_bytes=size_bytes),
        inputs=transaction.body.inputs,
        outputs=transaction.body.outputs,
        paid=sum(output.amount for output in transaction.body.outputs),
    )


def code_of(transaction: Transaction) -> str | None:
    """Return the code of the first policy that is not filled exactly."""
    try:
        for witness in transaction.witnesses:
            check_witness(witness)
    except Rejected as fault:
        return fault.code
    return None


@given(st.lists(transactions, max_size=6))
def test_all_that_follows_from_the_bytes_is_as_defined(drawn: list[Transaction]) -> None:
    """[L2, L4, B1]."""
    assert derive_transactions(drawn).derived == [derive(transaction) for transaction in drawn]


@given(st.lists(transactions, max_size=6))
def test_each_witness_claims_the_checks_of_its_signers(drawn: list[Transaction]) -> None:
    """[L2, L3] A policy that is not filled exactly claims nothing and is named."""
    opened = derive_transactions(drawn)
    claims = claim_spends(opened, chain_id=CHAIN_ID)
    checks = iter(claims.checks)
    for position, (transaction, each) in enumerate(zip(drawn, opened.derived, strict=True)):
        digest = make_spend_digest(CHAIN_ID, each.txid)
        code = code_of(transaction)
        assert claims.faults.get(position) == code
        if code is not None:
            assert claims.counts[position] == 0
            continue
        due = [
            (witness.policy.keys[place], digest, signature)
            for witness in transaction.witnesses
            for place, signature in zip(
                iterate_bits(witness.signers), witness.signatures, strict=True
            )
        ]
        assert [next(checks) for _ in range(claims.counts[position])] == due
    assert next(checks, None) is None


@given(st.lists(transactions, max_size=6), st.data())
def test_some_of_them_alone_claim_what_they_claimed_together(
    drawn: list[Transaction], data: st.DataObject
) -> None:
    """[T9] Of a fetched block those are judged again that are not held, several keys or one."""
    places = [place for place in range(len(drawn)) if data.draw(st.booleans())]
    alone = derive_transactions([drawn[place] for place in places])
    found = derive_transactions(drawn).only(places)
    assert found == alone
    assert claim_spends(found, chain_id=CHAIN_ID) == claim_spends(alone, chain_id=CHAIN_ID)
