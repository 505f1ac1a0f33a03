"""The fast path's state in one epoch: tallies, locks and what was confirmed [F1-F4, B3, B4].

This module counts and promises; whether a transaction is valid is not known here. Nothing is ever
withdrawn within an epoch, and the whole object is dropped with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from lockstep.consensus.rivals import Conflict, Rivals
from lockstep.consensus.tally import BatchTally
from lockstep.errors import Misuse
from lockstep.primitives.bitmap import MalformedBitmap, collect_bits, iterate_bits, parse_bitmap
from lockstep.primitives.committee import Committee
from lockstep.primitives.params import UNKNOWN_ENTRIES_MAX
from lockstep.primitives.votes import Vote, VoteKind

_VOTE: Final = VoteKind.VOTE
_CONFIRM: Final = VoteKind.CONFIRM
_POSITION_BITS: Final = 16
_POSITION_MASK: Final = (1 << _POSITION_BITS) - 1


class _Named(NamedTuple):
    """An entry of a member for a batch that is not held."""

    member_index: int
    kind: VoteKind
    bitmap: bytes


class Reached(NamedTuple):
    """Transactions of one batch that have just reached the quorum of one kind."""

    tally: BatchTally
    kind: VoteKind
    bits: int


class Progress(NamedTuple):
    """What counting brought: quorums reached, and batches named that are not held.

    `malformed` are the batches whose entries do not fit them; such an entry counts for nothing.
    `claimed` are the batches where a Confirm says that its sender holds a certificate which is not
    held here [F2]. `conflicts` are members that spoke for two payments which share an input [N4].
    """

    reached: list[Reached]
    unknown: list[bytes]
    malformed: list[bytes]
    claimed: list[bytes]
    conflicts: list[Conflict]


class TransactionFinality:
    """All Votes, Confirms, locks and promises of one epoch.

    Attributes:
        batches: Tally of each batch held, by batch id.
        frozen: Whether this node has said its last word in the epoch [T5].
        missed: Batches whose votes were dropped for want of room, to be asked for again [B3].
    """

    def __init__(self, epoch: int, committee: Committee) -> None:
        """Begin the epoch with nothing counted."""
        self.epoch = epoch
        self.committee = committee
        self.frozen = False
        self.batches: dict[bytes, BatchTally] = {}
        self.missed: dict[bytes, None] = {}
        self._rivals = Rivals()
        # Where a payment is counted, as one integer: the number of its batch, then its position.
        self._home: dict[bytes, int] = {}
        self._tallies: list[BatchTally] = []
        self._locks: dict[bytes, bytes] = {}
        # By outpoint, where it does not follow from the lock and what was said for its holder.
        self._confirmed: dict[bytes, bytes] = {}
        # Entries for batches not held: by batch for counting, by voter for the bound.
        self._named: dict[bytes, dict[_Named, Vote]] = {}
        self._said: dict[int, dict[tuple[bytes, _Named], None]] = {}
        self._certified: dict[bytes, BatchTally] = {}

    def indices(self) -> list[dict[Any, Any]]:
        """Return all that grows with the epoch, for who frees it piece by piece when it is over."""
        return [self._home, self._locks, self._confirmed, self._named, self._certified]

    def home_of(self, txid: bytes) -> tuple[BatchTally, int] | None:
        """Return the tally and position in which this transaction is counted."""
        home = self._home.get(txid)
        if home is None:
            return None
        return self._tallies[home >> _POSITION_BITS], home & _POSITION_MASK

    def place_of(self, txid: bytes) -> tuple[BatchTally, int]:
        """Return the same for a transaction of a batch that is held.

        Raises:
            Misuse: If no batch with it is held.
        """
        home = self.home_of(txid)
        if home is None:
            raise Misuse("no batch that is held has this transaction")
        return home

    def mark_own(
        self, kind: VoteKind, batch_id: bytes, bits: int, *, is_held: bool = False
    ) -> None:
        """Note that this node said this kind for these payments of a batch, wherever counted.

        With `is_held` the pool holds this copy of them as voted for.
        """
        tally = self.batches[batch_id]
        aliased = bits & tally.alias_bits
        tally.mark_own(kind, bits & ~aliased)
        if is_held:
            tally.own_held |= bits & ~aliased
        for position in iterate_bits(aliased) if aliased else ():
            home, place = tally.aliases[position]
            home.mark_own(kind, 1 << place)

    def is_certified(self, txid: bytes) -> bool:
        """Tell whether the transaction has a certificate in this epoch [F2]."""
        home = self.home_of(txid)
        return home is not None and bool(home[0].certified >> home[1] & 1)

    def is_final(self, txid: bytes) -> bool:
        """Tell whether the transaction has Confirms of quorum weight [F4]."""
        home = self.home_of(txid)
        return home is not None and bool(home[0].final >> home[1] & 1)

    def add_batch(
        self,
        batch_id: bytes,
        txids: tuple[bytes, ...],
        inputs: Iterable[Iterable[bytes]] = (),
        spenders: Mapping[bytes, bytes] | None = None,
    ) -> Progress:
        """Open the tally of a batch and count the votes that came before it [B3, B4].

        `inputs` are the outpoints that each transaction spends; who speaks for two rivals among
        those of which they are given is found [N4]. `spenders` says the same as txid by outpoint,
        where it is known that no coin is spent twice.
        """
        progress = Progress([], [], [], [], [])
        if batch_id in self.batches:
            return progress
        tally = BatchTally(batch_id, txids, self.committee.quorum)
        self.batches[batch_id] = tally
        self._give_homes(tally)
        if spenders is None or not self._rivals.add_alone(spenders):
            for pair in self._rivals.add(txids, inputs):
                self._watch(pair, progress)
        for named, vote in sorted(self._named.get(batch_id, {}).items(), key=_member_index):
            self._drop_unknown(batch_id, named)
            self._count_entry(tally, vote, named.bitmap, named.member_index, progress)
        return progress

    def count(self, vote: Vote) -> Progress:
        """Count a Vote or Confirm of a member, its signature checked [B4].

        Each entry is judged by itself, because its batch may have come before it or come after.

        Raises:
            Misuse: If the vote is of another epoch or a stranger.
        """
        index = self.committee.index_of(vote.voter)
        if index is None or vote.epoch != self.epoch:
            raise Misuse("only votes of this epoch's members are counted")
        progress = Progress([], [], [], [], [])
        for entry in vote.entries:
            tally = self.batches.get(entry.batch_id)
            if tally is not None:
                self._count_entry(tally, vote, entry.bitmap, index, progress)
            else:
                self._keep_unknown(index, entry.batch_id, entry.bitmap, vote)
                progress.unknown.append(entry.batch_id)
        return progress

    def may_complete(self, kind: VoteKind, batch_id: bytes, voters: Iterable[bytes]) -> bool:
        """Tell whether words of these members may complete a quorum for payments of a batch.

        No is certain, whatever the words name; yes is not.
        """
        tally = self.batches.get(batch_id)
        if tally is None or tally.alias_bits:
            return True
        return tally.may_complete(kind, map(self.committee.index_of, voters), self.committee)

    def has_certified_waiting(self) -> bool:
        """Tell whether a certified transaction is neither in the chain nor dead.

        Asked at every step, so batches that are done with are looked at once and never again.
        """
        while self._certified:
            batch_id, tally = next(iter(self._certified.items()))
            if tally.certified & ~(tally.included | tally.dead):
                return True
            del self._certified[batch_id]
        return False

    def holder_of(self, outpoint: bytes) -> bytes | None:
        """Return the txid this node locked the outpoint for in this epoch, or None [F1]."""
        return self._locks.get(outpoint)

    def lock(self, txid: bytes, outpoints: Sequence[bytes]) -> bool:
        """Lock all outpoints for the transaction, or none where another holds one [F1]."""
        locks = self._locks
        for outpoint in outpoints:
            if locks.get(outpoint, txid) != txid:
                return False
        for outpoint in outpoints:
            locks[outpoint] = txid
        return True

    def are_free(self, outpoints: Iterable[bytes]) -> bool:
        """Tell whether none of the outpoints is locked in this epoch."""
        return self._locks.keys().isdisjoint(outpoints)

    def lock_all(self, spenders: Mapping[bytes, bytes]) -> bool:
        """Lock outpoints, each for its txid, or none where one is locked already [F1]."""
        if not self.are_free(spenders):
            return False
        self._locks.update(spenders)
        return True

    def confirmed_rival(self, txid: bytes, outpoints: Iterable[bytes]) -> bytes | None:
        """Return another txid this node confirmed on any of the outpoints, or None [F3].

        One that it voted for has its inputs locked, so that its own bit says whether it was.
        """
        for outpoint in outpoints:
            rival = self._confirmed.get(outpoint) or self._confirmed_holder(outpoint)
            if rival is not None and rival != txid:
                return rival
        return None

    def confirm(self, txid: bytes, outpoints: Sequence[bytes]) -> bool:
        """Record that this node confirms the transaction; False where it did a rival [F3]."""
        if self.confirmed_rival(txid, outpoints) is not None:
            return False
        for outpoint in outpoints:
            self._confirmed[outpoint] = txid
        return True

    def is_named(self, batch_id: bytes) -> bool:
        """Tell whether kept votes name this batch, which is not held."""
        return batch_id in self._named

    def namers(self, batch_id: bytes) -> list[bytes]:
        """Return the members whose kept votes name a batch that is not held."""
        indices = {named.member_index: None for named in self._named.get(batch_id, ())}
        return [self.committee.members[index].member_id for index in sorted(indices)]

    def backing(self, batch_id: bytes) -> int:
        """Return the weight of the members that spoke for anything in a batch, held or not."""
        tally = self.batches.get(batch_id)
        if tally is None:
            return self.committee.weight_of_ids(self.namers(batch_id))
        return sum(self.committee.members[index].weight for index in tally.voters())

    def unknown_batches(self) -> list[tuple[bytes, list[bytes]]]:
        """Return the batches that are not held and the members whose kept votes name them."""
        return [(batch_id, self.namers(batch_id)) for batch_id in self._named]

    def messages_of(self, voter: bytes) -> list[Vote]:
        """Return the Votes and Confirms held of one member, those on unknown batches included."""
        index = self.committee.index_of(voter)
        if index is None:
            return []
        found = {v.signature: v for t in self.batches.values() for v in t.messages_of(index)}
        for batch_id, named in self._said.get(index, ()):
            vote = self._named[batch_id][named]
            found[vote.signature] = vote
        return list(found.values())

    def mark_included(self, txids: tuple[bytes, ...]) -> None:
        """Note that these payments are in the chain now [T8]."""
        for batch_id, bits in self.bits_of(txids).items():
            self.batches[batch_id].included |= bits

    def bits_of(self, txids: tuple[bytes, ...]) -> dict[bytes, int]:
        """Return where these payments are counted, those that are held: bits by batch id, in order.

        In a block most stand as they do in their batch, which is then found as a whole.
        """
        found: dict[bytes, int] = {}
        scattered: dict[bytes, list[int]] = {}
        place = 0
        while place < len(txids):
            home = self._home.get(txids[place])
            count = 1
            if home is not None:
                tally, position = self._tallies[home >> _POSITION_BITS], home & _POSITION_MASK
                after = place + len(tally.txids)
                if not position and not tally.alias_bits and txids[place:after] == tally.txids:
                    count = len(tally.txids)
                    found[tally.batch_id] = (1 << count) - 1
                else:
                    found.setdefault(tally.batch_id, 0)
                    scattered.setdefault(tally.batch_id, []).append(position)
            place += count
        for batch_id, positions in scattered.items():
            found[batch_id] |= collect_bits(positions)
        return found

    def _confirmed_holder(self, outpoint: bytes) -> bytes | None:
        """Return the payment that an outpoint is locked for, if this node confirmed it."""
        holder = self._locks.get(outpoint)
        home = None if holder is None else self.home_of(holder)
        return holder if home is not None and home[0].own_confirmed >> home[1] & 1 else None

    def _give_homes(self, tally: BatchTally) -> None:
        """Let the batch be the home of those of its payments that have none yet [B4]."""
        first = len(self._tallies) << _POSITION_BITS
        self._tallies.append(tally)
        homes = dict(zip(tally.txids, range(first, first + len(tally.txids)), strict=True))
        if len(homes) == len(tally.txids) and self._home.keys().isdisjoint(homes):
            self._home.update(homes)
            return
        for position, txid in enumerate(tally.txids):
            home = self._home.setdefault(txid, first + position)
            if home != first + position:
                tally.aliases[position] = self.place_of(txid)
                tally.alias_bits |= 1 << position

    def _count_entry(
        self, tally: BatchTally, vote: Vote, bitmap: bytes, index: int, progress: Progress
    ) -> None:
        try:
            bits = parse_bitmap(bitmap, len(tally.txids))
        except MalformedBitmap:
            progress.malformed.append(tally.batch_id)
            return
        weight = self.committee.members[index].weight
        aliased = bits & tally.alias_bits
        own = bits & ~aliased
        reached = tally.count(vote, own, member_index=index, weight=weight) if own else 0
        if reached:
            self._note_reached(Reached(tally, vote.kind, reached), progress)
        if own & tally.contested:
            self._speak(tally, own & tally.contested, vote.kind, index, progress)
        is_claim = vote.kind is _CONFIRM
        if is_claim and own & tally.uncertified:
            progress.claimed.append(tally.batch_id)
        for position in iterate_bits(aliased) if aliased else ():
            home, place = tally.aliases[position]
            reached = home.count(vote, 1 << place, member_index=index, weight=weight)
            if reached:
                self._note_reached(Reached(home, vote.kind, reached), progress)
            if home.contested >> place & 1:
                self._speak(home, 1 << place, vote.kind, index, progress)
            if is_claim and home.uncertified >> place & 1:
                progress.claimed.append(home.batch_id)

    def _watch(self, rivals: Iterable[bytes], progress: Progress) -> None:
        """Mark payments whose coins are contested now, and see who has spoken for them."""
        for txid in rivals:
            home, place = self.place_of(txid)
            home.contested |= 1 << place
            for kind, index in home.speakers_at(place):
                self._speak(home, 1 << place, kind, index, progress)

    def _speak(
        self, tally: BatchTally, bits: int, kind: VoteKind, index: int, progress: Progress
    ) -> None:
        """Hold a member's bits of contested payments against those it set before [N4]."""
        for position in iterate_bits(bits):
            conflict = self._rivals.speak(kind, index, tally.txids[position])
            if conflict is not None:
                progress.conflicts.append(conflict)

    def _note_reached(self, reached: Reached, progress: Progress) -> None:
        progress.reached.append(reached)
        if reached.kind is _VOTE:
            self._certified[reached.tally.batch_id] = reached.tally

    def _keep_unknown(self, index: int, batch_id: bytes, bitmap: bytes, vote: Vote) -> None:
        named = _Named(index, vote.kind, bitmap)
        self._named.setdefault(batch_id, {})[named] = vote
        said = self._said.setdefault(index, {})
        said[batch_id, named] = None
        if len(said) > UNKNOWN_ENTRIES_MAX:
            oldest, entry = next(iter(said))
            self._drop_unknown(oldest, entry)
            self.missed[oldest] = None
            if len(self.missed) > UNKNOWN_ENTRIES_MAX:
                del self.missed[next(iter(self.missed))]

    def _drop_unknown(self, batch_id: bytes, named: _Named) -> None:
        entries = self._named[batch_id]
        del entries[named]
        if not entries:
            del self._named[batch_id]
        del self._said[named.member_index][batch_id, named]


def _member_index(kept: tuple[_Named, Vote]) -> int:
    return kept[0].member_index
