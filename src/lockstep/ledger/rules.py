"""What makes a payment valid: the rules of shape, and the rules that need its coins [L4].

Every way to fail has its own class, code and sentence. `check_shape` needs the bytes alone and is
asked before a signature is looked at; `check_spend` needs the coins. Nothing here depends on time,
on the pool or on what else is pending, so validity is stable within an epoch [L5].
"""

from collections.abc import Iterable, Sequence

from lockstep.errors import Misuse, Rejected
from lockstep.ledger.coins import Coin
from lockstep.primitives.params import DUST, FEE_MIN, FEE_PER_BYTE, SUPPLY_MAX
from lockstep.primitives.transaction import (
    INPUTS_MAX,
    MEMO_BYTES_MAX,
    OUTPUTS_MAX,
    POLICY_KEYS_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_VERSION,
    Transaction,
    TransactionBody,
    VerifiedTransaction,
    Witness,
)


class UnknownVersion(Rejected):
    """The body has a version this rule set does not know [L4]."""

    code = "tx.version"


class BadInputs(Rejected):
    """There are no inputs, too many, or one twice [L4]."""

    code = "tx.inputs"


class BadOutputs(Rejected):
    """There are no outputs, or too many [L4]."""

    code = "tx.outputs"


class DustOutput(Rejected):
    """An output is below dust [L4]."""

    code = "tx.dust"
    hint = "pay at least 546 base units to each payee"


class BadAmount(Rejected):
    """An output or the sum of outputs exceeds the supply or the inputs [L4]."""

    code = "tx.amount"


class BadMemo(Rejected):
    """The memo is longer than 512 bytes [L2]."""

    code = "tx.memo"


class TransactionOversize(Rejected):
    """The transaction has more than 100,000 bytes [L4]."""

    code = "tx.size"


class BadPolicy(Rejected):
    """A revealed policy or its list of signers breaks a rule [L3, L4]."""

    code = "tx.policy"


class BadSignature(Rejected):
    """A signature is not one of this payment on this chain under its key [L2, M3].

    A signature made for another chain looks like any other bad one: the chain is part of what is
    signed and is not written in the witness.
    """

    code = "tx.signature"
    hint = "check that the wallet signs for this network's chain id"


class BadLock(Rejected):
    """The witnesses are not one for each lock of the coins, in order of first use [L3]."""

    code = "tx.lock"


class UnknownCoin(Rejected):
    """An input names no coin of the chain: never made, or spent in a block [L4]."""

    code = "tx.coin_unknown"


class FeeTooLow(Rejected):
    """The fee is below the least one for this size [L4]."""

    code = "tx.fee"
    hint = "pay at least max(1000, 4 a byte) base units more than the outputs"


class ConflictingSpend(Rejected):
    """Another payment that is not to be undone spends one of the same coins [F1]."""

    code = "tx.conflict"


def fee_min(size_bytes: int) -> int:
    """Return the least fee in base units for a transaction of this size [L4]."""
    return max(FEE_MIN, FEE_PER_BYTE * size_bytes)


def check_shape(transaction: Transaction, *, size_bytes: int) -> None:
    """Refuse a payment that breaks a rule for which no coin is needed [L4].

    `size_bytes` is the length of the transaction's encoding, witnesses included. A coinbase does
    not pass: it has no inputs.

    Raises:
        TransactionOversize, UnknownVersion, BadInputs, BadOutputs, BadMemo, DustOutput, BadAmount,
        BadLock, BadPolicy: Each as its class says.
    """
    body = transaction.body
    if size_bytes > TRANSACTION_BYTES_MAX:
        raise TransactionOversize(f"{size_bytes} bytes where {TRANSACTION_BYTES_MAX} are allowed")
    if body.version != TRANSACTION_VERSION:
        raise UnknownVersion(f"version {body.version} of a transaction is not known")
    inputs = body.inputs
    if not 1 <= len(inputs) <= INPUTS_MAX:
        raise BadInputs(f"{len(inputs)} inputs where 1 to {INPUTS_MAX} are allowed")
    if len(dict.fromkeys(inputs)) != len(inputs):
        raise BadInputs("an outpoint stands twice among the inputs")
    if len(body.memo) > MEMO_BYTES_MAX:
        raise BadMemo(f"a memo of {len(body.memo)} bytes where {MEMO_BYTES_MAX} are allowed")
    _check_outputs(body)
    if not 1 <= len(transaction.witnesses) <= len(inputs):
        count = len(transaction.witnesses)
        raise BadLock(f"{count} witnesses for {len(inputs)} inputs")
    for witness in transaction.witnesses:
        check_witness(witness)


