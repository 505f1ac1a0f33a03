"""Bugs planted into the money [L4, L6]."""

from typing import Any

from msgspec.structs import replace

from lockstep.ledger import blocks, folding, settlement, transition
from lockstep.ledger.coins import CoinDelta
from lockstep.replica import summing
from planted.patching import Patch


def fee_counted_too_high(patch: Patch) -> None:
    """Book one base unit more than a payment leaves [L6]."""
    check_spend = vars(transition)["check_spend"]
    patch.setattr(
        transition, "check_spend", lambda verified, coins: check_spend(verified, coins) + 1
    )


def output_made_too_large(patch: Patch) -> None:
    """Add one base unit to what a payment makes [L6]."""
    create = transition._create

    def generous(txid: bytes, transaction: Any, *, height: int, created: dict[bytes, Any]) -> None:
        create(txid, transaction, height=height, created=created)
        if transaction.body.inputs:
            outpoint = next(reversed(created))
            coin = created[outpoint]
            created[outpoint] = type(coin)(coin.amount + 1, coin.lock, coin.height)

    patch.setattr(transition, "_create", generous)


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
