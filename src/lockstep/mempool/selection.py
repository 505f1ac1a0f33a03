"""What goes into a block, in which order: parents before children, the best payers first [T2, T6].

Selection is a proposer's choice and never part of validity.
"""

from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush

from lockstep.mempool.pool import Entry, fee_rate
from lockstep.primitives.params import WAITING_SHARE

Available = Callable[[bytes], bool]
"""Tells whether outputs with this txid are of the chain below: a block's, or the genesis coins."""


def select_in_order(
    entries: Sequence[Entry], *, capacity_bytes: int, available: Available
) -> list[Entry]:
    """Take entries by fee rate, of equals in the order given, parents before children.

    An entry is passed over when it does not fit any more, spends what a taken one spends, or has a
    parent that is neither `available` nor taken.
    """
    selection = _Selection(capacity_bytes=capacity_bytes, available=available)
    selection.take(entries, limit_bytes=capacity_bytes, rank=_by_fee_rate)
    return selection.taken


def select_closing(
    *,
    listed: Sequence[Entry],
    certified: Sequence[Entry],
    waiting: Sequence[Entry],
    capacity_bytes: int,
    available: Available,
) -> list[Entry]:
    """Take what a closing block holds, in topological order [T6].

    First `listed`, the union of J's lists with ancestors: whoever proposes checks that all of it
    was taken. Then other `certified` ones by fee rate. Then `waiting` ones in the order given,
    oldest first, as far as an eighth of the capacity and skipping what conflicts.
    """
    selection = _Selection(capacity_bytes=capacity_bytes, available=available)
    selection.take(listed, limit_bytes=capacity_bytes, rank=_by_fee_rate)
    selection.take(certified, limit_bytes=capacity_bytes, rank=_by_fee_rate)
    share = capacity_bytes // WAITING_SHARE
    selection.take(waiting, limit_bytes=share, rank=_by_order_given)
    return selection.taken


def _by_fee_rate(entry: Entry) -> int:
    return -fee_rate(entry.fee, entry.verified.size_bytes)


def _by_order_given(_: Entry) -> int:
    return 0


class _Selection:
    """What was taken so far, and what that leaves room for."""

    def __init__(self, *, capacity_bytes: int, available: Available) -> None:
        self.taken: list[Entry] = []
        self._free_bytes = capacity_bytes
        self._available = available
        self._txids: dict[bytes, None] = {}
        self._spent: dict[bytes, None] = {}

    def take(
        self, entries: Sequence[Entry], *, limit_bytes: int, rank: Callable[[Entry], int]
    ) -> None:
        """Take what fits into `limit_bytes` and is compatible, lowest rank first."""
        limit = min(limit_bytes, self._free_bytes)
        places = {entry.verified.txid: place for place, entry in enumerate(entries)}
        children: dict[bytes, list[int]] = {}
        missing = [0] * len(entries)
        ready: list[tuple[int, int]] = []
        for place, entry in enumerate(entries):
            for parent in self._parents(entry):
                missing[place] += 1
                if parent in places:
                    children.setdefault(parent, []).append(place)
            if not missing[place]:
                ready.append((rank(entry), place))
        heapify(ready)
        while ready:
            entry = entries[heappop(ready)[1]]
            size = entry.verified.size_bytes
            if size > limit or not self._is_compatible(entry):
                continue
            limit -= size
            self._add(entry)
            for place in children.get(entry.verified.txid, ()):
                missing[place] -= 1
                if not missing[place]:
                    heappush(ready, (rank(entries[place]), place))

    def _parents(self, entry: Entry) -> Iterable[bytes]:
        """Return the txids of the parents that are not taken and not in the chain, each once."""
        inputs = entry.verified.transaction.body.inputs
        parents = dict.fromkeys(outpoint[:32] for outpoint in inputs)
        return [p for p in parents if p not in self._txids and not self._available(p)]

    def _is_compatible(self, entry: Entry) -> bool:
        inputs = entry.verified.transaction.body.inputs
        return entry.verified.txid not in self._txids and not any(o in self._spent for o in inputs)

    def _add(self, entry: Entry) -> None:
        self.taken.append(entry)
        self._free_bytes -= entry.verified.size_bytes
        self._txids[entry.verified.txid] = None
        self._spent.update(dict.fromkeys(entry.verified.transaction.body.inputs))
