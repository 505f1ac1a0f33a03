"""`lockstep bench lthash`: what the sum of the coins costs, off the vote path and on it [S1].

An element is a coin made or spent, net over an epoch; it is folded in during the next epoch, in
slices. What a payment costs on the path of votes is the gathering alone. A rebuild adds up a whole
set, as a judge of databases does.
"""

from collections.abc import Callable
from typing import Final

from lockstep.bench.made_payments import make_genesis
from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.crypto.hashing import tagged_hash
from lockstep.crypto.lattice_hash import EMPTY_SUM
from lockstep.ledger.coins import Coin, CoinDelta, NamedCoin
from lockstep.ledger.commitment import add_coins
from lockstep.ledger.folding import CoinFolding
from lockstep.ledger.state import initial_state
from lockstep.replica.summing import FOLD_SLICE

Work = Callable[[], object]
BATCHES: Final = (1, 100, 10_000)
SET_COINS: Final = 50_000
BLOCK_PAYMENTS: Final = 2_000


def run(request: Request) -> Report:
    """Measure batches of three sizes, a slice, the gathering, and a rebuild."""
    variants = make_variants(coins=SET_COINS, payments=BLOCK_PAYMENTS)
    figures = measure(variants, repetitions=request.repetitions)
    slice_ms = round(figures["a slice of the loop"].cpu_high * FOLD_SLICE / 1e3, 2)
    lines = ["CPU microseconds an element, a payment where it says so (10th to 90th percentile)"]
    lines += [_describe(name, found) for name, found in figures.items()]
    lines.append(f"  a slice of {FOLD_SLICE} holds the loop for {slice_ms} ms")
    return Report(figures=figures, content={"slice_ms": slice_ms}, lines=lines)


def make_variants(*, coins: int, payments: int) -> dict[str, Variant]:
    """Make work over a set of `coins`, and over a block of `payments` with one input each."""
    named = [_coin(number) for number in range(coins)]
    variants = {
        f"fold {size}": Variant(_folding_of(named[:size]), size)
        for size in BATCHES
        if size <= coins
    }
    half = FOLD_SLICE // 2
    few, others = named[:half], named[half : 2 * half]
    variants["a slice of the loop"] = Variant(
        lambda: add_coins(EMPTY_SUM, created=few, spent=others), len(few) + len(others)
    )
    variants[f"rebuild {coins} coins"] = Variant(lambda: add_coins(EMPTY_SUM, created=named), coins)
    variants["gather, a payment"] = Variant(_gathering_of(payments), payments)
    return variants


def _folding_of(named: list[NamedCoin]) -> Work:
    return lambda: add_coins(EMPTY_SUM, created=named)


def _gathering_of(payments: int) -> Work:
    """Return the gathering of a block whose payments each spend a coin and make two."""
    spent = tuple(_coin(number) for number in range(payments))
    created = tuple(_coin(payments + number) for number in range(2 * payments))
    delta = CoinDelta(1, created, spent, ())
    state = initial_state(make_genesis([1] * 4, coins=1))

    def work() -> None:
        CoinFolding(state).add(delta)

    return work


def _coin(number: int) -> NamedCoin:
    lock = tagged_hash("bench-lock", number.to_bytes(4, "big"))
    return lock[::-1] + bytes(4), Coin(1_000_000 + number, lock, 1)


def _describe(name: str, found: Figure) -> str:
    return f"  {name:24} {found.cpu:7.3f} ({found.cpu_low:.3f} to {found.cpu_high:.3f})"
