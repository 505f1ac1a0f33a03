"""Witnesses: what a transaction's bytes alone say about the right to spend [L2, L3, B1].

Who signed is judged here and nothing else; whether a policy's lock fits a coin is for the ledger to
say.
"""

from collections.abc import Sequence

from lockstep.crypto.hashing import tagged_hash
from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.ledger.rules import BadSignature, check_witness, has_good_shape
from lockstep.primitives import codec
from lockstep.primitives.bitmap import iterate_bits
from lockstep.primitives.transaction import (
    Transaction,
    VerifiedTransaction,
    Witness,
    make_lock,
    make_spend_digest,
)


def derive_transaction(transaction: Transaction) -> VerifiedTransaction:
    """Compute all that follows from a transaction's bytes; the caller then checks signatures.

    The size in bytes is that of the canonical encoding: one byte for the pair, then its two parts.
    """
    body = codec.encode(transaction.body)
    witnesses = codec.encode(transaction.witnesses)
    txid = tagged_hash("tx", body)
    size_bytes = 1 + len(body) + len(witnesses)
    return VerifiedTransaction(
        transaction=transaction,
        txid=txid,
        leaf=tagged_hash("leaf", txid + tagged_hash("witness", witnesses)),
        locks=tuple([make_lock(witness.policy) for witness in transaction.witnesses]),
        size_bytes=size_bytes,
        has_shape=has_good_shape(transaction, size_bytes=size_bytes),
    )


def witness_checks(
    witnesses: Sequence[Witness], *, txid: bytes, chain_id: bytes
) -> list[SignatureCheck]:
    """Return the signature checks of a transaction's witnesses [L2, L3].

    Raises:
        BadPolicy: If a policy cannot be filled, or not exactly the threshold of its keys signed.
    """
    digest = make_spend_digest(chain_id, txid)
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


def verify_transaction(
    transaction: Transaction, *, chain_id: bytes, verifier: Verifier
) -> VerifiedTransaction:
    """Judge the witnesses of one transaction.

    Raises:
        BadPolicy: If a policy is not filled as it demands.
        BadSignature: If a signature does not hold.
    """
    derived = derive_transaction(transaction)
    checks = witness_checks(transaction.witnesses, txid=derived.txid, chain_id=chain_id)
    if not all(verifier.verify_many(checks)):
        raise BadSignature("a signature of the payment does not hold")
    return derived
