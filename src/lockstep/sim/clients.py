"""Simulated people: they pay, spend what is not yet in the chain, and try to pay twice.

A client does what a person's program does: it submits to a node that runs, and where the node
refuses for now, or dies before it answered, it submits the same payment elsewhere.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol

from msgspec import Struct

from lockstep.crypto.keys import Signer
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import (
    TRANSACTION_VERSION,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_single_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.replica.effects import (
    Notice,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsRefused,
)
from lockstep.sim.clock import Clock
from lockstep.sim.options import Options

COIN_AMOUNT: Final = 1_000_000
FEE: Final = 3_000
BURST_MAX: Final = 12
FIRST_PAYMENT_MS: Final = 800
RETRY_MS: Final = 2_500
CHAIN_WINDOW: Final = 24
EVICTED_CODE: Final = "pool.evicted"
CONFLICT_CODES: Final = ("tx.double_spend", "tx.conflict")


class Payment(Struct):
    """One payment and what its client knows of it."""

    transaction: Transaction
    txid: bytes
    size_bytes: int
    is_contested: bool
    is_accepted: bool = False
    holder: int | None = None
    refusal: str = ""


class Output(Struct, frozen=True):
    """An output that a client can spend."""

    outpoint: bytes
    amount: int
    owner: int
    is_contested: bool


class Node(Protocol):
    """What a client asks of a node."""

    @property
    def is_up(self) -> bool:
        """Tell whether the node runs."""
        ...

    def submit(self, transactions: Sequence[tuple[Transaction, bytes, int]]) -> None:
        """Take payments: (transaction, txid, size in bytes) each."""
        ...


class Clients:
    """All clients of a world.

    Attributes:
        payments: Every payment made, by txid, in order.
        transactions: Every transaction, by txid, for the checkers.
        conflicts: Pairs of payments made that spend one coin.
    """

    def __init__(
        self,
        options: Options,
        dice: Random,
        clock: Clock,
        genesis: Genesis,
        signers: Sequence[Signer],
        is_resolved: Callable[[bytes], bool],
    ) -> None:
        """Own all genesis coins, each by one of the signers in turn."""
        self.payments: dict[bytes, Payment] = {}
        self.transactions: dict[bytes, Transaction] = {}
        self.conflicts = 0
        self._options = options
        self._dice = dice
        self._clock = clock
        self._chain_id = genesis.chain_id
        self._signers = signers
        self._policies = [Policy(threshold=1, keys=(signer.public_key,)) for signer in signers]
        self._locks = [make_single_lock(signer.public_key) for signer in signers]
        self._fresh = [
            Output(
                genesis_outpoint(genesis.chain_id, index), coin.amount, index % len(signers), False
            )
            for index, coin in enumerate(genesis.coins)
        ]
        self._recent: list[Output] = []
        self._nodes: Sequence[Node] = ()
        self._is_resolved = is_resolved
        self._unanswered: dict[int, dict[bytes, None]] = {}
        self._liars: Sequence[int] = ()

    def plan(self, nodes: Sequence[Node], liars: Sequence[int] = ()) -> None:
        """Put all payments of the run on the clock, in bursts.

        No answer of the `liars` among the nodes counts: what they were given goes elsewhere too.
        """
        self._nodes = nodes
        self._liars = liars
        left = self._options.payments
        while left > 0:
            count = min(left, self._dice.randint(1, BURST_MAX))
            time_ms = self._dice.randint(FIRST_PAYMENT_MS, self._options.safety_ms)
            self._clock.at(time_ms, self._pay, count)
            left -= count

    def on_notice(self, node: int, notice: Notice) -> None:
        """Hear what became of what was submitted to a node."""
        if isinstance(notice, TransactionsAccepted):
            for txid in notice.txids:
                self._unanswered.get(node, {}).pop(txid, None)
                self.payments[txid].is_accepted = True
                self.payments[txid].holder = node
        elif isinstance(notice, TransactionsRefused):
            for txid, code, _ in notice.refusals:
                payment = self.payments[txid]
                payment.refusal = code
                waited = txid in self._unanswered.get(node, {})
                self._unanswered.get(node, {}).pop(txid, None)
                if waited and not (payment.is_contested and code in CONFLICT_CODES):
                    self._try_later([txid])

        elif isinstance(notice, TransactionsDropped) and notice.code == EVICTED_CODE:
            for txid in notice.txids:
                self.payments[txid].is_accepted = False
                self.payments[txid].refusal = notice.code
            self._try_later(notice.txids)

    def on_crash(self, node: int) -> None:
        """Submit elsewhere what the node had not answered."""
        self._try_later(list(self._unanswered.pop(node, {})))

    def on_disk_lost(self, node: int) -> None:
        """Submit elsewhere what the node had accepted and may have told nobody yet."""
        for txid, payment in self.payments.items():
            if payment.is_accepted and payment.holder == node and not self._is_resolved(txid):
                payment.is_accepted = False
                self._try_later([txid])

    def _pay(self, count: int) -> None:
        """Make some payments and submit them to nodes drawn for each."""
        parcels: dict[int, list[bytes]] = {}
        while count > 0:
            made = self._make()
            count -= len(made)
            places = list(range(len(self._nodes)))
            self._dice.shuffle(places)
            if self._liars and len(made) > 1 and not self._dice.randrange(3):
                # Both of a pair in the hands of one liar, who may tell each to somebody else.
                places = [self._dice.choice(self._liars)] * len(made)
            for payment, place in zip(made, places, strict=False):
                parcels.setdefault(place, []).append(payment.txid)
                if not self._dice.randrange(20):
                    parcels.setdefault(places[-1], []).append(payment.txid)
        for place in sorted(parcels):
            self._submit(place, list(dict.fromkeys(parcels[place])))

    def _make(self) -> list[Payment]:
        """Make one payment, or a pair that spends one coin."""
        options, dice = self._options, self._dice
        coin = self._take_coin()
        if dice.randrange(100) >= options.conflict_percent:
            return [self._sign([coin], is_contested=coin.is_contested)]
        self.conflicts += 1
        pair = []
        for _ in range(2):
            coins = [coin] if dice.randrange(3) else [coin, self._fresh.pop()]
            pair.append(self._sign(coins, is_contested=True))
        return pair

    def _take_coin(self) -> Output:
        if self._recent and self._dice.randrange(100) < self._options.chained_percent:
            return self._recent.pop(self._dice.randrange(len(self._recent)))
        return self._fresh.pop()

    def _sign(self, coins: Sequence[Output], *, is_contested: bool) -> Payment:
        dice = self._dice
        total = sum(coin.amount for coin in coins) - FEE * len(coins)
        part = dice.randint(total // 4, total // 2)
        owners = [dice.randrange(len(self._signers)) for _ in range(2)]
        body = TransactionBody(
            version=TRANSACTION_VERSION,
            inputs=tuple(coin.outpoint for coin in coins),
            outputs=tuple(
                TransactionOutput(amount, self._locks[owner])
                for amount, owner in zip((part, total - part), owners, strict=True)
            ),
            memo=b"",
        )
        txid = make_txid(body)
        digest = make_spend_digest(self._chain_id, txid)
        signing = dict.fromkeys(coin.owner for coin in coins)
        witnesses = tuple(
            Witness(self._policies[owner], 1, (self._signers[owner].sign(digest),))
            for owner in signing
        )
        transaction = Transaction(body, witnesses)
        payment = Payment(transaction, txid, len(encode(transaction)), is_contested)
        self.payments[txid] = payment
        self.transactions[txid] = transaction
        for index, owner in enumerate(owners):
            amount = body.outputs[index].amount
            if amount > 10 * FEE:
                outpoint = make_outpoint(txid, index)
                self._recent.append(Output(outpoint, amount, owner, is_contested))
        del self._recent[:-CHAIN_WINDOW]
        return payment

    def _submit(self, place: int, txids: Sequence[bytes]) -> None:
        node = self._nodes[place]
        if not node.is_up:
            self._try_later(txids)
            return
        payments = [self.payments[txid] for txid in txids]
        if place in self._liars:
            node.submit([(p.transaction, p.txid, p.size_bytes) for p in payments])
            self._try_later(txids)
            return
        self._unanswered.setdefault(place, {}).update(dict.fromkeys(txids))
        node.submit([(p.transaction, p.txid, p.size_bytes) for p in payments])

    def _try_later(self, txids: Sequence[bytes]) -> None:
        for txid in txids:
            self._clock.after(self._dice.randint(100, RETRY_MS), self._retry, txid)

    def _retry(self, txid: bytes) -> None:
        if not self.payments[txid].is_accepted and not self._is_resolved(txid):
            self._submit(self._dice.randrange(len(self._nodes)), [txid])
