"""A block's transactions run over the coins below it, in order [L4, T2].

All or nothing: the result is a delta that the caller applies, or a refusal and no change.
"""

from collections.abc import Mapping, Sequence

from lockstep.errors import Rejected
from lockstep.ledger.coins import Coin, CoinDelta, CoinView
from lockstep.ledger.rules import ConflictingSpend, UnknownCoin, check_spend, check_verified
from lockstep.primitives.ids import format_outpoint, make_outpoint
from lockstep.primitives.transaction import Transaction, VerifiedTransaction


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
) -> tuple[CoinDelta, int]:
    """Return what these transactions change and the sum of their fees [L4].

    Each may spend coins of `view` and outputs of the ones before it. With `has_coinbase` the first
    one is the coinbase: its content is judged elsewhere, and nothing in its own block may spend it.
    A payment of the chain has spent its inputs for ever, so none can stand in the chain twice.

    Raises:
        DuplicateTransaction, BadOrder, InvalidTransaction: Each as its class says.
    """
    places = {verified.txid: place for place, verified in enumerate(transactions)}
    if len(places) != len(transactions):
        raise DuplicateTransaction("a transaction stands twice in the block")
    outside = [
        outpoint
        for verified in transactions
        for outpoint in verified.transaction.body.inputs
        if outpoint[:32] not in places
    ]
    below = dict(zip(outside, view.coins_of(outside), strict=True))
    created: dict[bytes, Coin] = {}
    spent: dict[bytes, Coin] = {}
    fees = 0
    for verified in transactions[1:] if has_coinbase else transactions:
        try:
            fees += _run(verified, below=below, created=created, spent=spent, places=places)
        except BadOrder:
            raise
        except Rejected as fault:
            raise InvalidTransaction(f"transaction {verified.txid.hex()}: {fault}") from fault
        _create(verified.txid, verified.transaction, height=height, created=created)
    if has_coinbase:
        coinbase = transactions[0]
        _create(coinbase.txid, coinbase.transaction, height=height, created=created)
    delta = CoinDelta(
        height=height,
        created=tuple(created.items()),
        spent=tuple(spent.items()),
        txids=tuple(places),
    )
    return delta, fees


def replay_transactions(
    transactions: Sequence[tuple[bytes, Transaction]], *, view: CoinView, height: int
) -> CoinDelta:
    """Return what a decided block's (txid, transaction) pairs changed over the coins below [T8].

    Nothing is judged again but that every coin is there, once; a coinbase has no inputs.

    Raises:
        UnknownCoin: If a coin that was spent is not there.
    """
    txids = dict.fromkeys([txid for txid, _ in transactions])
    outside = [
        outpoint
        for _, transaction in transactions
        for outpoint in transaction.body.inputs
        if outpoint[:32] not in txids
    ]
    below = dict(zip(outside, view.coins_of(outside), strict=True))
    created: dict[bytes, Coin] = {}
    spent: dict[bytes, Coin] = {}
    for txid, transaction in transactions:
        for outpoint in transaction.body.inputs:
            if _take(outpoint, below=below, created=created, spent=spent) is None:
                raise UnknownCoin(f"there is no coin {format_outpoint(outpoint)} to spend again")
        _create(txid, transaction, height=height, created=created)
    return CoinDelta(
        height=height,
        created=tuple(created.items()),
        spent=tuple(spent.items()),
        txids=tuple(txids),
    )


def _take(
    outpoint: bytes,
    *,
    below: Mapping[bytes, Coin | None],
    created: dict[bytes, Coin],
    spent: dict[bytes, Coin],
) -> Coin | None:
    """Spend one coin and return it; None if it is not there, or spent by a transaction before."""
    coin = created.pop(outpoint, None)
    if coin is None:
        coin = below.get(outpoint)
        if coin is None or outpoint in spent:
            return None
        spent[outpoint] = coin
    return coin


def _run(
    verified: VerifiedTransaction,
    *,
    below: dict[bytes, Coin | None],
    created: dict[bytes, Coin],
    spent: dict[bytes, Coin],
    places: Mapping[bytes, int],
) -> int:
    """Spend the inputs of one payment and return its fee."""
    check_verified(verified)
    coins = []
    for outpoint in verified.transaction.body.inputs:
        coin = _take(outpoint, below=below, created=created, spent=spent)
        if coin is None:
            raise _explain(outpoint, verified.txid, spent=spent, places=places)
        coins.append(coin)
    return check_spend(verified, coins)


def _create(
    txid: bytes, transaction: Transaction, *, height: int, created: dict[bytes, Coin]
) -> None:
    for index, output in enumerate(transaction.body.outputs):
        coin = Coin(amount=output.amount, lock=output.lock, height=height)
        created[make_outpoint(txid, index)] = coin


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
