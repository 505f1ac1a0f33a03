"""A block's transactions run over the coins below it, in order [L4, T2].

All or nothing: the result is a delta that the caller applies, or a refusal and no change.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

from lockstep.errors import Rejected
from lockstep.ledger.coins import Coin, CoinDelta, CoinView, NamedCoin
from lockstep.ledger.rules import ConflictingSpend, UnknownCoin, check_spend, check_verified
from lockstep.primitives.ids import INDEX_BYTES, format_outpoint
from lockstep.primitives.transaction import (
    OUTPUTS_MAX,
    Transaction,
    TransactionBody,
    VerifiedTransaction,
)

OUTPUT_INDICES: Final = tuple(index.to_bytes(INDEX_BYTES, "big") for index in range(OUTPUTS_MAX))
"""The last bytes of the outpoints of a transaction, in order."""
_Moves = TransactionBody | VerifiedTransaction
"""Whatever has the inputs and outputs of a transaction."""
_parent_of = itemgetter(slice(32))


class DuplicateTransaction(Rejected):
    """A txid stands twice in the block [T2]."""

    code = "block.duplicate"


class BadOrder(Rejected):
    """A transaction stands before one whose output it spends [T2]."""

    code = "block.order"


class InvalidTransaction(Rejected):
    """A transaction of the block is not valid where it stands [T4, T7]."""

    code = "block.transaction"


def run_transactions(
    transactions: Sequence[VerifiedTransaction],
    *,
    view: CoinView,
    height: int,
    has_coinbase: bool,
    known_fees: Sequence[int | None] = (),
) -> tuple[CoinDelta, int]:
    """Return what these transactions change and the sum of their fees [L4].

    Each may spend coins of `view` and outputs of the ones before it. With `has_coinbase` the first
    one is the coinbase: its content is judged elsewhere, and nothing in its own block may spend it.
    A payment of the chain has spent its inputs for ever, so none can stand in the chain twice.

    `known_fees` are what `check_spend` said before, one a transaction or None, or none at all: an
    outpoint names one amount and lock for ever, so it would say the same again. Whether the coins
    are there is always looked at.

    Raises:
        DuplicateTransaction, BadOrder, InvalidTransaction: Each as its class says.
    """
    places = {verified.txid: place for place, verified in enumerate(transactions)}
    if len(places) != len(transactions):
        raise DuplicateTransaction("a transaction stands twice in the block")
    payments = transactions[1:] if has_coinbase else transactions
    found = known_fees[-len(payments) :] if known_fees else [None] * len(payments)
    run = _Run(
        {verified.txid: verified for verified in payments}, places=places, view=view, height=height
    )
    fees = [fee for fee in found if fee is not None]
    if len(fees) < len(payments) or not run.all_at_once():
        fees = _judge_each(payments, run, found, places)
    if has_coinbase:
        run.create(transactions[0].txid, transactions[0])
    return run.delta(), sum(fees)


def _judge_each(
    payments: Sequence[VerifiedTransaction],
    run: "_Run",
    known_fees: Sequence[int | None],
    places: Mapping[bytes, int],
) -> list[int]:
    """Run payment by payment and return the fees; where one is not valid, say which and why."""
    fees: list[int] = []
    for verified, coins, known in zip(payments, run, known_fees, strict=True):
        fee = known
        if fee is None or run.missing is not None:
            try:
                check_verified(verified)
                if run.missing is not None:
                    raise _explain(run.missing, verified.txid, spent=run.spent, places=places)
                fee = check_spend(verified, coins)
            except BadOrder:
                raise
            except Rejected as fault:
                raise InvalidTransaction(f"transaction {verified.txid.hex()}: {fault}") from fault
        fees.append(fee)
    return fees


def replay_transactions(
    transactions: Sequence[tuple[bytes, Transaction]], *, view: CoinView, height: int
) -> CoinDelta:
    """Return what a decided block's (txid, transaction) pairs changed over the coins below [T8].

    Nothing is judged again but that every coin is there, once; a coinbase has no inputs.

    Raises:
        UnknownCoin: If a coin that was spent is not there.
    """
    bodies: dict[bytes, _Moves] = {txid: each.body for txid, each in transactions}
    run = _Run(bodies, places=bodies, view=view, height=height)
    for _ in run:
        if run.missing is not None:
            name = format_outpoint(run.missing)
            raise UnknownCoin(f"there is no coin {name} to spend again")
    return run.delta()


class _Run:
    """Spends and makes coins as the transactions stand in the block, all at once or one by one.

    Iterating yields the coins that each one's inputs spend, and then makes its outputs. `missing`
    names an input whose coin is not there, or was spent before; nobody goes on from there.
    """

    def __init__(
        self,
        bodies: Mapping[bytes, _Moves],
        *,
        places: Mapping[bytes, object],
        view: CoinView,
        height: int,
    ) -> None:
        self.missing: bytes | None = None
        self.spent: dict[bytes, Coin] = {}
        self._created: dict[bytes, Coin] = {}
        # What `all_at_once` has spent and made, in pairs: nobody looks a coin up in them.
        self._spent_together: Iterable[NamedCoin] = ()
        self._made_together: Sequence[NamedCoin] = ()
        self._bodies = bodies
        self._places = places
        self._height = height
        self._inputs = list(chain.from_iterable([body.inputs for body in bodies.values()]))
        self._outside = self._inputs
        if not places.keys().isdisjoint(map(_parent_of, self._inputs)):
            self._outside = [each for each in self._inputs if each[:32] not in places]
        self._below = view.coins_of(self._outside)

    def all_at_once(self) -> bool:
        """Spend and make everything where every coin is there, and is spent once; else nothing.

        Where it is not so they are to be run one by one, to find out what is wrong with which.
        """
        made_here = self._made_here()
        spent = [coin for coin in self._below if coin is not None]
        if (
            made_here is None
            or not len(spent) == len(self._outside) == len(dict.fromkeys(self._outside))
            or len(spent) + len(made_here) < len(self._inputs)
        ):
            return False
        height = self._height
        made = [
            (txid + OUTPUT_INDICES[index], Coin(output.amount, output.lock, height))
            for txid, body in self._bodies.items()
            for index, output in enumerate(body.outputs)
        ]
        if made_here:
            made = [named for named in made if named[0] not in made_here]
        self._spent_together, self._made_together = zip(self._outside, spent, strict=True), made
        return True

    def _made_here(self) -> dict[bytes, None] | None:
        """Return the inputs that spend outputs of payments before them, None if one of another."""
        found: dict[bytes, None] = {}
        if len(self._outside) == len(self._inputs):
            return found
        before: dict[bytes, _Moves] = {}
        for txid, body in self._bodies.items():
            for outpoint in body.inputs:
                if outpoint[:32] in self._places:
                    parent = before.get(outpoint[:32])
                    if parent is None or outpoint[32:] not in OUTPUT_INDICES[: len(parent.outputs)]:
                        return None
                    found[outpoint] = None
            before[txid] = body
        return found

    def __iter__(self) -> Iterator[list[Coin]]:
        below = dict(zip(self._outside, self._below, strict=True))
        take_below, take_created = below.pop, self._created.pop
        spent, create = self.spent, self.create
        for txid, body in self._bodies.items():
            coins: list[Coin] = []
            for outpoint in body.inputs:
                coin = take_below(outpoint, None)
                if coin is not None:
                    spent[outpoint] = coin
                else:
                    coin = take_created(outpoint, None)
                    if coin is None:
                        self.missing = self.missing or outpoint
                        continue
                coins.append(coin)
            yield coins
            create(txid, body)

    def create(self, txid: bytes, body: _Moves) -> None:
        """Make the outputs of one transaction."""
        created, height = self._created, self._height
        for index, output in zip(OUTPUT_INDICES, body.outputs, strict=False):
            created[txid + index] = Coin(output.amount, output.lock, height)

    def delta(self) -> CoinDelta:
        """Return what all of them changed together."""
        return CoinDelta(
            height=self._height,
            created=(*self._made_together, *self._created.items()),
            spent=(*self._spent_together, *self.spent.items()),
            txids=tuple(self._places),
        )


def _explain(
    outpoint: bytes,
    txid: bytes,
    *,
    spent: Mapping[bytes, Coin],
    places: Mapping[bytes, int],
) -> Rejected:
    """Return why this outpoint cannot be spent here."""
    name = format_outpoint(outpoint)
    if places.get(outpoint[:32], -1) > places[txid]:
        return BadOrder(f"the output {name} is spent before the transaction that makes it")
    if outpoint in spent:
        return ConflictingSpend(f"the coin {name} is spent by an earlier transaction of the block")
    return UnknownCoin(f"there is no coin {name} at this place of the chain")
