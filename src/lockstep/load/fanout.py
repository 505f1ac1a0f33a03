"""Making thousands of coins from a few, so that payments need not wait for each other; pure."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from lockstep.errors import Unavailable
from lockstep.load.payments import Coin, KeyedPolicy, Kind, Purse
from lockstep.primitives.codec import encode
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.params import DUST, FEE_MIN, FEE_PER_BYTE
from lockstep.primitives.transaction import (
    TRANSACTION_VERSION,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_spend_digest,
    make_txid,
)

OUTPUTS: Final = 240
"""Coins made by one transaction."""
INPUTS: Final = 100
"""Small coins joined by one transaction."""
LANE_PAYMENTS: Final = 500
"""Payments that a lane's first coin is meant for, where the funds allow it."""
_WITNESS_BYTES: Final = 150


class NoFunds(Unavailable):
    """The keys of the load hold too little to make the coins it needs."""

    code = "load.funds"
    hint = "send coins to the wallet's first address, or ask for fewer payments"


class Want(Struct, frozen=True):
    """A coin that a purse needs: at which place of a lane, and of what amount."""

    purse: Purse
    place: int
    amount: int


class FanOut(Struct, frozen=True):
    """A transaction that makes coins; `funds` are what is left of its inputs."""

    txid: str
    raw: bytes
    made: tuple[tuple[Want, Coin], ...]
    funds: tuple[Coin, ...]
    policy: KeyedPolicy


class Fountain:
    """Funds of the load, from which coins for its lanes are made."""

    def __init__(self, chain_id: bytes) -> None:
        """Begin without funds."""
        self._chain_id = chain_id
        self._funds: dict[bytes, tuple[KeyedPolicy, deque[Coin]]] = {}

    def add(self, policy: KeyedPolicy, coins: Iterable[Coin]) -> None:
        """Take over coins under a policy."""
        self._funds.setdefault(policy.lock, (policy, deque()))[1].extend(coins)

    @property
    def total(self) -> int:
        """Return the sum of the funds in base units."""
        return sum(amount for _, coins in self._funds.values() for _, amount in coins)

    def next_round(self, wants: deque[Want]) -> list[FanOut]:
        """Make transactions for the first of `wants`, and take those off; funds come back by `add`.

        Raises:
            NoFunds: If none could be made.
        """
        made: list[FanOut] = []
        for policy, coins in self._funds.values():
            coins_left = deque(sorted(coins, key=lambda coin: -coin[1]))
            coins.clear()
            while wants and coins_left:
                fan_out = self._make(policy, coins_left, wants)
                if fan_out is None:
                    break
                made.append(fan_out)
            coins.extend(coins_left)
        if wants and not made:
            raise NoFunds(
                f"the load's keys hold {self.total} base units; {len(wants)} more coins of"
                f" {wants[0].amount} are needed"
            )
        return made

    def _make(self, policy: KeyedPolicy, coins: deque[Coin], wants: deque[Want]) -> FanOut | None:
        """Make one transaction of the largest coins; None where they do not reach for a want."""
        target = sum(want.amount for want in list(wants)[:OUTPUTS]) + _fee(OUTPUTS, INPUTS)
        inputs: list[Coin] = []
        total = 0
        while coins and total < target and len(inputs) < INPUTS:
            inputs.append(coins.popleft())
            total += inputs[-1][1]
        room = total - _fee(OUTPUTS, len(inputs)) - DUST
        chosen: list[Want] = []
        while wants and len(chosen) < OUTPUTS and room >= wants[0].amount:
            room -= wants[0].amount
            chosen.append(wants.popleft())
        if not chosen:
            coins.extendleft(inputs)
            return None
        rest = room + DUST
        outputs = [TransactionOutput(want.amount, want.purse.locks[want.place]) for want in chosen]
        outputs.append(TransactionOutput(rest, policy.lock))
        body = TransactionBody(
            TRANSACTION_VERSION, tuple(outpoint for outpoint, _ in inputs), tuple(outputs), b""
        )
        txid = make_txid(body)
        digest = make_spend_digest(self._chain_id, txid)
        signatures = tuple(key.sign(digest) for key in policy.keys)
        witness = Witness(policy.policy, (1 << len(policy.keys)) - 1, signatures)
        return FanOut(
            txid=txid.hex(),
            raw=encode(Transaction(body, (witness,))),
            made=tuple(
                (want, (make_outpoint(txid, index), want.amount))
                for index, want in enumerate(chosen)
            ),
            funds=((make_outpoint(txid, len(chosen)), rest),),
            policy=policy,
        )


def plan_wants(purse: Purse, lanes: int, *, payments: int, funds: int) -> deque[Want]:
    """Return the coins that make `lanes` more lanes for `payments` payments out of `funds`.

    The first coin of a lane pays for everything; the others only come along. Interleaved by place,
    so that the coins of a lane are made together.
    """
    each = purse.least - DUST
    least = -(-payments // max(1, lanes)) + 1
    if purse.kind is Kind.CONFLICTING:
        wished = least = 2
    else:
        wished = max(LANE_PAYMENTS, least)
    affordable = funds // max(1, lanes) // each
    amount = max(least, min(wished, affordable)) * each + DUST
    return deque(
        Want(purse, place, amount if place == 0 else 2 * DUST)
        for _ in range(lanes)
        for place in range(len(purse.locks))
    )


def gather_lanes(made: Iterable[tuple[Want, Coin]]) -> list[tuple[Purse, list[tuple[Coin, ...]]]]:
    """Return the lanes of each purse that the coins made so far are enough for."""
    purses: dict[Kind, Purse] = {}
    places: dict[Kind, list[list[Coin]]] = {}
    for want, coin in made:
        kind = want.purse.kind
        purses[kind] = want.purse
        places.setdefault(kind, [[] for _ in want.purse.locks])[want.place].append(coin)
    return [(purse, list(zip(*places[kind], strict=False))) for kind, purse in purses.items()]


def _fee(outputs: int, inputs: int) -> int:
    """Return a fee that suffices for a transaction of one witness."""
    return max(FEE_MIN, FEE_PER_BYTE * (45 * (outputs + 1) + 40 * inputs + _WITNESS_BYTES))
