"""Payments from coins: choose, build, sign; pure, and exact in every base unit.

The fee is that of the real size: the signatures' lengths are known before they exist, so a payment
is measured with blank ones, and inputs = outputs + fee holds to the unit.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from lockstep.crypto.keys import SIGNATURE_BYTES, SecretKey
from lockstep.errors import Misuse, Rejected
from lockstep.primitives.bitmap import collect_bits, iterate_bits
from lockstep.primitives.codec import encode
from lockstep.primitives.params import DUST, FEE_MIN, FEE_PER_BYTE
from lockstep.primitives.transaction import (
    INPUTS_MAX,
    MEMO_BYTES_MAX,
    OUTPUTS_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_VERSION,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_lock,
    make_spend_digest,
    make_txid,
)

_BLANK: Final = bytes(SIGNATURE_BYTES)


class InsufficientCoins(Rejected):
    """The coins do not cover the payment and its fee."""

    code = "wallet.insufficient"
    hint = "see `lockstep wallet balance`; coins of payments not yet in a block do not count"


class TooManyCoins(Rejected):
    """No transaction of legal size can carry so many small coins."""

    code = "wallet.fragmented"
    hint = "send smaller amounts to yourself first, which joins small coins"


class DustPayment(Rejected):
    """An output would be below the dust limit."""

    code = "wallet.dust"
    hint = f"the least payment is {DUST} base units"


class MalformedPayment(Rejected):
    """There is no output, too many of them, or too long a memo."""

    code = "wallet.payment"


class MissingKeys(Rejected):
    """Too few of a policy's keys are at hand to satisfy it."""

    code = "wallet.keys"
    hint = "the other holders of this multisig policy have to sign too"


class Spendable(Struct, frozen=True):
    """A coin of ours with the policy its lock is the hash of [L3]."""

    outpoint: bytes
    amount: int
    policy: Policy


class Payment(Struct, frozen=True):
    """A built payment: what it spends, the body, the fee, and the output that is change, if any."""

    coins: tuple[Spendable, ...]
    body: TransactionBody
    fee: int
    change: int | None


def fee_for(size_bytes: int) -> int:
    """Return the least fee of a transaction of this size in base units [L4]."""
    return max(FEE_MIN, FEE_PER_BYTE * size_bytes)


def build_payment(
    coins: Sequence[Spendable],
    outputs: Sequence[TransactionOutput],
    *,
    change_lock: bytes,
    memo: bytes = b"",
) -> Payment:
    """Choose coins for these outputs and build the payment.

    A single coin that suffices is taken, the least such; else the largest first. What is over comes
    back to `change_lock`; where that would be dust, it goes to the fee.

    Raises:
        MalformedPayment: If there is no output, too many of them, or too long a memo.
        DustPayment: If an output is below the dust limit.
        TooManyCoins: If the coins suffice, but not within the size of one transaction.
        InsufficientCoins: If they do not.
    """
    if not 0 < len(outputs) < OUTPUTS_MAX or len(memo) > MEMO_BYTES_MAX:
        raise MalformedPayment("a payment has 1 to 255 outputs and a memo of at most 512 bytes")
    if any(output.amount < DUST for output in outputs):
        raise DustPayment(f"an output is below the dust limit of {DUST} base units")
    target = sum(output.amount for output in outputs)
    ascending = sorted(coins, key=lambda coin: (coin.amount, coin.outpoint))
    for coin in ascending:
        if coin.amount > target and (payment := _settle([coin], outputs, change_lock, memo)):
            return payment
    chosen: list[Spendable] = []
    total = 0
    for coin in reversed(ascending[-INPUTS_MAX:]):
        chosen.append(coin)
        total += coin.amount
        if total > target and (payment := _settle(chosen, outputs, change_lock, memo)):
            return payment
    have = sum(coin.amount for coin in coins)
    if len(coins) > INPUTS_MAX and have > target + FEE_PER_BYTE * TRANSACTION_BYTES_MAX:
        raise TooManyCoins("the coins are too many and too small for one transaction")
    raise InsufficientCoins(f"the coins hold {have} base units; {target} and a fee are needed")


