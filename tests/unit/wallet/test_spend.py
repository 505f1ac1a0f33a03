"""No base unit is lost, whatever the coins, and every payment satisfies its policies."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.keys import SecretKey, verify
from lockstep.errors import Misuse
from lockstep.primitives.bitmap import iterate_bits
from lockstep.primitives.codec import encode
from lockstep.primitives.params import COIN, DUST
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    TransactionOutput,
    make_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.wallet.spend import (
    DustPayment,
    InsufficientCoins,
    MalformedPayment,
    MissingKeys,
    Payment,
    Spendable,
    TooManyCoins,
    build_payment,
    sign_payment,
    sign_policy,
)

CHAIN = bytes(32)
KEYS = [SecretKey(sha256(bytes([i])).digest()) for i in range(6)]
BY_PUBLIC = {key.public_key: key for key in KEYS}
PUBLIC = tuple(key.public_key for key in KEYS)
POLICIES = [
    Policy(1, PUBLIC[:1]),
    Policy(1, PUBLIC[1:2]),
    Policy(2, PUBLIC[2:5]),
    Policy(3, PUBLIC),
]
CHANGE = make_lock(POLICIES[0])
PAYEE = bytes(range(32))

amounts = st.one_of(st.integers(1, 10_000), st.integers(1, 100 * COIN))
rows = st.lists(st.tuples(amounts, st.sampled_from(POLICIES)), min_size=1, max_size=60)


def make_coins(values: list[tuple[int, Policy]]) -> list[Spendable]:
    return [
        Spendable(sha256(str(i).encode()).digest() + bytes(4), amount, policy)
        for i, (amount, policy) in enumerate(values)
    ]


def assert_satisfied(transaction: Transaction, payment: Payment) -> None:
    """Check each witness by itself, as a node would."""
    digest = make_spend_digest(CHAIN, make_txid(transaction.body))
    locks = dict.fromkeys(make_lock(coin.policy) for coin in payment.coins)
    assert [make_lock(witness.policy) for witness in transaction.witnesses] == list(locks)
    for witness in transaction.witnesses:
        signers = list(iterate_bits(witness.signers))
        assert len(signers) == len(witness.signatures) == witness.policy.threshold
        for place, signature in zip(signers, witness.signatures, strict=True):
            assert verify(witness.policy.keys[place], digest, signature)


@given(rows, st.lists(st.integers(DUST, 20 * COIN), min_size=1, max_size=5))
def test_inputs_are_outputs_and_fee(values: list[tuple[int, Policy]], pays: list[int]) -> None:
    coins = make_coins(values)
    outputs = [TransactionOutput(amount, PAYEE) for amount in pays]
    try:
        payment = build_payment(coins, outputs, change_lock=CHANGE, memo=b"rent")
    except InsufficientCoins:
        # Even all coins together, in the largest transaction they need, do not reach.
        size = 600 + 45 * len(coins) + 500 * len(POLICIES) + 40 * len(outputs)
        assert sum(coin.amount for coin in coins) < sum(pays) + max(1000, 4 * size)
        return
    transaction = sign_payment(payment, BY_PUBLIC, chain_id=CHAIN)
    spent = {coin.outpoint: coin.amount for coin in coins}
    assert len(dict.fromkeys(transaction.body.inputs)) == len(transaction.body.inputs)
    total = sum(spent[outpoint] for outpoint in transaction.body.inputs)
    paid = sum(output.amount for output in transaction.body.outputs)
    assert total == paid + payment.fee
    assert payment.fee >= max(1000, 4 * len(encode(transaction)))
    # Never more than the rounding of one measured length, or a change that would have been dust.
    assert payment.fee <= max(1000, 4 * len(encode(transaction))) + DUST + 4 * 64
    assert list(transaction.body.outputs[: len(outputs)]) == outputs
    assert all(output.amount >= DUST for output in transaction.body.outputs)
    rest = transaction.body.outputs[len(outputs) :]
    assert [output.lock for output in rest] == [CHANGE] * (payment.change is not None)
    assert_satisfied(transaction, payment)


def test_least_single_coin_is_taken() -> None:
    coins = make_coins([(amount, POLICIES[0]) for amount in (5_000, 90_000, 30_000, 70_000)])
    payment = build_payment(coins, [TransactionOutput(20_000, PAYEE)], change_lock=CHANGE)
    assert [coin.amount for coin in payment.coins] == [30_000]


def test_change_below_dust_goes_to_the_fee() -> None:
    coins = make_coins([(21_000 + DUST - 1, POLICIES[0])])
    payment = build_payment(coins, [TransactionOutput(20_000, PAYEE)], change_lock=CHANGE)
    assert payment.change is None
    assert payment.fee == 1000 + DUST - 1


def test_holders_of_a_multisig_sign_one_after_the_other() -> None:
    coins = make_coins([(COIN, POLICIES[2]), (COIN, POLICIES[0])])
    payment = build_payment(coins, [TransactionOutput(3 * COIN // 2, PAYEE)], change_lock=CHANGE)
    with pytest.raises(MissingKeys):
        sign_payment(payment, {PUBLIC[0]: KEYS[0], PUBLIC[2]: KEYS[2]}, chain_id=CHAIN)
    transaction = Transaction(payment.body, ())
    for index in (4, 0, 2, 3):
        transaction = sign_policy(
            transaction, payment.coins, {PUBLIC[index]: KEYS[index]}, chain_id=CHAIN
        )
    assert_satisfied(transaction, payment)
    with pytest.raises(Misuse):
        sign_policy(transaction, payment.coins[:1], BY_PUBLIC, chain_id=CHAIN)


def test_what_cannot_be_paid_is_named() -> None:
    coins = make_coins([(2_000, POLICIES[0])] * 300)
    pay = [TransactionOutput(550_000, PAYEE)]
    with pytest.raises(TooManyCoins):
        build_payment([*coins, *coins], pay, change_lock=CHANGE)
    with pytest.raises(InsufficientCoins):
        build_payment(coins[:10], pay, change_lock=CHANGE)
    with pytest.raises(DustPayment):
        build_payment(coins, [TransactionOutput(DUST - 1, PAYEE)], change_lock=CHANGE)
    with pytest.raises(MalformedPayment):
        build_payment(coins, [], change_lock=CHANGE)
    with pytest.raises(MalformedPayment):
        build_payment(coins, pay, change_lock=CHANGE, memo=bytes(513))
