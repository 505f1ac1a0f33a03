"""The pool of payments that are held and not in the chain: one entry each, strictly bounded [F6].

The limits hold for what this node has not voted for; what it voted for is never evicted, because
others may count on it. All numbers change in one place. The pool knows neither votes nor blocks:
the replica says what happened to a payment.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush, nsmallest
from itertools import chain, count, repeat

from msgspec import Struct

from lockstep.errors import Misuse, Unavailable
from lockstep.primitives.params import POOL_BYTES_MAX, POOL_TRANSACTIONS_MAX
from lockstep.primitives.transaction import VerifiedBatch, VerifiedTransaction

_RATE_SHIFT = 32
_STALE_MIN = 1024

Rank = tuple[int, int, int]
"""(fee rate, minus the number of admission, serial): the least is evicted first, of equals the
youngest. The serial tells an entry's rank of today from the same one before it was voted for."""


class PoolFull(Unavailable):
    """The pool is full of payments that pay more for their bytes."""

    code = "pool.full"
    hint = "pay a higher fee, or submit again when the network has caught up"


class Entry(Struct, gc=False):
    """A held payment.

    Attributes:
        verified: The transaction; its witnesses were found good.
        batch_id, position: Where it was met first, and is voted for [B4].
        fee: In base units, or None while a parent is missing.
        received_ms: When it was met.
        voted: Whether this node voted for it in this epoch. Only the pool may change it.
        waiting: Why it is not voted for: "", "orphan", "conflict", "throttle" or "frozen".
        parents: Payments whose outputs it spends and that were not in the chain when it was met.
        age: Number of its admission. Only the pool may change it.
    """

    verified: VerifiedTransaction
    batch_id: bytes
    position: int
    fee: int | None
    received_ms: int
    voted: bool = False
    waiting: str = ""
    parents: tuple[bytes, ...] = ()
    age: int = 0


def fee_rate(fee: int | None, size_bytes: int) -> int:
    """Return the fee a byte as an integer scaled by 2**32; an orphan's is 0."""
    return 0 if fee is None else (fee << _RATE_SHIFT) // size_bytes


