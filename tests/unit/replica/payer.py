"""Payments of the coins of a genesis, each opened by the key of its number."""

from collections.abc import Sequence

from building import lock_of, make_body, secret
from lockstep.primitives.genesis import genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    Witness,
    make_spend_digest,
    make_txid,
)
from lockstep.sim.keyed_hash import keyed_signature
from unit.replica.speaker import Speaker

FEE = 4_000


def txid_of(payment: Transaction) -> bytes:
    """Return the txid of a payment."""
    return make_txid(payment.body)


class Payer(Speaker):
    """Makes payments beside the words of members."""

    def coin(self, index: int) -> bytes:
        return genesis_outpoint(self.chain_id, index)

    def pay(
        self,
        *inputs: tuple[bytes, int, int],
        to: Sequence[int] = (0,),
        fee: int = FEE,
        memo: bytes = b"",
    ) -> Transaction:
        """Spend inputs (outpoint, amount, number of key), in equal parts to the keys `to`."""
        share = (sum(amount for _, amount, _ in inputs) - fee) // len(to)
        body = make_body(
            [outpoint for outpoint, _, _ in inputs],
            [(share, lock_of(key)) for key in to],
            memo=memo,
        )
        digest = make_spend_digest(self.chain_id, make_txid(body))
        witnesses = tuple(
            Witness(
                Policy(1, (secret(key).public_key,)),
                1,
                (keyed_signature(secret(key).public_key, digest),),
            )
            for key in dict.fromkeys(key for _, _, key in inputs)
        )
        return Transaction(body, witnesses)

    def pay_coin(self, index: int, *, fee: int = FEE, memo: bytes = b"") -> Transaction:
        """Spend the genesis coin of this index."""
        amount = self.genesis.coins[index].amount
        return self.pay((self.coin(index), amount, index), fee=fee, memo=memo)

    def child_of(self, parent: Transaction) -> Transaction:
        """Spend the first output of a payment to key 0."""
        return self.pay((make_outpoint(txid_of(parent), 0), parent.body.outputs[0].amount, 0))