def check_verified(verified: VerifiedTransaction) -> None:
    """Refuse a payment whose shape breaks a rule; whoever verified it has looked already.

    Raises:
        Rejected: What `check_shape` raises.
    """
    if not verified.has_shape:
        check_shape(verified.transaction, size_bytes=verified.size_bytes)


def has_good_shape(transaction: Transaction, *, size_bytes: int) -> bool:
    """Tell whether `check_shape` finds nothing to refuse."""
    try:
        check_shape(transaction, size_bytes=size_bytes)
    except Rejected:
        return False
    return True


def check_witness(witness: Witness) -> None:
    """Refuse a policy that nobody can fill, or one that is not filled exactly [L3].

    Raises:
        BadPolicy: The sentence says how.
    """
    policy = witness.policy
    keys = len(policy.keys)
    if not 1 <= keys <= POLICY_KEYS_MAX:
        raise BadPolicy(f"a policy has {keys} keys where 1 to {POLICY_KEYS_MAX} are allowed")
    if not 1 <= policy.threshold <= keys:
        raise BadPolicy(f"a policy asks for {policy.threshold} of {keys} keys")
    if len(dict.fromkeys(policy.keys)) != keys:
        raise BadPolicy("a key stands twice in a policy")
    if witness.signers >> keys:
        raise BadPolicy("a signer is named who is not in the policy")
    signers = witness.signers.bit_count()
    if signers != policy.threshold or signers != len(witness.signatures):
        count = len(witness.signatures)
        raise BadPolicy(
            f"{count} signatures of {signers} signers where {policy.threshold} are asked for"
        )


def check_spend(verified: VerifiedTransaction, coins: Sequence[Coin]) -> int:
    """Return the fee of a payment that may spend these coins [L4, L5].

    `coins` are those of its inputs, in their order, all present. The shape was checked before.

    Raises:
        BadLock: If the witnesses are not one a distinct lock, in the order of first use [L3].
        BadAmount: If the outputs exceed the inputs.
        FeeTooLow: If the fee is below the least one.
        Misuse: If there is not one coin an input.
    """
    if len(coins) != len(verified.inputs):
        raise Misuse("a payment is judged with one coin an input")
    due: tuple[bytes, ...]
    if len(coins) == 1:
        fee, due = coins[0].amount, (coins[0].lock,)
    else:
        fee = sum([coin.amount for coin in coins])
        due = tuple(dict.fromkeys([coin.lock for coin in coins]))
    if verified.locks != due:
        raise BadLock(_describe_locks(verified.locks, due))
    fee -= verified.paid
    if fee < 0:
        raise BadAmount(f"the outputs exceed the inputs by {-fee} base units")
    least = fee_min(verified.size_bytes)
    if fee < least:
        raise FeeTooLow(f"a fee of {fee} base units where {least} are due")
    return fee


def check_spends(
    payments: Iterable[VerifiedTransaction], coins: Sequence[Coin]
) -> list[int] | None:
    """Return the fees of payments that may all spend their coins; None where one may not [L4, L5].

    `coins` are those of all their inputs, one payment's after the other's. Who spends one coin and
    is plainly within the rules is found here; `check_spend` judges the others.
    """
    fees: list[int] = []
    first = 0
    for verified in payments:
        if len(verified.inputs) == 1 and verified.locks == (coins[first].lock,):
            fee = coins[first].amount - verified.paid
            if fee >= FEE_MIN and fee >= FEE_PER_BYTE * verified.size_bytes:
                fees.append(fee)
                first += 1
                continue
        after = first + len(verified.inputs)
        try:
            fees.append(check_spend(verified, coins[first:after]))
        except Rejected:
            return None
        first = after
    return fees


def _check_outputs(body: TransactionBody) -> None:
    if not 1 <= len(body.outputs) <= OUTPUTS_MAX:
        raise BadOutputs(f"{len(body.outputs)} outputs where 1 to {OUTPUTS_MAX} are allowed")
    total = 0
    for output in body.outputs:
        if output.amount < DUST:
            raise DustOutput(f"an output of {output.amount} base units is below dust, {DUST}")
        total += output.amount
    # Python's integers do not overflow, and a sum within the supply bounds each of its parts too.
    if total > SUPPLY_MAX:
        raise BadAmount(f"the outputs sum to {total} base units, more than can ever exist")


def _describe_locks(given: tuple[bytes, ...], due: tuple[bytes, ...]) -> str:
    if len(given) < len(due):
        return f"{len(given)} witnesses where the coins have {len(due)} locks: one is missing"
    if len(given) > len(due):
        return f"{len(given)} witnesses where the coins have {len(due)} locks: one is surplus"
    if sorted(given) == sorted(due):
        return "the witnesses do not stand in the order in which the inputs use their locks"
    return "a witness reveals another policy than the one a coin is locked with"
