"""Every way for a payment to be invalid is refused under its own code, and the bounds are exact."""

from typing import Final

import pytest
from msgspec.structs import replace

from building import lock_of, make_body, make_genesis, pay, secret, sign, verified
from lockstep.errors import Misuse, Rejected
from lockstep.ledger import rules
from lockstep.ledger.coins import Coin
from lockstep.ledger.rules import check_shape, check_spend, check_spends, fee_min
from lockstep.primitives.ids import AMOUNT_MAX, make_outpoint
from lockstep.primitives.params import DUST, SUPPLY_MAX
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    TransactionOutput,
    VerifiedTransaction,
    Witness,
    make_single_lock,
)

CHAIN: Final = make_genesis().chain_id
OUTPOINTS: Final = [make_outpoint(bytes([i % 256]) * 32, i) for i in range(257)]
GOOD: Final = pay([(OUTPOINTS[0], 1), (OUTPOINTS[1], 2)], [(10_000, lock_of(9))], chain_id=CHAIN)
SIGNATURE: Final = bytes(64)
KEYS: Final = tuple(secret(i).public_key for i in range(16))


def code_of(transaction: Transaction, *, size_bytes: int = 500) -> str:
    """Return the code under which the shape is refused, or "" where it is not."""
    try:
        check_shape(transaction, size_bytes=size_bytes)
    except Rejected as fault:
        return fault.code
    return ""


def with_body(**changes: object) -> Transaction:
    """Return the good payment with another body."""
    transaction = GOOD.transaction
    return replace(transaction, body=replace(transaction.body, **changes))


def with_outputs(*amounts: int) -> Transaction:
    return with_body(outputs=tuple(TransactionOutput(amount, lock_of(9)) for amount in amounts))


def with_witness(threshold: int, keys: tuple[bytes, ...], signers: int, count: int) -> Transaction:
    witness = Witness(Policy(threshold, keys), signers, (SIGNATURE,) * count)
    return replace(GOOD.transaction, witnesses=(witness,))


SHAPES: Final[list[tuple[str, Transaction]]] = [
    ("", GOOD.transaction),
    ("tx.version", with_body(version=0)),
    ("tx.version", with_body(version=2)),
    ("tx.inputs", with_body(inputs=())),
    ("tx.inputs", with_body(inputs=(OUTPOINTS[0], OUTPOINTS[1], OUTPOINTS[0]))),
    ("", with_body(inputs=tuple(OUTPOINTS[:256]))),
    ("tx.inputs", with_body(inputs=tuple(OUTPOINTS))),
    ("tx.outputs", with_body(outputs=())),
    ("", with_outputs(*[DUST] * 256)),
    ("tx.outputs", with_outputs(*[DUST] * 257)),
    ("tx.dust", with_outputs(0)),
    ("tx.dust", with_outputs(10_000, DUST - 1)),
    ("tx.dust", with_outputs(-1)),
    ("", with_outputs(DUST)),
    ("", with_outputs(SUPPLY_MAX)),
    ("", with_outputs(SUPPLY_MAX - DUST, DUST)),
    ("tx.amount", with_outputs(SUPPLY_MAX + 1)),
    ("tx.amount", with_outputs(SUPPLY_MAX, DUST)),
    ("tx.amount", with_outputs(AMOUNT_MAX)),
    ("tx.amount", with_outputs(*[AMOUNT_MAX] * 256)),
    ("", with_body(memo=bytes(512))),
    ("tx.memo", with_body(memo=bytes(513))),
    ("tx.lock", replace(GOOD.transaction, witnesses=())),
    ("tx.lock", replace(GOOD.transaction, witnesses=GOOD.transaction.witnesses * 2)),
    ("", with_witness(1, KEYS[:1], 0b1, 1)),
    ("", with_witness(2, KEYS[:3], 0b101, 2)),
    ("", with_witness(15, KEYS[:15], (1 << 15) - 1, 15)),
    ("tx.policy", with_witness(1, KEYS, 0b1, 1)),
    ("tx.policy", with_witness(1, (), 0b1, 1)),
    ("tx.policy", with_witness(3, KEYS[:2], 0b11, 2)),
    ("tx.policy", with_witness(0, KEYS[:2], 0, 0)),
    ("tx.policy", with_witness(1, (KEYS[0], KEYS[0]), 0b1, 1)),
    ("tx.policy", with_witness(1, KEYS[:2], 0b100, 1)),
    ("tx.policy", with_witness(2, KEYS[:3], 0b1, 1)),
    ("tx.policy", with_witness(1, KEYS[:3], 0b11, 2)),
    ("tx.policy", with_witness(2, KEYS[:3], 0b11, 1)),
    ("tx.policy", with_witness(2, KEYS[:3], 0b11, 3)),
]


@pytest.mark.parametrize(("code", "transaction"), SHAPES)
def test_shape(code: str, transaction: Transaction) -> None:
    """[L4, L3]."""
    assert code_of(transaction) == code


def test_size_is_bounded() -> None:
    """[L4]."""
    assert code_of(GOOD.transaction, size_bytes=100_000) == ""
    assert code_of(GOOD.transaction, size_bytes=100_001) == "tx.size"


