"""The small world of one model: its members, and the payments with which they are troubled.

Seats name the members: 0, 1 and 2 are honest, 3 is the Byzantine one.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from lockstep.crypto.hashing import tagged_hash
from lockstep.errors import Misuse
from lockstep.primitives.committee import Member
from lockstep.primitives.genesis import Genesis, GenesisMember, genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.params import DEVNET
from lockstep.primitives.transaction import (
    TRANSACTION_VERSION,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    VerifiedBatch,
    VerifiedTransaction,
    Witness,
    make_single_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.replica.ingress import make_batch
from lockstep.sim.keyed_hash import KeyedHashSigner, KeyedHashVerifier, keyed_signature

HONEST: Final = 3
BYZANTINE: Final = 3
SEATS: Final = 4
GENESIS_TIME_MS: Final = 1_700_000_000_000
COIN_AMOUNT: Final = 1_000_000
VERIFIER: Final = KeyedHashVerifier()


class Payment(Struct, frozen=True):
    """A payment of a model: it spends genesis coins by number, or the output of another by name.

    Of two rivals the one with the higher fee is voted for first in a new epoch, so where fees
    differ members change their minds between epochs.
    """

    name: str
    spends: tuple[int | str, ...]
    fee: int = 4_000


class Scenario:
    """Members, payments and batches, one batch a payment, all made from the weights and names.

    Attributes:
        names: Names of the payments; parents stand before their children.
        rivals: Of each payment, those that spend one of its coins or one of its ancestors' coins.
    """

    def __init__(self, weights: tuple[int, ...], payments: Sequence[Payment], closing: int) -> None:
        """Make the world of four members; every `closing`-th height ends an epoch."""
        if len(weights) != SEATS:
            raise Misuse("a model has three honest members and a Byzantine one")
        self.weights = weights
        self.signers = [KeyedHashSigner(_key("voting", seat)) for seat in range(SEATS)]
        owner = self._owner = _key("owner", 0)
        self._lock = make_single_lock(owner)
        self.genesis = self._make_genesis(closing)
        self.chain_id = self.genesis.chain_id
        self.peers = [member.node_key for member in self.genesis.members]
        committee = {m.voting_key: m for m in self.genesis.committee.members}
        self.members: list[Member] = [committee[signer.public_key] for signer in self.signers]
        self.seat_of = {member.member_id: seat for seat, member in enumerate(self.members)}
        self.quorum = self.genesis.committee.quorum
        self.names = tuple(payment.name for payment in payments)
        self.fees = {payment.name: payment.fee for payment in payments}
        self.payments: dict[str, VerifiedTransaction] = {}
        self.batches: dict[str, VerifiedBatch] = {}
        for payment in payments:
            self._add(payment)
        self.name_of = {paid.txid: name for name, paid in self.payments.items()}
        self.names_of = {batch.batch_id: (name,) for name, batch in self.batches.items()}
        self.parents = {
            payment.name: tuple(spent for spent in payment.spends if isinstance(spent, str))
            for payment in payments
        }
        direct = {
            one.name: {
                other.name
                for other in payments
                if other.name != one.name and not set(one.spends).isdisjoint(other.spends)
            }
            for one in payments
        }
        self.direct_rivals = {name: frozenset(found) for name, found in direct.items()}
        self.rivals = {name: frozenset(self._all_rivals(name, direct)) for name in self.names}

    def _add(self, payment: Payment) -> None:
        inputs: list[bytes] = []
        amount = 0
        for spent in payment.spends:
            if isinstance(spent, str):
                parent = self.payments[spent]
                inputs.append(make_outpoint(parent.txid, 0))
                amount += parent.transaction.body.outputs[0].amount
            else:
                inputs.append(genesis_outpoint(self.chain_id, spent))
                amount += COIN_AMOUNT
        body = TransactionBody(
            version=TRANSACTION_VERSION,
            inputs=tuple(inputs),
            outputs=(TransactionOutput(amount - payment.fee, self._lock),),
            memo=payment.name.encode(),
        )
        digest = make_spend_digest(self.chain_id, make_txid(body))
        policy = Policy(1, (self._owner,))
        transaction = Transaction(
            body, (Witness(policy, 1, (keyed_signature(self._owner, digest),)),)
        )
        batch, faults = make_batch([transaction], chain_id=self.chain_id, verifier=VERIFIER)
        verified = None if batch is None else batch.transactions[0]
        if batch is None or verified is None or faults:
            raise Misuse("a payment of a model is good")
        self.payments[payment.name] = verified
        self.batches[payment.name] = batch

    def _all_rivals(self, name: str, direct: dict[str, set[str]]) -> set[str]:
        """Return what can never stand in one chain with this payment."""
        line = self._line(name)
        return {
            other
            for other in self.names
            if any(rival in direct[one] for one in line for rival in self._line(other))
        }

    def _line(self, name: str) -> list[str]:
        """Return a payment and its ancestors."""
        return [name, *(far for parent in self.parents[name] for far in self._line(parent))]

    def _make_genesis(self, closing: int) -> Genesis:
        return Genesis(
            version=1,
            network=DEVNET.network,
            time_ms=GENESIS_TIME_MS,
            closing_every=closing,
            block_interval_ms=DEVNET.block_interval_ms,
            idle_interval_ms=DEVNET.idle_interval_ms,
            members=tuple(
                GenesisMember(signer.public_key, _key("node", seat), weight, self._lock)
                for seat, (signer, weight) in enumerate(
                    zip(self.signers, self.weights, strict=True)
                )
            ),
            coins=tuple(TransactionOutput(COIN_AMOUNT, self._lock) for _ in range(4)),
        )


def _key(kind: str, number: int) -> bytes:
    return tagged_hash(f"model-{kind}", number.to_bytes(1, "big"))
