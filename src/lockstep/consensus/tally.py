"""The tally of one batch in one epoch: who set which bits, and what reached a quorum [B4].

Weights are added to whole sets of transactions at once, in bit-sliced counters: plane k is an
integer whose bit i is bit k of the weight of transaction i. Adding a member's weight to 400
transactions and finding those at or above the quorum takes a handful of integer operations, for
any weights.
"""

from collections.abc import Iterable
from typing import Final

from lockstep.primitives.committee import Committee
from lockstep.primitives.votes import Vote, VoteKind

# To look a member of an enum up in its class is a call.
_VOTE: Final = VoteKind.VOTE
_CONFIRM: Final = VoteKind.CONFIRM


class WeightPlanes:
    """Weights of up to some hundred transactions, compared with one threshold at once."""

    __slots__ = ("_full", "_planes", "_threshold")

    def __init__(self, count: int, threshold: int) -> None:
        """Start `count` transactions at weight 0; `threshold` is the quorum they need."""
        self._full = (1 << count) - 1
        self._threshold = threshold
        self._planes: list[int] = []

    def add(self, bits: int, weight: int) -> None:
        """Add `weight` to every transaction in `bits`."""
        planes = self._planes
        place = 0
        while weight:
            if weight & 1:
                carry, k = bits, place
                while carry:
                    if k >= len(planes):
                        planes.extend([0] * (k + 1 - len(planes)))
                    planes[k], carry = planes[k] ^ carry, planes[k] & carry
                    k += 1
            weight >>= 1
            place += 1

    def reached(self) -> int:
        """Return the transactions whose weight is at least the threshold."""
        planes, threshold = self._planes, self._threshold
        above, equal = 0, self._full
        for k in range(max(len(planes), threshold.bit_length()) - 1, -1, -1):
            plane = planes[k] if k < len(planes) else 0
            if threshold >> k & 1:
                equal &= plane
            else:
                above |= equal & plane
                equal &= ~plane
        return above | equal

    def weight_at(self, position: int) -> int:
        """Return the weight of one transaction."""
        return sum((plane >> position & 1) << k for k, plane in enumerate(self._planes))

    def least_weight(self, bits: int) -> int:
        """Return the least weight of any transaction in `bits`."""
        least = 0
        for k in range(len(self._planes) - 1, -1, -1):
            lighter = bits & ~self._planes[k]
            if lighter:
                bits = lighter
            else:
                least |= 1 << k
        return least


