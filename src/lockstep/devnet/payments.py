"""Payments of the load: one coin in, a small payment and the change out, signed in bulk; pure."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from lockstep.crypto.keys import SecretKey
from lockstep.primitives.codec import encode
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.params import COIN, DUST, FEE_MIN
from lockstep.primitives.transaction import (
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

LOAD_ACCOUNT: Final = 1
LOAD_COIN: Final = 10 * COIN
PAID: Final = 10_000
_CHANGE_INDEX: Final = 1


class SignedPayment(Struct, frozen=True):
    """A payment ready to submit, and the coin its change will be once it is final."""

    txid: str
    raw: bytes
    change: tuple[bytes, int]


class PaymentMaker:
    """Makes payments from a queue of coins under one key; the change joins the end of the queue.

    So that no payment hangs on another one, the queue should be longer than what is under way.
    """

    def __init__(self, key: SecretKey, *, payee_lock: bytes, chain_id: bytes) -> None:
        """Pay with `key` to `payee_lock` on the chain `chain_id`."""
        self._key = key
        self._policy = Policy(1, (key.public_key,))
        self._chain_id = chain_id
        self._payee_lock = payee_lock
        self._coins: deque[tuple[bytes, int]] = deque()
        self.lock = make_lock(self._policy)

    def __len__(self) -> int:
        """Return the number of coins at hand."""
        return len(self._coins)

    def add_coins(self, coins: Iterable[tuple[bytes, int]]) -> None:
        """Take over coins as (outpoint, amount); those too small to pay with are left out."""
        self._coins.extend(c for c in coins if c[1] >= PAID + FEE_MIN + DUST)

    def make_payments(self, count: int) -> list[SignedPayment]:
        """Make up to `count` payments, fewer where the coins run out."""
        coins = [self._coins.popleft() for _ in range(min(count, len(self._coins)))]
        return [self._make(coin, paid=PAID) for coin in coins]

    def make_conflict(self) -> tuple[SignedPayment, SignedPayment] | None:
        """Make two payments of the same coin, or nothing where there is no coin."""
        if not self._coins:
            return None
        coin = self._coins.popleft()
        return self._make(coin, paid=PAID), self._make(coin, paid=PAID + 1)

    def _make(self, coin: tuple[bytes, int], *, paid: int) -> SignedPayment:
        outpoint, amount = coin
        rest = amount - paid - FEE_MIN
        outputs = (TransactionOutput(paid, self._payee_lock), TransactionOutput(rest, self.lock))
        body = TransactionBody(TRANSACTION_VERSION, (outpoint,), outputs, b"")
        txid = make_txid(body)
        signature = self._key.sign(make_spend_digest(self._chain_id, txid))
        transaction = Transaction(body, (Witness(self._policy, 1, (signature,)),))
        change = (make_outpoint(txid, _CHANGE_INDEX), rest)
        return SignedPayment(txid.hex(), encode(transaction), change)
