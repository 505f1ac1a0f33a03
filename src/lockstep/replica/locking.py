"""Which payments this node may vote for now, and the locks that it takes for them [F1, F6]."""

from collections.abc import Mapping

from lockstep.ledger.coins import Coin
from lockstep.mempool.pool import Entry
from lockstep.primitives.params import VOTED_BYTES_MAX
from lockstep.replica.core import Core


def lock_inputs(core: Core, entry: Entry, coins: Mapping[bytes, Coin | None]) -> str:
    """Lock the entry's inputs for it, or return what it waits for [F1, F6].

    `coins` has those of its inputs, None where the chain has none.
    """
    if core.finality.frozen:
        return "frozen"
    if not has_inputs(core, entry, coins):
        return "orphan"
    if core.pool.voted_bytes + entry.verified.size_bytes > VOTED_BYTES_MAX:
        return "throttle"
    if not core.finality.lock(entry.verified.txid, entry.verified.inputs):
        return "conflict"
    return ""


def lock_together(core: Core, spenders: Mapping[bytes, bytes], size_bytes: int) -> str | None:
    """Lock free coins of the chain for payments of so many bytes, or return what they wait for.

    `spenders` is txid by outpoint. None where it is not the same for all of them [F1, F6].
    """
    finality, pool = core.finality, core.pool
    if finality.frozen:
        may_wait = pool.has_room(len(spenders), size_bytes) and finality.are_free(spenders)
        return "frozen" if may_wait else None
    if pool.voted_bytes + size_bytes <= VOTED_BYTES_MAX and finality.lock_all(spenders):
        return ""
    return None


def has_inputs(core: Core, entry: Entry, coins: Mapping[bytes, Coin | None]) -> bool:
    """Tell whether every input is a coin of the chain or of a certified, held payment [F1]."""
    for outpoint in entry.verified.inputs:
        if coins.get(outpoint) is None:
            parent = outpoint[:32]
            if parent not in core.pool or not core.finality.is_certified(parent):
                return False
    return entry.fee is not None