def sign_payment(
    payment: Payment, keys: Mapping[bytes, SecretKey], *, chain_id: bytes
) -> Transaction:
    """Sign with those of `keys` (by public key) that the policies need, in the policies' order.

    Raises:
        MissingKeys: If too few keys of a policy are at hand.
    """
    digest = make_spend_digest(chain_id, make_txid(payment.body))
    witnesses = []
    for policy in _policies(payment.coins):
        held = [i for i, key in enumerate(policy.keys) if key in keys][: policy.threshold]
        if len(held) < policy.threshold:
            raise MissingKeys(f"{policy.threshold} keys must sign and {len(held)} are at hand")
        signatures = tuple(keys[policy.keys[i]].sign(digest) for i in held)
        witnesses.append(Witness(policy, collect_bits(held), signatures))
    return Transaction(payment.body, tuple(witnesses))


def sign_policy(
    transaction: Transaction,
    coins: Sequence[Spendable],
    keys: Mapping[bytes, SecretKey],
    *,
    chain_id: bytes,
) -> Transaction:
    """Add the signatures that `keys` can give to a partly signed transaction [L3].

    The holders of an m-of-n policy call this one after the other; a signature too many is left out,
    so the result is as short as a payment measured before it was signed.

    Raises:
        Misuse: If the coins are not the transaction's inputs.
    """
    if tuple(coin.outpoint for coin in coins) != transaction.body.inputs:
        raise Misuse("the coins must be those the transaction spends, in order")
    digest = make_spend_digest(chain_id, make_txid(transaction.body))
    present = {make_lock(witness.policy): witness for witness in transaction.witnesses}
    witnesses = []
    for policy in _policies(coins):
        signatures: dict[int, bytes] = {}
        if witness := present.get(make_lock(policy)):
            places = iterate_bits(witness.signers)
            signatures = dict(zip(places, witness.signatures, strict=True))
        for place, key in enumerate(policy.keys):
            if key in keys and place not in signatures and len(signatures) < policy.threshold:
                signatures[place] = keys[key].sign(digest)
        if signatures:
            ordered = sorted(signatures)
            signed = tuple(signatures[place] for place in ordered)
            witnesses.append(Witness(policy, collect_bits(ordered), signed))
    return Transaction(transaction.body, tuple(witnesses))


def _settle(
    coins: Sequence[Spendable],
    outputs: Sequence[TransactionOutput],
    change_lock: bytes,
    memo: bytes,
) -> Payment | None:
    """Return the payment of these very coins, or None where they do not reach or do not fit."""
    inputs = tuple(coin.outpoint for coin in coins)
    total = sum(coin.amount for coin in coins)
    target = sum(output.amount for output in outputs)
    witnesses = _blank_witnesses(coins)

    def measured(rows: Sequence[TransactionOutput]) -> tuple[TransactionBody, int]:
        body = TransactionBody(TRANSACTION_VERSION, inputs, tuple(rows), memo)
        return body, len(encode(Transaction(body, witnesses)))

    # Measured with the largest change there can be, so that its real length never needs more fee.
    widest = TransactionOutput(total, change_lock)
    _, size = measured([*outputs, widest])
    change = total - target - fee_for(size)
    if change >= DUST and size <= TRANSACTION_BYTES_MAX:
        body, _ = measured([*outputs, TransactionOutput(change, change_lock)])
        return Payment(tuple(coins), body, total - target - change, len(outputs))
    body, size = measured(outputs)
    if total - target >= fee_for(size) and size <= TRANSACTION_BYTES_MAX:
        return Payment(tuple(coins), body, total - target, None)
    return None


def _policies(coins: Sequence[Spendable]) -> list[Policy]:
    """Return each distinct policy once, in the order the inputs first use them [L2]."""
    return list(dict.fromkeys(coin.policy for coin in coins))


def _blank_witnesses(coins: Sequence[Spendable]) -> tuple[Witness, ...]:
    """Return witnesses as large as any that satisfy the policies."""
    blank = []
    for policy in _policies(coins):
        signers = collect_bits(range(len(policy.keys) - policy.threshold, len(policy.keys)))
        blank.append(Witness(policy, signers, (_BLANK,) * policy.threshold))
    return tuple(blank)
