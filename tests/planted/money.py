"""Bugs planted into the money [L4, L6]."""

from typing import Any

from msgspec.structs import replace

from lockstep.ledger import blocks, folding, settlement, transition
from lockstep.ledger.coins import CoinDelta
from lockstep.replica import summing
from planted.patching import Patch


def fee_counted_too_high(patch: Patch) -> None:
    """Book one base unit more than a block's payments leave [L6]."""
    run = vars(blocks)["run_transactions"]

    def generous(*args: Any, **named: Any) -> tuple[CoinDelta, int]:
        delta, fees = run(*args, **named)
        return delta, fees + 1 if delta.spent else fees

    patch.setattr(blocks, "run_transactions", generous)


def output_made_too_large(patch: Patch) -> None:
    """Add one base unit to what a block's payments make [L6]."""
    changes = transition._Run.delta

    def generous(self: Any) -> CoinDelta:
        delta = changes(self)
        if not delta.spent:
            return delta
        *rest, (outpoint, coin) = delta.created
        return replace(delta, created=(*rest, (outpoint, replace(coin, amount=coin.amount + 1))))

    patch.setattr(transition._Run, "delta", generous)


def spent_coins_left_in_the_sum(patch: Patch) -> None:
    """Fold what was made into the sum of the coins, and forget what was spent [S1]."""
    add = folding.CoinFolding.add

    def forgetful(self: Any, delta: CoinDelta) -> None:
        add(self, CoinDelta(delta.height, delta.created, (), delta.txids))

    patch.setattr(folding.CoinFolding, "add", forgetful)


def changes_lost_in_a_crash(patch: Patch) -> None:
    """Begin the sum of the coins anew after a restart, without what was not folded [S1, D2]."""
    patch.setattr(summing, "recall", lambda *_: None)


def commitment_unchecked(patch: Patch) -> None:
    """Take whatever state a proposer commits to [S1]."""
    check = blocks._check_header

    def trusting(block: Any, genesis: Any, state: Any, *rest: Any) -> None:
        closing = block.header.closing
        if closing is not None:
            due = settlement.due_commitment(genesis, state, rest[-1])
            closing = replace(closing, state_commitment=due)
            block = replace(block, header=replace(block.header, closing=closing))
        check(block, genesis, state, *rest)

    patch.setattr(blocks, "_check_header", trusting)
