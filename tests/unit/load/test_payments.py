"""Payments of the load are valid, follow each other, and are handed out once."""

import pytest

from lockstep.crypto.keys import SecretKey, SodiumVerifier
from lockstep.load.payments import (
    LOAD_COIN,
    PAID,
    KeyedPolicy,
    Kind,
    Purse,
    SignedPayment,
    make_multisig,
    make_single,
)
from lockstep.primitives.codec import decode, encode
from lockstep.primitives.params import FEE_MIN
from lockstep.primitives.transaction import (
    TRANSACTION_BYTES_MAX,
    Transaction,
    make_spend_digest,
    make_txid,
)
from lockstep.wallet.spend import fee_for

KEYS = [SecretKey(bytes([number]) * 32) for number in range(3)]
SHAPES = {
    Kind.ONE: [make_single(KEYS[0])],
    Kind.TWO: [make_single(KEYS[0]), make_single(KEYS[1])],
    Kind.MULTISIG: [make_multisig(KEYS, 2)],
}
CHAIN = bytes(32)


def purse(kind: Kind, policies: list[KeyedPolicy] | None = None) -> Purse:
    return Purse(kind, policies or [make_single(KEYS[0])], payee_lock=bytes(32), chain_id=CHAIN)


def coin(number: int, amount: int = LOAD_COIN) -> tuple[bytes, int]:
    return bytes([number]) * 36, amount


def read(payment: SignedPayment) -> Transaction:
    return decode(Transaction, payment.raw, size_max=TRANSACTION_BYTES_MAX)


def depth_of(payment: SignedPayment | None) -> int:
    return 0 if payment is None else 1 + depth_of(payment.next)


@pytest.mark.parametrize("kind", SHAPES)
def test_payments_are_valid_and_spend_the_change_before(kind: Kind) -> None:
    made = purse(kind, SHAPES[kind])
    lane = tuple(coin(1 + place) for place in range(len(made.locks)))
    made.add_lanes([lane, ((bytes(36), made.least - 1),) * len(lane)])
    assert len(made) == 1
    list(made.sign_ahead(3))
    [first] = made.take(9)
    coins = dict(lane)
    payment: SignedPayment | None = first
    for _ in range(3):
        assert payment is not None
        transaction = read(payment)
        body = transaction.body
        assert make_txid(body).hex() == payment.txid
        spent = sum(coins[outpoint] for outpoint in body.inputs)
        fee = spent - sum(output.amount for output in body.outputs)
        assert fee == made.fee >= max(FEE_MIN, fee_for(len(encode(transaction))))
        assert tuple(output.lock for output in body.outputs[1:]) == made.locks
        digest = make_spend_digest(CHAIN, make_txid(body))
        checks = [
            (witness.policy.keys[place], digest, signature)
            for witness in transaction.witnesses
            for place, signature in enumerate(witness.signatures)
        ]
        assert SodiumVerifier().verify_many(checks) == [True] * payment.signatures
        coins = dict(payment.change)
        payment = payment.next
    assert payment is None


def test_a_lane_is_free_again_when_its_payment_is_settled() -> None:
    lanes = purse(Kind.ONE)
    lanes.add_lanes([(coin(1),), (coin(2),)])
    list(lanes.sign_ahead(3))
    first, second = lanes.take(5)
    assert lanes.take(1) == []
    lanes.settle(second)
    [third] = lanes.take(5)
    assert third is second.next or read(third).body.inputs[0][:32].hex() == second.txid
    lanes.settle(first)
    assert [read(p).body.inputs[0][:32].hex() for p in lanes.take(5)] == [first.txid]


def test_a_refused_payment_is_offered_again_as_it_is() -> None:
    lanes = purse(Kind.ONE)
    lanes.add_lanes([(coin(1),)])
    [payment] = lanes.take(1)
    lanes.put_back(payment)
    assert lanes.take(1) == [payment]


def test_signing_ahead_takes_lanes_in_turns_and_goes_on_where_it_stopped() -> None:
    lanes = purse(Kind.ONE)
    lanes.add_lanes([(coin(number),) for number in range(1, 5)])
    list(lanes.sign_ahead(6))
    list(lanes.sign_ahead(12))
    assert sorted(map(depth_of, lanes.take(9))) == [3, 3, 3, 3]


def test_a_lane_that_is_spent_down_ends() -> None:
    lanes = purse(Kind.ONE)
    lanes.add_lanes([(coin(1, lanes.least + PAID + lanes.fee),)])
    list(lanes.sign_ahead(100))
    [first] = lanes.take(9)
    lanes.settle(first)
    [last] = lanes.take(9)
    lanes.settle(last)
    assert lanes.take(9) == []


def test_parent_and_child_come_together_and_the_lane_goes_on_after_the_child() -> None:
    lanes = purse(Kind.CHAINED)
    lanes.add_lanes([(coin(1),)])
    parent, child = lanes.take_pairs(4)
    assert read(child).body.inputs[0][:32].hex() == parent.txid
    lanes.settle(parent)
    assert lanes.take_pairs(1) == []
    lanes.settle(child)
    assert read(lanes.take_pairs(1)[0]).body.inputs[0][:32].hex() == child.txid


def test_a_lane_stays_at_its_home() -> None:
    lanes = Purse(Kind.ONE, SHAPES[Kind.ONE], payee_lock=bytes(32), chain_id=CHAIN, homes=2)
    lanes.add_lanes([(coin(number),) for number in range(1, 6)])
    list(lanes.sign_ahead(8))
    assert [len(lanes.take(9, home=home)) for home in (0, 1)] == [3, 2]
    lanes.add_lanes([(coin(9),)])
    [payment] = lanes.take(1, home=1)
    for step in (lanes.settle, lanes.put_back, lanes.settle):
        step(payment)
        assert lanes.take(1, home=0) == []
        [payment] = lanes.take(1, home=1)


def test_rivals_spend_one_coin_and_end_its_lane() -> None:
    lanes = purse(Kind.CONFLICTING)
    lanes.add_lanes([(coin(1),)])
    pair = lanes.take_conflict()
    assert pair is not None
    assert pair[0].txid != pair[1].txid
    assert read(pair[0]).body.inputs == read(pair[1]).body.inputs
    assert lanes.take_conflict() is None
