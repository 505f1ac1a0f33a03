"""Transactions, spending policies and batches [L2, L3, B1].

A txid covers the body alone, so a witness can be malformed but never makes a second payment. What a
batch commits to is the leaf, which covers the witnesses too.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from lockstep.crypto.hashing import merkle_root, tagged_hash
from lockstep.primitives.codec import array_head, decode_unproven, encode
from lockstep.primitives.ids import Amount, Hash, Key, OutPoint, Signature, Small

TRANSACTION_VERSION: Final = 1
INPUTS_MAX: Final = 256
"""Inputs of a transaction [L4]."""
OUTPUTS_MAX: Final = 256
"""Outputs of a transaction [L4]."""
POLICY_KEYS_MAX: Final = 15
"""Keys of a spending policy [L4]."""
MEMO_BYTES_MAX: Final = 512
"""The memo of a transaction [L2]."""
TRANSACTION_BYTES_MAX: Final = 100_000
"""A transaction, witnesses included [L4]."""
BATCH_TRANSACTIONS_MAX: Final = 400
"""Transactions of a batch [B1]."""
BATCH_BYTES_MAX: Final = 1024 * 1024
"""The encoded bytes of a batch [B1]."""
BATCH_HEAD: Final = array_head(1)
"""Begins the encoding of a batch; the row of its transactions follows."""
PAIR_HEAD: Final = array_head(2)
"""Begins the encoding of a transaction; its body's and its witnesses' follow."""


class Policy(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """`threshold` of the `keys` must sign; one key is 1-of-1 [L3]."""

    threshold: Annotated[int, Meta(ge=1, le=POLICY_KEYS_MAX)]
    keys: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=POLICY_KEYS_MAX)]


class TransactionOutput(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """An amount in base units under a lock, the hash of a spending policy [L3]."""

    amount: Amount
    lock: Hash


class Witness(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A revealed policy and its signatures, for all inputs under one lock [L3].

    `signers` is a bitmap over the policy's keys; the signatures stand in the order of its set bits.
    """

    policy: Policy
    signers: Small
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=POLICY_KEYS_MAX)]


class TransactionBody(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What a txid covers: inputs, outputs and an opaque memo [L2].

    A payment without inputs or outputs can be written and is refused by the ledger: a coinbase has
    no inputs, and no outputs where there is nothing to pay.
    """

    version: Small
    inputs: Annotated[tuple[OutPoint, ...], Meta(max_length=INPUTS_MAX)]
    outputs: Annotated[tuple[TransactionOutput, ...], Meta(max_length=OUTPUTS_MAX)]
    memo: Annotated[bytes, Meta(max_length=MEMO_BYTES_MAX)]


class Transaction(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A body and a witness for each distinct lock, in the order the inputs first use them [L2]."""

    body: TransactionBody
    witnesses: Annotated[tuple[Witness, ...], Meta(max_length=INPUTS_MAX)]


class Batch(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The unit that travels, is verified, journalled and voted on [B1]."""

    transactions: Annotated[
        tuple[Transaction, ...], Meta(min_length=1, max_length=BATCH_TRANSACTIONS_MAX)
    ]


class VerifiedTransaction(Struct, frozen=True, gc=False):
    """A transaction whose witnesses were found good, with all that is derived from its bytes.

    Only the ingress makes these, so holding one means that its signatures were checked. It keeps
    the encodings of body and witnesses and what is asked of every payment; few ask for more, and
    for them `transaction` decodes it. `node` is the leaf's own hash, with which the trees of
    batches and blocks begin [L8]. `locks` has one 32-byte lock a witness; whether they fit the
    inputs' coins is for the ledger to say. `has_shape` tells that the rules for which no coin is
    needed hold; where it does not, the ledger says which one is broken [L4]. `inputs` and `outputs`
    are the body's, and `paid` is the sum of the outputs.
    """

    body: bytes
    witnesses: bytes
    txid: bytes
    leaf: bytes
    node: bytes
    locks: tuple[bytes, ...]
    size_bytes: int
    has_shape: bool
    inputs: tuple[bytes, ...]
    outputs: tuple[TransactionOutput, ...]
    paid: int

    @property
    def transaction(self) -> Transaction:
        """Decode the transaction; its bytes were found canonical when this was made."""
        data = PAIR_HEAD + self.body + self.witnesses
        return decode_unproven(Transaction, data, size_max=len(data))


class VerifiedBatch(Struct, frozen=True):
    """A batch whose bytes hash to its id, with a verdict for each transaction [B5].

    `transactions[i]` is None where a witness was bad, and `faults` then names the code for it.
    """

    batch_id: bytes
    body: bytes
    txids: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    transactions: tuple[VerifiedTransaction | None, ...]
    faults: dict[int, str]


def make_lock(policy: Policy) -> bytes:
    """Return the 32-byte lock of a spending policy [L3]."""
    return tagged_hash("lock", encode(policy))


def make_single_lock(public_key: bytes) -> bytes:
    """Return the lock that one key opens: the policy 1-of-1 [L3]."""
    return make_lock(Policy(threshold=1, keys=(public_key,)))


def make_txid(body: TransactionBody) -> bytes:
    """Return the 32-byte txid, which does not cover the witnesses [L2]."""
    return tagged_hash("tx", encode(body))


def make_leaf(txid: bytes, witnesses: tuple[Witness, ...]) -> bytes:
    """Return the 32-byte leaf that a batch or block commits to [B1]."""
    return make_hidden_leaf(txid, tagged_hash("witness", encode(witnesses)))


def make_hidden_leaf(txid: bytes, witness_hash: bytes) -> bytes:
    """Return the leaf of a transaction of whose witnesses only the hash is shown [B1]."""
    return tagged_hash("leaf", txid + witness_hash)


def make_spend_digest(chain_id: bytes, txid: bytes) -> bytes:
    """Return the 32 bytes that every witness of this payment signs [L2]."""
    return tagged_hash("spend", chain_id + txid)


def make_batch_id(leaves: Sequence[bytes]) -> bytes:
    """Return the 32-byte id of a batch with these leaves [B1]."""
    return make_rooted_batch_id(len(leaves), merkle_root(leaves))


def make_rooted_batch_id(count: int, root: bytes) -> bytes:
    """Return the id of a batch of `count` leaves with this Merkle root [B1]."""
    return tagged_hash("batch", encode((count, root)))
