"""Witnesses: what a transaction's bytes alone say about the right to spend [L2, L3, B1].

Who signed is judged here and nothing else; whether a policy's lock fits a coin is for the ledger to
say. Most payments have one witness of one key: for them the same questions are asked of the fields
directly, and what does not answer them all with yes goes the general way.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import add
from typing import Final

from msgspec import Struct

from lockstep.crypto.hashing import merkle_nodes, tagged_hashes
from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Rejected
from lockstep.ledger.rules import BadSignature, check_witness, has_good_shape
from lockstep.primitives.batch import EncodedTransactions, encode_parts
from lockstep.primitives.bitmap import iterate_bits
from lockstep.primitives.params import DUST, SUPPLY_MAX
from lockstep.primitives.transaction import (
    MEMO_BYTES_MAX,
    OUTPUTS_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_VERSION,
    Transaction,
    TransactionBody,
    VerifiedTransaction,
    Witness,
    make_lock,
    make_single_lock,
)

LOCKS_KEPT: Final = 8192
"""Locks of single keys that are remembered; who pays again is known by his key."""


@lru_cache(maxsize=LOCKS_KEPT)
def _single_locks(public_key: bytes) -> tuple[bytes]:
    """Return the locks of a payment whose one witness is of this key alone."""
    return (make_single_lock(public_key),)


def derive_parts(parts: EncodedTransactions, start: int, stop: int) -> list[VerifiedTransaction]:
    """Compute all that follows from these transactions' bytes; the caller checks signatures.

    The size in bytes is that of the canonical encoding: one byte for the pair, then its two parts.
    """
    bodies, witnesses = parts.bodies[start:stop], parts.witnesses[start:stop]
    txids = tagged_hashes("tx", bodies)
    leaves = tagged_hashes("leaf", map(add, txids, tagged_hashes("witness", witnesses)))
    return list(
        map(
            _derive,
            parts.transactions[start:stop],
            txids,
            leaves,
            merkle_nodes(leaves),
            map(len, bodies),
            map(len, witnesses),
        )
    )


def derive_transactions(transactions: Sequence[Transaction]) -> list[VerifiedTransaction]:
    """Derive many at once; no signature is checked."""
    return derive_parts(encode_parts(transactions), 0, len(transactions))


def derive_transaction(transaction: Transaction) -> VerifiedTransaction:
    """Derive a transaction; no signature is checked."""
    return derive_transactions([transaction])[0]


def _derive(
    transaction: Transaction,
    txid: bytes,
    leaf: bytes,
    node: bytes,
    body_bytes: int,
    witnesses_bytes: int,
) -> VerifiedTransaction:
    size_bytes = 1 + body_bytes + witnesses_bytes
    body, witnesses = transaction.body, transaction.witnesses
    if len(witnesses) == 1:
        witness = witnesses[0]
        policy = witness.policy
        keys = policy.keys
        if policy.threshold == witness.signers == len(keys) == len(witness.signatures) == 1:
            locks: tuple[bytes, ...] = _single_locks(keys[0])
            paid = _sum_if_plain(body) if size_bytes <= TRANSACTION_BYTES_MAX else None
            if paid is not None:
                return VerifiedTransaction(
                    transaction, txid, leaf, node, locks, size_bytes, True, body.inputs, paid
                )
    return VerifiedTransaction(
        transaction,
        txid,
        leaf,
        node,
        tuple([make_lock(witness.policy) for witness in witnesses]),
        size_bytes,
        has_good_shape(transaction, size_bytes=size_bytes),
        body.inputs,
        sum([output.amount for output in body.outputs]),
    )


def _sum_if_plain(body: TransactionBody) -> int | None:
    """Return the sum of outputs of a body of one input that keeps the rules of shape [L4]."""
    outputs = body.outputs
    if body.version != TRANSACTION_VERSION or len(body.inputs) != 1:
        return None
    if not 1 <= len(outputs) <= OUTPUTS_MAX or len(body.memo) > MEMO_BYTES_MAX:
        return None
    total = 0
    for output in outputs:
        amount = output.amount
        if amount < DUST:
            return None
        total += amount
    return total if total <= SUPPLY_MAX else None


class Claims(Struct, frozen=True, gc=False):
    """The signature checks of several transactions, and which of them belong to which.

    Attributes:
        checks: The checks of all, one transaction after the other.
        counts: How many of them each transaction has.
        faults: Codes, by position, of those whose policies are not filled; they have no checks.
    """

    checks: list[SignatureCheck]
    counts: list[int]
    faults: dict[int, str]


def claim_spends(derived: Sequence[VerifiedTransaction], *, chain_id: bytes) -> Claims:
    """Return what must hold for these transactions' witnesses to be good [L2, L3]."""
    checks: list[SignatureCheck] = []
    counts = [1] * len(derived)
    faults: dict[int, str] = {}
    digests = tagged_hashes("spend", [chain_id + each.txid for each in derived])
    for position, (each, digest) in enumerate(zip(derived, digests, strict=True)):
        witnesses = each.transaction.witnesses
        if len(witnesses) == 1:
            witness = witnesses[0]
            policy = witness.policy
            keys, signatures = policy.keys, witness.signatures
            if policy.threshold == witness.signers == len(keys) == len(signatures) == 1:
                checks.append((keys[0], digest, signatures[0]))
                continue
        try:
            found = _witness_checks(witnesses, digest)
        except Rejected as fault:
            faults[position] = fault.code
            counts[position] = 0
            continue
        checks += found
        counts[position] = len(found)
    return Claims(checks, counts, faults)


def spend_checks(
    derived: Sequence[VerifiedTransaction], *, chain_id: bytes
) -> list[SignatureCheck]:
    """Return the signature checks of transactions of which none may be bad [L2, L3].

    Raises:
        BadPolicy: If a policy cannot be filled, or not exactly the threshold of its keys signed.
    """
    claims = claim_spends(derived, chain_id=chain_id)
    for position in claims.faults:
        for witness in derived[position].transaction.witnesses:
            check_witness(witness)
    return claims.checks


def verify_transaction(
    transaction: Transaction, *, chain_id: bytes, verifier: Verifier
) -> VerifiedTransaction:
    """Judge the witnesses of one transaction.

    Raises:
        BadPolicy: If a policy is not filled as it demands.
        BadSignature: If a signature does not hold.
    """
    derived = derive_transaction(transaction)
    if not all(verifier.verify_many(spend_checks([derived], chain_id=chain_id))):
        raise BadSignature("a signature of the payment does not hold")
    return derived


def _witness_checks(witnesses: Sequence[Witness], digest: bytes) -> list[SignatureCheck]:
    checks: list[SignatureCheck] = []
    for witness in witnesses:
        check_witness(witness)
        keys = witness.policy.keys
        checks.extend(
            (keys[position], digest, signature)
            for position, signature in zip(
                iterate_bits(witness.signers), witness.signatures, strict=True
            )
        )
    return checks
