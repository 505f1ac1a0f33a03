"""Genesis and signed payments for benchmarks; the same bytes for the same sizes."""

from collections.abc import Sequence
from hashlib import sha256

from lockstep.crypto.keys import SecretKey
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis, GenesisMember, genesis_outpoint
from lockstep.primitives.params import DEVNET
from lockstep.primitives.transaction import (
    TRANSACTION_VERSION,
    Batch,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_lock,
    make_single_lock,
    make_spend_digest,
    make_txid,
)

GENESIS_TIME_MS = 1_700_000_000_000
COIN_AMOUNT = 1_000_000
FEE = 3_000
OWNERS = 64


def make_key(name: str, number: int) -> SecretKey:
    """Return the secret key of this name and number."""
    return SecretKey(sha256(f"{name} {number}".encode()).digest())


def make_genesis(weights: Sequence[int], *, coins: int) -> Genesis:
    """Make a chain whose coins belong to 64 owners in turn; nobody depends on its parameters."""
    members = tuple(
        GenesisMember(
            voting_key=(key := make_key("member", index)).public_key,
            node_key=make_key("node", index).public_key,
            payout_lock=make_single_lock(key.public_key),
            weight=weight,
        )
        for index, weight in enumerate(weights)
    )
    locks = [make_single_lock(make_key("owner", index).public_key) for index in range(OWNERS)]
    return Genesis(
        version=1,
        network=DEVNET.network,
        time_ms=GENESIS_TIME_MS,
        closing_every=DEVNET.closing_every,
        block_interval_ms=DEVNET.block_interval_ms,
        idle_interval_ms=DEVNET.idle_interval_ms,
        members=members,
        coins=tuple(TransactionOutput(COIN_AMOUNT, locks[i % OWNERS]) for i in range(coins)),
    )


class PaymentMaker:
    """Signs payments of one genesis coin each, to a payee and back to the owner."""

    def __init__(self, genesis: Genesis, *, is_signing: bool = True) -> None:
        """Make the owners' keys; without signing, zeros stand for signatures."""
        self._is_signing = is_signing
        self._chain_id = genesis.chain_id
        self._keys = [make_key("owner", index) for index in range(OWNERS)]
        self._policies = [Policy(threshold=1, keys=(key.public_key,)) for key in self._keys]
        self._locks = [make_lock(policy) for policy in self._policies]

    def pay(self, index: int) -> Transaction:
        """Return the payment that spends the genesis coin of this index."""
        owner = index % OWNERS
        paid = 1_000 + index % 997
        body = TransactionBody(
            version=TRANSACTION_VERSION,
            inputs=(genesis_outpoint(self._chain_id, index),),
            outputs=(
                TransactionOutput(paid, self._locks[(index * 7 + 1) % OWNERS]),
                TransactionOutput(COIN_AMOUNT - FEE - paid, self._locks[owner]),
            ),
            memo=b"",
        )
        signature = bytes(64)
        if self._is_signing:
            digest = make_spend_digest(self._chain_id, make_txid(body))
            signature = self._keys[owner].sign(digest)
        return Transaction(body, (Witness(self._policies[owner], 1, (signature,)),))

    def make_body(self, start: int, count: int) -> bytes:
        """Return the encoded batch of the payments from `start` on."""
        payments = tuple(self.pay(index) for index in range(start, start + count))
        return encode(Batch(transactions=payments))
