"""Payments of the load, signed before they are sent; pure.

Payments of one *lane* follow each other: each spends the change of the one before. The outpoint of
a change is known as soon as its payment is signed, so a lane of any length is signed beforehand. A
payment is handed out only when the one before it is final, unless lanes are asked for in pairs.

A lane has a *home*, the node its payments go to, as a wallet has: another node may not have heard
yet that the payment before is final, and would not know the coin.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct

from lockstep.crypto.keys import SIGNATURE_BYTES, SecretKey
from lockstep.primitives.codec import encode
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.params import COIN, DUST, FEE_MIN, FEE_PER_BYTE, SUPPLY_MAX
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
SIGN_PORTION: Final = 250
_ZERO_HASH: Final = bytes(32)

Coin = tuple[bytes, int]
"""(outpoint, amount in base units)."""


class Kind(StrEnum):
    """What a payment of the load is like."""

    ONE = "one"
    TWO = "two"
    CHAINED = "chained"
    CONFLICTING = "conflicting"
    MULTISIG = "multisig"


class KeyedPolicy(Struct, frozen=True):
    """A spending policy, and as many of its keys as must sign: the first ones."""

    policy: Policy
    keys: tuple[SecretKey, ...]

    @property
    def lock(self) -> bytes:
        """Return the lock of the policy."""
        return make_lock(self.policy)


class SignedPayment(Struct, gc=False):
    """A payment ready to submit.

    Attributes:
        txid: Its name in hex.
        raw: Its canonical bytes.
        kind: Whose lane it is in.
        signatures: How many signatures every node verifies in it.
        change: The coins it leaves for the next of its lane.
        next: The next of its lane, where that is signed already.
        home: The home of its lane.
        is_parent: Whether the next was handed out with it, so that nothing waits for its end.
    """

    txid: str
    raw: bytes
    kind: Kind = Kind.ONE
    signatures: int = 1
    change: tuple[Coin, ...] = ()
    next: "SignedPayment | None" = None
    home: int = 0
    is_parent: bool = False


class _Home:
    """The lanes of one home: those that have no payment signed, and payments that may be sent."""

    __slots__ = ("lanes", "ready")

    def __init__(self) -> None:
        self.lanes: deque[tuple[Coin, ...]] = deque()
        self.ready: deque[SignedPayment] = deque()


class Purse:
    """The lanes of one kind: coins under the same policies, and payments signed from them."""

    def __init__(
        self,
        kind: Kind,
        policies: Sequence[KeyedPolicy],
        *,
        payee_lock: bytes,
        chain_id: bytes,
        homes: int = 1,
    ) -> None:
        """Pay from one coin under each policy, all in one payment, to `payee_lock`."""
        self.kind = kind
        self.policies = tuple(policies)
        self.locks = tuple(each.lock for each in policies)
        self._payee_lock = payee_lock
        self._chain_id = chain_id
        self._homes = [_Home() for _ in range(homes)]
        self._next_home = 0
        self._signatures = sum(len(each.keys) for each in policies)
        self.fee = self._measure_fee()
        self.least = PAID + self.fee + DUST
        """The least first coin a payment can be made from, in base units."""

    def __len__(self) -> int:
        """Return the number of lanes that wait to be used."""
        return sum(len(home.lanes) + len(home.ready) for home in self._homes)

    def add_lanes(self, lanes: Iterable[tuple[Coin, ...]]) -> None:
        """Take over lanes, a coin for each policy; those spent down are left out."""
        for lane in lanes:
            if lane[0][1] >= self.least:
                self._homes[self._next_home].lanes.append(lane)
                self._next_home = (self._next_home + 1) % len(self._homes)

    def sign_ahead(self, count: int) -> Iterator[int]:
        """Sign until `count` payments are ready, each lane in turn; yield the number now and then.

        Only while nothing of this purse is under way.
        """
        ready = (payment for home in self._homes for payment in home.ready)
        chains = sorted((list(_chain(payment)) for payment in ready), key=len)
        signed = sum(map(len, chains))
        tails = deque(chain[-1] for chain in chains)
        told = signed
        while signed < count:
            places = [number for number, home in enumerate(self._homes) if home.lanes]
            for place in places[: count - signed]:
                tails.append(self._sign_next(place))
                self._homes[place].ready.append(tails[-1])
                signed += 1
            if not places:
                if not tails:
                    return
                tail = tails.popleft()
                if tail.change[0][1] < self.least:
                    continue
                tail.next = self._sign(tail.change, home=tail.home)
                tails.append(tail.next)
                signed += 1
            if signed >= told + SIGN_PORTION:
                told = signed
                yield signed

    def take(self, count: int, *, home: int = 0) -> list[SignedPayment]:
        """Take up to `count` payments of lanes of their own, signing what is not signed yet."""
        ready, lanes = self._homes[home].ready, self._homes[home].lanes
        taken = [ready.popleft() for _ in range(min(count, len(ready)))]
        while len(taken) < count and lanes:
            taken.append(self._sign_next(home))
        return taken

    def take_pairs(self, count: int, *, home: int = 0) -> list[SignedPayment]:
        """Take up to `count` payments and the next of each, parent before child [F1]."""
        taken: list[SignedPayment] = []
        for parent in self.take(count, home=home):
            taken.append(parent)
            if parent.next is None and parent.change[0][1] >= self.least:
                parent.next = self._sign(parent.change, home=home)
            if parent.next is not None:
                parent.is_parent = True
                taken.append(parent.next)
        return taken

    def take_conflict(self) -> tuple[SignedPayment, SignedPayment] | None:
        """Take two payments of the same coin, or nothing where there is no coin.

        Which of them wins is not known, so the coin's lane ends here.
        """
        for home in self._homes:
            if home.lanes:
                lane = home.lanes.popleft()
                return self._sign(lane), self._sign(lane, paid=PAID + 1)
        return None

    def settle(self, payment: SignedPayment) -> None:
        """Note that a payment is final: its lane may be used again."""
        if payment.is_parent:
            return
        if payment.next is not None:
            self._homes[payment.home].ready.append(payment.next)
        elif payment.change and payment.change[0][1] >= self.least:
            self._homes[payment.home].lanes.append(payment.change)

    def put_back(self, payment: SignedPayment) -> None:
        """Note that a payment was refused: it may be sent again.

        A parent and its child are given up: the other one may be held by a node.
        """
        if self.kind is not Kind.CHAINED:
            self._homes[payment.home].ready.append(payment)

    def _sign_next(self, home: int) -> SignedPayment:
        return self._sign(self._homes[home].lanes.popleft(), home=home)

    def _sign(self, lane: tuple[Coin, ...], *, home: int = 0, paid: int = PAID) -> SignedPayment:
        rests = [amount for _, amount in lane]
        rests[0] -= paid + self.fee
        body = self._body(tuple(outpoint for outpoint, _ in lane), paid, rests)
        txid = make_txid(body)
        digest = make_spend_digest(self._chain_id, txid)
        witnesses = tuple(
            Witness(
                each.policy,
                (1 << len(each.keys)) - 1,
                tuple(key.sign(digest) for key in each.keys),
            )
            for each in self.policies
        )
        return SignedPayment(
            txid=txid.hex(),
            raw=encode(Transaction(body, witnesses)),
            kind=self.kind,
            signatures=self._signatures,
            home=home,
            change=tuple((make_outpoint(txid, 1 + i), rest) for i, rest in enumerate(rests)),
        )

    def _body(self, inputs: tuple[bytes, ...], paid: int, rests: Sequence[int]) -> TransactionBody:
        outputs = (
            TransactionOutput(paid, self._payee_lock),
            *(TransactionOutput(rest, lock) for rest, lock in zip(rests, self.locks, strict=True)),
        )
        return TransactionBody(TRANSACTION_VERSION, inputs, outputs, b"")

    def _measure_fee(self) -> int:
        """Return the fee of the largest payment of this kind [L4]."""
        count = len(self.policies)
        inputs = tuple(make_outpoint(_ZERO_HASH, index) for index in range(count))
        body = self._body(inputs, PAID, [SUPPLY_MAX] * count)
        witnesses = tuple(
            Witness(each.policy, 1, (bytes(SIGNATURE_BYTES),) * len(each.keys))
            for each in self.policies
        )
        size = len(encode(Transaction(body, witnesses)))
        return max(FEE_MIN, FEE_PER_BYTE * size)


def make_single(key: SecretKey) -> KeyedPolicy:
    """Return the policy that one key satisfies [L3]."""
    return KeyedPolicy(Policy(1, (key.public_key,)), (key,))


def make_multisig(keys: Sequence[SecretKey], threshold: int) -> KeyedPolicy:
    """Return the policy m-of-n over these keys [L3]."""
    return KeyedPolicy(
        Policy(threshold, tuple(key.public_key for key in keys)), tuple(keys[:threshold])
    )


def _chain(payment: SignedPayment) -> Iterator[SignedPayment]:
    here: SignedPayment | None = payment
    while here is not None:
        yield here
        here = here.next
