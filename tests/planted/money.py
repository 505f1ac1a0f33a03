"""Bugs planted into the money [L4, L6]."""

from typing import Any

from lockstep.ledger import transition
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

    def generous(verified: Any, *, height: int, created: dict[bytes, Any]) -> None:
        create(verified, height=height, created=created)
        if verified.transaction.body.inputs:
            outpoint = next(reversed(created))
            coin = created[outpoint]
            created[outpoint] = type(coin)(coin.amount + 1, coin.lock, coin.height)

    patch.setattr(transition, "_create", generous)
