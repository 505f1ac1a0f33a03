"""Bugs planted into the end of an epoch and into what a block may hold [T4-T8]."""

from collections.abc import Callable
from typing import Any

from lockstep.ledger import blocks
from lockstep.mempool.pool import Pool
from lockstep.primitives.committee import Committee
from lockstep.primitives.votes import Freeze
from lockstep.replica import (
    agreement,
    candidates,
    commit,
    exchange,
    freezing,
    locking,
    proposing,
    recovery,
    voting,
)
from planted.patching import Patch


def confirm_after_freeze(patch: Patch) -> None:
    """Confirm after the last word of the epoch [T5]."""
    confirm_ready = voting.confirm_ready

    def confirm(core: Any, tally: Any, bits: int) -> None:
        frozen, core.finality.frozen = core.finality.frozen, False
        confirm_ready(core, tally, bits)
        core.finality.frozen = frozen

    patch.setattr(voting, "confirm_ready", confirm)


def vote_after_freeze(patch: Patch) -> None:
    """Vote after the last word of the epoch [T5]."""
    for name in ("lock_inputs", "lock_together"):
        patch.setattr(locking, name, _unfrozen(vars(locking)[name]))


def _unfrozen(lock: Callable[..., Any]) -> Callable[..., Any]:
    def unfrozen(core: Any, *rest: Any) -> Any:
        frozen, core.finality.frozen = core.finality.frozen, False
        reason = lock(core, *rest)
        core.finality.frozen = frozen
        return reason

    return unfrozen


def promises_kept_back(patch: Patch) -> None:
    """Say after a decision what was promised before it, be it the end of the epoch [T5]."""
    patch.setattr(commit, "say_promises", lambda _: None)


def freeze_list_incomplete(patch: Patch) -> None:
    """Leave a confirmed payment out of the FREEZE [T5]."""
    enter_closing = freezing.enter_closing

    def enter(core: Any) -> Any:
        for tally in core.finality.batches.values():
            tally.own_confirmed &= tally.own_confirmed - 1
        return enter_closing(core)

    patch.setattr(commit, "enter_closing", enter)


def freeze_not_repeated(patch: Patch) -> None:
    """Send the FREEZE once and never again [T10]."""
    said = exchange.height_messages
    patch.setattr(
        exchange,
        "height_messages",
        lambda core: [message for message in said(core) if not isinstance(message, Freeze)],
    )


def frozen_lost_in_crash(patch: Patch) -> None:
    """Come back from a crash without knowing that the last word was said [T5, D2]."""
    patch.setattr(recovery, "is_closing_height", lambda *_: False)


def list_left_out_of_block(patch: Patch) -> None:
    """Close an epoch without one of the payments that its FREEZEs list [T7]."""
    certified, justify = proposing.certified_entries, vars(blocks)["make_justification"]
    ordered = proposing.arrange

    def entries(core: Any) -> list[Any]:
        found = certified(core)
        return found[:-1] if agreement.is_closing(core) else found

    def shorten(freezes: Any, transactions: Any) -> Any:
        there = {verified.txid for verified in transactions}
        kept = [(f, tuple(txid for txid in txids if txid in there)) for f, txids in freezes]
        return justify(kept, transactions)

    def arrange(core: Any, chosen: Any, *, capacity_bytes: int, listed: Any) -> Any:
        there = {entry.verified.txid for entry in chosen}
        for copy in core.height.usable.values():
            copy.txids = tuple(txid for txid in copy.txids if txid in there)
        return ordered(core, chosen, capacity_bytes=capacity_bytes, listed=listed)

    patch.setattr(proposing, "certified_entries", entries)
    patch.setattr(proposing, "arrange", arrange)
    patch.setattr(blocks, "make_justification", shorten)
    patch.setattr(blocks, "check_justification", lambda *_, **__: None)


def one_freeze_is_enough(patch: Patch) -> None:
    """Close an epoch with the FREEZE of one member [T6, T7]."""
    patch.setattr(
        Committee, "weight_of_ids", lambda committee, ids: committee.quorum if list(ids) else 0
    )
    patch.setattr(blocks, "check_justification", lambda *_, **__: None)


def uncertified_in_ordinary_block(patch: Patch) -> None:
    """Put what nobody certified into an ordinary block, and take such blocks [T4]."""
    certified = proposing.certified_entries

    def entries(core: Any) -> list[Any]:
        found = certified(core)
        taken = {o for entry in found for o in entry.verified.transaction.body.inputs}
        for entry in core.pool.waiting():
            inputs = entry.verified.transaction.body.inputs
            if entry.fee is not None and taken.isdisjoint(inputs):
                taken.update(inputs)
                found.append(entry)
        return found

    patch.setattr(proposing, "certified_entries", entries)
    patch.setattr(candidates, "_is_certified", lambda *_: True)


def nothing_uncertified_in_closing_block(patch: Patch) -> None:
    """Leave contested coins to themselves [T6]."""
    patch.setattr(proposing, "_waiting_entries", lambda *_: [])


def dead_payments_kept(patch: Patch) -> None:
    """Keep payments whose coins the chain has spent [T8]."""
    take = Pool.take_included

    def keeping(self: Pool, transactions: Any) -> list[bytes]:
        take(self, transactions)
        return []

    patch.setattr(Pool, "take_included", keeping)