@pytest.mark.parametrize(
    ("size_bytes", "fee"), [(1, 1000), (250, 1000), (251, 1004), (100_000, 400_000)]
)
def test_least_fee(size_bytes: int, fee: int) -> None:
    """[L4] max(1,000, 4 a byte)."""
    assert fee_min(size_bytes) == fee


def spend_code(payment: VerifiedTransaction, *coins: tuple[int, bytes]) -> str:
    """Return the code under which the spend is refused, or "" where it is not."""
    try:
        check_spend(payment, [Coin(amount, lock, 1) for amount, lock in coins])
    except Rejected as fault:
        return fault.code
    return ""


def test_fee_is_what_the_outputs_leave() -> None:
    """[L4]."""
    due = fee_min(GOOD.size_bytes)
    coins = [Coin(10_000, lock_of(1), 1), Coin(due, lock_of(2), 1)]
    assert check_spend(GOOD, coins) == due
    assert check_spend(GOOD, [coins[0], Coin(AMOUNT_MAX, lock_of(2), 1)]) == AMOUNT_MAX
    assert spend_code(GOOD, (10_000, lock_of(1)), (due - 1, lock_of(2))) == "tx.fee"
    assert spend_code(GOOD, (10_000, lock_of(1)), (0, lock_of(2))) == "tx.fee"
    assert spend_code(GOOD, (5_000, lock_of(1)), (4_999, lock_of(2))) == "tx.amount"


@pytest.mark.parametrize(
    ("code", "locks", "witnesses"),
    [
        ("", (1, 1, 1), (1,)),
        ("", (1, 2, 1), (1, 2)),
        ("", (2, 1, 2), (2, 1)),
        ("", (3, 2, 1), (3, 2, 1)),
        ("tx.lock", (1, 2, 1), (2, 1)),
        ("tx.lock", (1, 2, 1), (1,)),
        ("tx.lock", (1, 1, 1), (1, 2)),
        ("tx.lock", (1, 2, 3), (1, 2, 4)),
        ("tx.lock", (1, 2, 1), (1, 2, 1)),
    ],
)
def test_one_witness_a_lock_in_order_of_first_use(
    code: str, locks: tuple[int, ...], witnesses: tuple[int, ...]
) -> None:
    """[L3]."""
    body = make_body(OUTPOINTS[: len(locks)], [(10_000, lock_of(9))])
    payment = verified(sign(body, witnesses, chain_id=CHAIN))
    assert spend_code(payment, *((50_000, lock_of(key)) for key in locks)) == code


def test_another_policy_over_the_same_key_does_not_open_the_coin() -> None:
    """[L3] The lock covers threshold and every key, not only who signs."""
    wide = Policy(1, (secret(1).public_key, secret(2).public_key))
    body = make_body(OUTPOINTS[:1], [(10_000, lock_of(9))])
    payment = verified(Transaction(body, (Witness(wide, 1, (SIGNATURE,)),)))
    assert spend_code(payment, (50_000, make_single_lock(secret(1).public_key))) == "tx.lock"
    assert spend_code(payment, (50_000, payment.locks[0])) == ""


@pytest.mark.parametrize("off", [None, *range(5)])
def test_payments_are_judged_together_as_each_alone(off: int | None) -> None:
    """[L3, L4] Nobody's fee, lock or amount is taken for another's; one bad one spoils all."""
    others = [
        pay([(OUTPOINTS[i], i)], [(10_000, lock_of(9))] * outputs, chain_id=CHAIN)
        for i, outputs in ((3, 1), (4, 2), (5, 3))
    ]
    payments = [others[0], GOOD, *others[1:]]
    amounts = [20_000, 7_000, 7_000, 30_000, 40_000]
    coins = [Coin(a, lock_of(key), 1) for a, key in zip(amounts, (3, 1, 2, 4, 5), strict=True)]
    assert check_spends(payments, coins) == [10_000, 4_000, 10_000, 10_000]
    for place, payment in enumerate(others):
        single = coins[place and place + 2]
        least = Coin(10_000 * (place + 1) + fee_min(payment.size_bytes), single.lock, 1)
        assert check_spends([payment], [least]) == [check_spend(payment, [least])]
        assert check_spends([payment], [Coin(least.amount - 1, least.lock, 1)]) is None
    if off is not None:
        strange = [Coin(c.amount, lock_of(9), 1) if i == off else c for i, c in enumerate(coins)]
        assert check_spends(payments, strange) is None
        empty = [Coin(500, c.lock, 1) if i == off else c for i, c in enumerate(coins)]
        assert check_spends(payments, empty) is None


def test_a_coin_an_input_is_the_callers_duty() -> None:
    with pytest.raises(Misuse):
        check_spend(GOOD, [Coin(50_000, lock_of(1), 1)])


def test_codes_are_distinct() -> None:
    """One cause, one code: people and programs tell faults apart by it."""
    codes = [
        kind.code
        for kind in vars(rules).values()
        if isinstance(kind, type) and issubclass(kind, Rejected) and kind is not Rejected
    ]
    assert len(set(codes)) == len(codes) == 13
    assert all(code.startswith("tx.") for code in codes)