class BatchTally:
    """All that is counted and promised about the transactions of one batch in one epoch.

    Bitmaps over the batch; a transaction that stands in several batches is counted in the one where
    this node met it first (its home), and `aliases` leads there from the others.

    Attributes:
        own_voted, own_confirmed: What this node promised.
        own_held: What it voted for since it started: until it is included or dead the pool holds
            this copy of it, its coins checked and locked.
        included, dead: What is in the chain, and what never can be.
        contested: What another held transaction contests a coin of.
    """

    __slots__ = (
        "_messages",
        "_planes",
        "_reached",
        "_seen",
        "alias_bits",
        "aliases",
        "batch_id",
        "contested",
        "dead",
        "included",
        "own_confirmed",
        "own_held",
        "own_voted",
        "txids",
    )

    def __init__(self, batch_id: bytes, txids: tuple[bytes, ...], quorum: int) -> None:
        """Start an empty tally over the batch's transactions."""
        self.batch_id = batch_id
        self.txids = txids
        self.alias_bits = 0
        self.aliases: dict[int, tuple[BatchTally, int]] = {}
        self.own_voted = self.own_held = self.own_confirmed = 0
        self.included = self.dead = self.contested = 0
        self._planes = {kind: WeightPlanes(len(txids), quorum) for kind in VoteKind}
        self._reached = dict.fromkeys(VoteKind, 0)
        self._seen: dict[tuple[VoteKind, int], int] = {}
        self._messages: dict[tuple[VoteKind, int], list[tuple[int, Vote]]] = {}

    @property
    def certified(self) -> int:
        """Return the transactions with Votes of quorum weight [F2]."""
        return self._reached[_VOTE]

    @property
    def final(self) -> int:
        """Return the transactions with Confirms of quorum weight [F4]."""
        return self._reached[_CONFIRM]

    @property
    def uncertified(self) -> int:
        """Return the transactions that may yet be certified."""
        return (1 << len(self.txids)) - 1 & ~(self.certified | self.included | self.dead)

    @property
    def claimed(self) -> int:
        """Return those of them that somebody confirmed, so that a certificate exists [F2]."""
        confirmed = 0
        for (kind, _), bits in self._seen.items():
            if kind is _CONFIRM:
                confirmed |= bits
        return confirmed & self.uncertified

    def count(self, vote: Vote, bits: int, *, member_index: int, weight: int) -> int:
        """Count a member's bits and return what reaches the quorum by them [B4].

        Bits counted before add nothing; a message that adds nothing is not kept.
        """
        kind = vote.kind
        key = (kind, member_index)
        seen = self._seen.get(key, 0)
        fresh = bits & ~seen
        if not fresh:
            return 0
        self._seen[key] = seen | fresh
        self._messages.setdefault(key, []).append((fresh, vote))
        planes = self._planes[kind]
        planes.add(fresh, weight)
        before = self._reached[kind]
        reached = planes.reached() & ~before
        if reached:
            self._reached[kind] = before | reached
        return reached

    def mark_own(self, kind: VoteKind, bits: int) -> None:
        """Note that this node said this kind for these transactions."""
        if kind is _VOTE:
            self.own_voted |= bits
        else:
            self.own_confirmed |= bits

    def may_complete(
        self, kind: VoteKind, voters: Iterable[int | None], committee: Committee
    ) -> bool:
        """Tell whether members may complete a quorum of this kind, with those that spoke before.

        None among their indices is a stranger, who adds nothing.
        """
        full = (1 << len(self.txids)) - 1
        if not full & ~(self._reached[kind] | self.included | self.dead):
            return False
        members = dict.fromkeys([index for said, index in self._seen if said is kind])
        members.update(dict.fromkeys([index for index in voters if index is not None]))
        return sum([committee.members[i].weight for i in members]) >= committee.quorum

    def voters(self) -> list[int]:
        """Return the indices of the members that said anything about this batch."""
        return list(dict.fromkeys(index for _, index in self._seen))

    def messages(self, kind: VoteKind, bits: int) -> list[Vote]:
        """Return the messages of one kind that cover any of these transactions."""
        found: list[Vote] = []
        for (message_kind, _), rows in self._messages.items():
            if message_kind == kind:
                found.extend(vote for fresh, vote in rows if fresh & bits)
        return found

    def all_messages(self) -> list[Vote]:
        """Return every message counted here."""
        return [vote for rows in self._messages.values() for _, vote in rows]

    def messages_of(self, member_index: int) -> list[Vote]:
        """Return the messages of one member counted here."""
        keys = [(kind, member_index) for kind in VoteKind]
        return [vote for key in keys for _, vote in self._messages.get(key, ())]

    def speakers_at(self, position: int) -> list[tuple[VoteKind, int]]:
        """Return who said what of one transaction: kind and index of the member."""
        return [key for key, bits in self._seen.items() if bits >> position & 1]

    def bits_of(self, kind: VoteKind, member_index: int) -> int:
        """Return the transactions that a member has said this kind for."""
        return self._seen.get((kind, member_index), 0)

    def message_of(self, kind: VoteKind, member_index: int, position: int) -> Vote | None:
        """Return the member's message by which it is counted for one transaction, or None."""
        rows = self._messages.get((kind, member_index), ())
        return next((vote for fresh, vote in rows if fresh >> position & 1), None)

    def weight_at(self, kind: VoteKind, position: int) -> int:
        """Return the weight behind one transaction."""
        return self._planes[kind].weight_at(position)

    def least_weight(self, kind: VoteKind, bits: int) -> int:
        """Return the least weight behind any of these transactions."""
        return self._planes[kind].least_weight(bits)

    def members_at(self, kind: VoteKind, position: int, committee: Committee) -> list[bytes]:
        """Return the ids of the members counted for one transaction, in order of index."""
        return [
            committee.members[index].member_id
            for (seen_kind, index), bits in sorted(self._seen.items())
            if seen_kind == kind and bits >> position & 1
        ]