class Pool:
    """All entries, found by txid, by what they spend and by whose outputs they spend.

    Owned by the replica. Most outputs have one spender, which stands in `_spenders`; of those with
    more, all stand in `_contested`. Ranks live in `_ranks`; the heap may hold stale ones, which are
    passed over when met and swept out when they outnumber the rest.
    """

    def __init__(
        self,
        *,
        transactions_max: int = POOL_TRANSACTIONS_MAX,
        bytes_max: int = POOL_BYTES_MAX,
    ) -> None:
        """Make an empty pool with these limits on what is not voted for."""
        self.transactions_max = transactions_max
        self.bytes_max = bytes_max
        self.waiting_count = self.waiting_bytes = 0
        self.voted_count = self.voted_bytes = 0
        self._entries: dict[bytes, Entry] = {}
        self._ranks: dict[bytes, Rank] = {}
        self._heap: list[tuple[Rank, bytes]] = []
        self._spenders: dict[bytes, bytes] = {}
        self._contested: dict[bytes, list[bytes]] = {}
        self._children: dict[bytes, dict[bytes, None]] = {}
        self._admitted = self._ranked = 0

    def __len__(self) -> int:
        """Return the number of entries, voted for or not."""
        return len(self._entries)

    def __contains__(self, txid: object) -> bool:
        """Tell whether this payment is held."""
        return txid in self._entries

    def __iter__(self) -> Iterator[Entry]:
        """Yield all entries, oldest first; the pool must not change meanwhile."""
        return iter(self._entries.values())

    def get(self, txid: bytes) -> Entry | None:
        """Return the entry of this payment, or None."""
        return self._entries.get(txid)

    def get_all(self, txids: Iterable[bytes]) -> list[Entry | None]:
        """Return the entries of these payments in order, None where one is not held."""
        return list(map(self._entries.get, txids))

    def holds_any(self, txids: Iterable[bytes]) -> bool:
        """Tell whether any of these payments is held."""
        return not self._entries.keys().isdisjoint(txids)

    def spenders(self, outpoint: bytes) -> tuple[bytes, ...]:
        """Return the txids of held payments that spend this output, oldest first."""
        if outpoint in self._contested:
            return tuple(self._contested[outpoint])
        spender = self._spenders.get(outpoint)
        return () if spender is None else (spender,)

    def children_of(self, txid: bytes) -> tuple[bytes, ...]:
        """Return the txids of held payments that name this one as a parent, oldest first."""
        return tuple(self._children.get(txid, ()))

    @property
    def has_children(self) -> bool:
        """Tell whether any held payment was met before a parent of it was in the chain."""
        return bool(self._children)

    def admit(self, entry: Entry) -> list[Entry]:
        """Hold a payment and return those that were evicted for it, lowest fee rate first.

        After an admission the limits hold. Where old votes ended with their epoch and left more
        waiting than the limits allow, the first admission evicts the surplus too.

        Raises:
            PoolFull: If there is no room and none of what would have to go pays less for its bytes;
                nothing has changed then.
            Misuse: If it is held already.
        """
        txid = entry.verified.txid
        if txid in self._entries:
            raise Misuse("a payment that is held cannot be admitted again")
        evicted = [] if entry.voted else self._make_room(entry)
        self._admitted = entry.age = self._admitted + 1
        self._entries[txid] = entry
        claim = self._spenders.setdefault
        for outpoint in entry.verified.inputs:
            first = claim(outpoint, txid)
            if first is not txid:
                self._contested.setdefault(outpoint, [first]).append(txid)
        for parent in entry.parents:
            self._children.setdefault(parent, {})[txid] = None
        self._count(entry, 1)
        return evicted

    def is_foreign_to(self, txids: Iterable[bytes], outpoints: Iterable[bytes]) -> bool:
        """Tell whether none of these payments is held, and nothing that spends these outputs."""
        return not self.holds_any(txids) and self._spenders.keys().isdisjoint(outpoints)

    def has_room(self, transactions: int, size_bytes: int) -> bool:
        """Tell whether so many payments and bytes more may wait, and nothing is evicted."""
        return (
            self.waiting_count + transactions <= self.transactions_max
            and self.waiting_bytes + size_bytes <= self.bytes_max
        )

    def admit_together(
        self,
        batch: VerifiedBatch,
        payments: Sequence[VerifiedTransaction],
        fees: Sequence[int],
        spenders: Mapping[bytes, bytes],
        *,
        time_ms: int,
        waiting: str,
    ) -> list[Entry]:
        """Hold all payments of a batch, as voted for if they wait for nothing; return the entries.

        They have no parents; `spenders` is txid by outpoint. The caller has asked `is_foreign_to`,
        and `has_room` for what waits.

        Raises:
            Misuse: If one of them was held, or spends what another held payment does.
        """
        batch_id, age = batch.batch_id, count(self._admitted + 1)
        made = map(
            Entry,
            payments,
            repeat(batch_id),
            count(),
            fees,
            repeat(time_ms),
            repeat(not waiting),
            repeat(waiting),
            repeat(()),
            age,
        )
        entries = list(made)
        held, spent = len(self._entries), len(self._spenders)
        self._entries.update(zip(batch.txids, entries, strict=True))
        self._spenders.update(spenders)
        if len(self._entries) - held < len(entries) or len(self._spenders) - spent < len(spenders):
            raise Misuse("only payments that meet nothing are admitted together")
        self._admitted += len(entries)
        if not waiting:
            self.voted_count += len(entries)
            self.voted_bytes += sum([verified.size_bytes for verified in payments])
            return entries
        for entry in entries:
            self._count(entry, 1)
        return entries

    def take_included(self, transactions: Sequence[VerifiedTransaction]) -> list[bytes]:
        """Stop holding what stands in a block; return the held payments that it has outrun.

        Those are the others that spend an input of any of these.
        """
        inputs = [verified.inputs for verified in transactions]
        spent = list(chain.from_iterable(inputs))
        owners = [v.txid for v, each in zip(transactions, inputs, strict=True) for _ in each]
        if owners != [*map(self._spenders.get, spent)] or not self._contested.keys().isdisjoint(
            spent
        ):
            rivals = self.rivals_of(transactions)
            for verified in transactions:
                self.remove(verified.txid)
            return rivals
        # Nobody else wants a coin of theirs, and all of them are held but a coinbase.
        for outpoint in spent:
            del self._spenders[outpoint]
        take = self._entries.pop
        entries = [e for v in transactions if (e := take(v.txid, None)) is not None]
        voted = [entry.verified.size_bytes for entry in entries if entry.voted]
        self.voted_count -= len(voted)
        self.voted_bytes -= sum(voted)
        for entry in entries if len(voted) < len(entries) else ():
            if not entry.voted:
                self._count(entry, -1)
        for entry in entries if self._children else ():
            self._leave_parents(entry)
        return []

    def remove(self, txid: bytes) -> Entry | None:
        """Stop holding a payment, for whatever reason; return its entry, or None."""
        entry = self._entries.pop(txid, None)
        if entry is None:
            return None
        self._count(entry, -1)
        contested, spenders = self._contested, self._spenders
        for outpoint in entry.verified.inputs:
            if outpoint in contested:
                self._release(outpoint, txid)
            else:
                del spenders[outpoint]
        self._leave_parents(entry)
        return entry

    def rivals_of(self, transactions: Iterable[VerifiedTransaction]) -> list[bytes]:
        """Return the txids of other held payments that spend an input of any of these."""
        rivals: dict[bytes, None] = {}
        for verified in transactions:
            txid = verified.txid
            for outpoint in verified.inputs:
                first = self._spenders.get(outpoint)
                if first is not None and (first != txid or outpoint in self._contested):
                    rivals.update(dict.fromkeys(self.spenders(outpoint)))
                    rivals.pop(txid, None)
        return list(rivals)

    def mark_voted(self, txid: bytes) -> None:
        """Note that this node voted for the payment: from now on it is not evicted [F6].

        Raises:
            Misuse: If it is not held.
        """
        entry = self._held(txid)
        if not entry.voted:
            self._set_voted(entry, voted=True)

    def clear_votes(self) -> None:
        """Count all entries as not voted for: a new epoch began [T8].

        Nothing is evicted here, even above the limits: most are voted for again at once.
        """
        for entry in self._entries.values():
            if entry.voted:
                self._set_voted(entry, voted=False)

    def set_fee(self, txid: bytes, fee: int | None) -> None:
        """Note the fee of a payment whose parents came, or None where one went.

        Raises:
            Misuse: If it is not held.
        """
        entry = self._held(txid)
        if entry.fee == fee:
            return
        self._count(entry, -1)
        entry.fee = fee
        self._count(entry, 1)

    def waiting(self) -> list[Entry]:
        """Return what is not voted for, highest fee rate first, of equals the oldest [F6]."""
        ranks = self._ranks
        return [self._entries[txid] for txid in sorted(ranks, key=ranks.__getitem__, reverse=True)]

    def page(self, cursor: bytes | None, limit: int) -> list[Entry]:
        """Return up to `limit` entries in order of txid, those after `cursor`."""
        after = (txid for txid in self._entries if cursor is None or txid > cursor)
        return [self._entries[txid] for txid in nsmallest(limit, after)]

    def _held(self, txid: bytes) -> Entry:
        entry = self._entries.get(txid)
        if entry is None:
            raise Misuse("the pool does not hold this payment")
        return entry

    def _set_voted(self, entry: Entry, *, voted: bool) -> None:
        self._count(entry, -1)
        entry.voted = voted
        self._count(entry, 1)

    def _leave_parents(self, entry: Entry) -> None:
        """Take an entry off the lists of its parents' children."""
        for parent in entry.parents:
            siblings = self._children[parent]
            del siblings[entry.verified.txid]
            if not siblings:
                del self._children[parent]

    def _release(self, outpoint: bytes, txid: bytes) -> None:
        """Take one of several spenders off an output."""
        rest = self._contested[outpoint]
        rest.remove(txid)
        if len(rest) == 1:
            del self._contested[outpoint]
            self._spenders[outpoint] = rest[0]

    def _count(self, entry: Entry, sign: int) -> None:
        """Add the entry to the numbers and ranks or take it off: the only place that does."""
        size = entry.verified.size_bytes
        txid = entry.verified.txid
        if entry.voted:
            self.voted_count += sign
            self.voted_bytes += sign * size
            return
        self.waiting_count += sign
        self.waiting_bytes += sign * size
        if sign < 0:
            del self._ranks[txid]
            return
        self._ranked += 1
        rank = (fee_rate(entry.fee, size), -entry.age, self._ranked)
        self._ranks[txid] = rank
        heappush(self._heap, (rank, txid))
        if len(self._heap) > 2 * len(self._ranks) + _STALE_MIN:
            self._heap = [(live, owner) for owner, live in self._ranks.items()]
            heapify(self._heap)

    def _make_room(self, entry: Entry) -> list[Entry]:
        """Evict what pays less than `entry` until it fits."""
        size = entry.verified.size_bytes
        count = self.waiting_count + 1 - self.transactions_max
        surplus = self.waiting_bytes + size - self.bytes_max
        rate = fee_rate(entry.fee, size)
        passed: list[tuple[Rank, bytes]] = []
        while count > 0 or surplus > 0:
            lowest = self._pop_lowest(below=rate)
            if lowest is None:
                for ranked in passed:
                    heappush(self._heap, ranked)
                raise PoolFull(f"the pool holds {self.waiting_count} payments that pay as much")
            passed.append(lowest)
            count -= 1
            surplus -= self._entries[lowest[1]].verified.size_bytes
        return [held for _, txid in passed if (held := self.remove(txid)) is not None]

    def _pop_lowest(self, *, below: int) -> tuple[Rank, bytes] | None:
        """Take the lowest live rank off the heap, if its fee rate is below `below`."""
        heap = self._heap
        while heap:
            rank, txid = heap[0]
            if self._ranks.get(txid) != rank:
                heappop(heap)
            elif rank[0] < below:
                return heappop(heap)
            else:
                return None
        return None
