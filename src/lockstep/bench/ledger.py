"""`lockstep bench ledger`: what the ledger's rules cost a payment, each by itself.

A block of payments with one input and two outputs over a view that answers at once: the rules that
need coins, the run of a whole block, the root over its leaves, and the overlay that it leaves.
"""

import gc
from collections.abc import Sequence
from typing import Final

from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.crypto.hashing import merkle_root_above
from lockstep.ledger.coins import Coin, CoinOverlay
from lockstep.ledger.rules import check_spend, has_good_shape
from lockstep.ledger.transition import run_transactions
from lockstep.node.app import GC_THRESHOLDS
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.replica.witnesses import derive_transaction

SIZES: Final = (100, 1_000, 5_000)
"""Payments of a block."""


class GenesisView:
    """The coins of a genesis, none of them spent."""

    def __init__(self, genesis: Genesis) -> None:
        """Read the genesis."""
        self._coins = {
            genesis_outpoint(genesis.chain_id, index): Coin(output.amount, output.lock, 0)
            for index, output in enumerate(genesis.coins)
        }
        self._heights: dict[bytes, int] = {}

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each outpoint, None where there is none."""
        return [*map(self._coins.get, outpoints)]

    def height_of(self, txid: bytes) -> int | None:
        """Return None: no block holds the transaction, whatever it is."""
        return self._heights.get(txid)


def run(request: Request) -> Report:
    """Measure all rules for blocks of each size."""
    # As a running node has it; else the collector is what is measured.
    gc.set_threshold(*GC_THRESHOLDS)
    figures = measure(make_variants(SIZES), repetitions=request.repetitions)
    return Report(figures=figures, content={"sizes": SIZES}, lines=_describe(figures))


def make_variants(sizes: Sequence[int]) -> dict[str, Variant]:
    """Return what is measured, by name and payments of the block."""
    genesis = make_genesis([1] * 4, coins=max(sizes))
    maker, view = PaymentMaker(genesis), GenesisView(genesis)
    made = [derive_transaction(maker.pay(index)) for index in range(max(sizes))]
    coins = [view.coins_of(verified.inputs) for verified in made]
    paired = [
        (verified, [coin for coin in found if coin is not None])
        for verified, found in zip(made, coins, strict=True)
    ]
    found: dict[str, Variant] = {}
    transactions = [(each.transaction, each.size_bytes) for each in made]
    for size in sizes:
        block = made[:size]
        delta, _ = run_transactions(block, view=view, height=1, has_coinbase=False)
        work = {
            "shape": lambda size=size: [
                has_good_shape(each, size_bytes=size_bytes)
                for each, size_bytes in transactions[:size]
            ],
            "spend": lambda size=size: [check_spend(*each) for each in paired[:size]],
            "run": lambda block=block: run_transactions(
                block, view=view, height=1, has_coinbase=False
            ),
            "root": lambda block=block: merkle_root_above([each.node for each in block]),
            "overlay": lambda delta=delta: CoinOverlay(view).apply(delta),
        }
        found |= {f"{name}.{size}": Variant(act, items=size) for name, act in work.items()}
    return found


def _describe(figures: dict[str, Figure]) -> list[str]:
    lines = ["CPU microseconds a payment: median (10th to 90th percentile)"]
    for name, figure in figures.items():
        rule, _, size = name.partition(".")
        lines.append(
            f"  {rule.ljust(8)} block of {size:>5}: {figure.cpu:6.3f}"
            f" ({figure.cpu_low:.3f} to {figure.cpu_high:.3f})"
        )
    return lines
