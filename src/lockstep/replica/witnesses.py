"""Witnesses: what a transaction's bytes alone say about the right to spend [L2, L3, B1].

Who signed is judged here and nothing else; whether a policy's lock fits a coin is for the ledger to
say. Most payments have one witness of one key: for them key and signature are all that is looked
at, and what is not such a one goes the general way.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import add
from typing import Final

from msgspec import Struct

from lockstep.crypto.hashing import merkle_nodes, tagged_hashes
from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Rejected
from lockstep.ledger.rules import BadSignature, check_witness, has_good_shape
from lockstep.primitives.batch import Parts, encode_parts
from lockstep.primitives.bitmap import iterate_bits
from lockstep.primitives.plain import PlainPayments
from lockstep.primitives.transaction import (
    PAIR_HEAD,
    Transaction,
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


class Opened(Struct, frozen=True, gc=False):
    """Transactions with all that follows from their bytes, and who is to have signed them.

    Attributes:
        derived: The transactions; whether their witnesses are good is to be found out yet.
        keys, signatures: Of those with one witness of one key, in their order; empty for others.
        others: All witnesses of the others, by position.
    """

    derived: Sequence[VerifiedTransaction]
    keys: Sequence[bytes]
    signatures: Sequence[bytes]
    others: dict[int, tuple[Witness, ...]]

    def only(self, positions: Sequence[int]) -> "Opened":
        """Return the transactions at these positions alone."""
        others, derived = self.others, self.derived
        return Opened(
            [derived[at] for at in positions],
            [self.keys[at] for at in positions],
            [self.signatures[at] for at in positions],
            {place: others[at] for place, at in enumerate(positions) if at in others},
        )


def derive_parts(parts: Parts, start: int, stop: int) -> Opened:
    """Compute all that follows from these transactions' bytes; the caller checks signatures.

    The size in bytes is that of the canonical encoding: one byte for the pair, then its two parts.
    """
    bodies, witnesses = parts.bodies[start:stop], parts.witnesses[start:stop]
    txids = tagged_hashes("tx", bodies)
    leaves = tagged_hashes("leaf", map(add, txids, tagged_hashes("witness", witnesses)))
    named = (bodies, witnesses, txids, leaves, merkle_nodes(leaves))
    if not isinstance(parts, PlainPayments):
        return _open_any(parts.transactions[start:stop], named)
    keys = parts.keys[start:stop]
    sizes = [len(PAIR_HEAD) + len(body) + len(rest) for body, rest in zip(*named[:2], strict=True)]
    derived = map(
        VerifiedTransaction,
        *named,
        map(_single_locks, keys),
        sizes,
        repeat(True),
        zip(parts.inputs[start:stop], strict=True),
        parts.outputs[start:stop],
        parts.paid[start:stop],
    )
    return Opened(list(derived), keys, parts.signatures[start:stop], {})


def derive_transactions(transactions: Sequence[Transaction]) -> Opened:
    """Derive many at once; no signature is checked."""
    return derive_parts(encode_parts(transactions), 0, len(transactions))


def derive_transaction(transaction: Transaction) -> VerifiedTransaction:
    """Derive a transaction; no signature is checked."""
    return derive_transactions([transaction]).derived[0]


def _open_any(transactions: Sequence[Transaction], named: Sequence[Sequence[bytes]]) -> Opened:
    """Open transactions of any form; `named` are bodies, witnesses, txids, leaves and nodes."""
    keys, signatures = [b""] * len(transactions), [b""] * len(transactions)
    others: dict[int, tuple[Witness, ...]] = {}
    derived: list[VerifiedTransaction] = []
    rows = zip(transactions, *named, strict=True)
    for position, (transaction, body, rest, txid, leaf, node) in enumerate(rows):
        witnesses, paid = transaction.witnesses, transaction.body.outputs
        key, signature = _single_key(witnesses)
        if key:
            keys[position], signatures[position] = key, signature
            locks: tuple[bytes, ...] = _single_locks(key)
        else:
            others[position] = witnesses
            locks = tuple([make_lock(witness.policy) for witness in witnesses])
        size_bytes = len(PAIR_HEAD) + len(body) + len(rest)
        derived.append(
            VerifiedTransaction(
                body,
                rest,
                txid,
                leaf,
                node,
                locks,
                size_bytes,
                has_good_shape(transaction, size_bytes=size_bytes),
                transaction.body.inputs,
                paid,
                sum([output.amount for output in paid]),
            )
        )
    return Opened(derived, keys, signatures, others)


def _single_key(witnesses: Sequence[Witness]) -> tuple[bytes, bytes]:
    """Return key and signature of a single witness that its single key filled, else nothing."""
    if len(witnesses) == 1:
        policy, signatures = witnesses[0].policy, witnesses[0].signatures
        if policy.threshold == witnesses[0].signers == len(policy.keys) == len(signatures) == 1:
            return policy.keys[0], signatures[0]
    return b"", b""


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


def claim_spends(opened: Opened, *, chain_id: bytes) -> Claims:
    """Return what must hold for these transactions' witnesses to be good [L2, L3]."""
    digests = tagged_hashes("spend", [chain_id + each.txid for each in opened.derived])
    singles = list(zip(opened.keys, digests, opened.signatures, strict=True))
    counts = [1] * len(singles)
    if not opened.others:
        return Claims(singles, counts, {})
    checks: list[SignatureCheck] = []
    faults: dict[int, str] = {}
    for position, single in enumerate(singles):
        witnesses = opened.others.get(position)
        if witnesses is None:
            checks.append(single)
            continue
        try:
            found = _witness_checks(witnesses, digests[position])
        except Rejected as fault:
            faults[position] = fault.code
            found = []
        checks += found
        counts[position] = len(found)
    return Claims(checks, counts, faults)


def spend_checks(opened: Opened, *, chain_id: bytes) -> list[SignatureCheck]:
    """Return the signature checks of transactions of which none may be bad [L2, L3].

    Raises:
        BadPolicy: If a policy cannot be filled, or not exactly the threshold of its keys signed.
    """
    claims = claim_spends(opened, chain_id=chain_id)
    for position in claims.faults:
        for witness in opened.others[position]:
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
    opened = derive_transactions([transaction])
    if not all(verifier.verify_many(spend_checks(opened, chain_id=chain_id))):
        raise BadSignature("a signature of the payment does not hold")
    return opened.derived[0]


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
