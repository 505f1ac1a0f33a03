"""Checks on what leaves an honest node: no key of them ever contradicts itself [2.6, N4].

What counts is what was sent, over all lives of a node: whatever it signed and lost in a crash
before it left binds nobody. Votes of masked members are noted and nothing is asked of them: they
count once for a member and value, whatever else it said [B4].
"""

from collections.abc import Mapping

from lockstep.primitives.bitmap import MalformedBitmap, iterate_bits, parse_bitmap
from lockstep.primitives.block import Ballot
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.transaction import Transaction
from lockstep.primitives.votes import Entry, Freeze, Vote, VoteKind, make_freeze_list_digest
from lockstep.replica.effects import BlockDecided, OwnConfirm, OwnVote, Record
from lockstep.sim.violation import Violation


class _Said:
    """What one member said of one kind in one epoch."""

    __slots__ = ("spends", "txids")

    def __init__(self) -> None:
        self.txids: dict[bytes, None] = {}
        self.spends: dict[bytes, bytes] = {}


class PromiseChecker:
    """Every signed word that left a node, by its key."""

    def __init__(
        self,
        transactions: Mapping[bytes, Transaction],
        heights: Mapping[bytes, int],
        closing_every: int,
        masked: Mapping[bytes, None] | None = None,
    ) -> None:
        """Look transactions up by txid, and the chain's heights by txid; `masked` may lie."""
        self.batches: dict[bytes, tuple[bytes, ...]] = {}
        self._transactions = transactions
        self._heights = heights
        self._closing_every = closing_every
        self._masked = masked or {}
        self._ballots: dict[tuple[bytes, int, int, int], Ballot] = {}
        self._proposals: dict[tuple[bytes, int, int], ProposalMessage] = {}
        self._said: dict[tuple[bytes, int, VoteKind], _Said] = {}
        self._freezes: dict[tuple[bytes, int], tuple[Freeze, dict[bytes, None]]] = {}
        self._frozen: dict[bytes, int] = {}
        self._resolved: dict[bytes, tuple[bytes, ...]] = {}

    def on_signed(self, member_id: bytes, record: Record) -> None:
        """Check that a node that froze signs no Vote or Confirm of that epoch any more [T5]."""
        match record:
            case BlockDecided(freeze=Freeze(epoch=epoch)):
                self._frozen[member_id] = epoch
            case OwnVote(vote=vote) | OwnConfirm(confirm=vote):
                key = (vote.voter, vote.epoch)
                if key in self._freezes or self._frozen.get(member_id) == vote.epoch:
                    name = f"a {vote.kind.name.lower()} of epoch {vote.epoch}"
                    raise Violation("frozen", f"{member_id.hex()[:8]} signed {name} when frozen")
            case _:
                pass

    def on_recovered(self, member_id: bytes) -> None:
        """Forget what a crash may have undone: a FREEZE that never left its node binds nobody."""
        self._frozen.pop(member_id, None)

    def on_sent(self, member_id: bytes, message: Message) -> None:
        """Check a message that leaves the node of this member; words of others pass."""
        match message:
            case Vote() if message.voter == member_id:
                self._on_vote(message)
            case Freeze() if message.voter == member_id:
                self._on_freeze(message)
            case Ballot() if message.voter == member_id:
                self._on_ballot(message)
            case ProposalMessage() if message.proposal.proposer == member_id:
                self._on_proposal(message)
            case _:
                pass

    def txids_of(self, vote: Vote) -> tuple[bytes, ...]:
        """Return the transactions a Vote or Confirm is for."""
        found = self._resolved.get(vote.signature)
        if found is None:
            read = self._readable if vote.voter in self._masked else self._txids
            found = self._resolved[vote.signature] = tuple(read(vote.entries))
        return found

    def on_masked_vote(self, vote: Vote) -> bool:
        """Note what a masked member votes for; tell whether it contradicts what it said before.

        It may vote for payments that liars made up; those spend no coin that is.
        """
        said = self._said.setdefault((vote.voter, vote.epoch, vote.kind), _Said())
        contradicts = False
        for txid in self.txids_of(vote):
            said.txids[txid] = None
            payment = self._transactions.get(txid)
            for outpoint in () if payment is None else payment.body.inputs:
                contradicts |= said.spends.setdefault(outpoint, txid) != txid
        return contradicts

    def has_said(self, member_id: bytes, epoch: int, kind: VoteKind, txid: bytes) -> bool:
        """Tell whether this word of a member ever left its node."""
        said = self._said.get((member_id, epoch, kind))
        return said is not None and txid in said.txids

    def _txids(self, entries: tuple[Entry, ...]) -> dict[bytes, None]:
        found: dict[bytes, None] = {}
        for entry in entries:
            txids = self.batches[entry.batch_id]
            for position in iterate_bits(parse_bitmap(entry.bitmap, len(txids))):
                found[txids[position]] = None
        return found

    def _readable(self, entries: tuple[Entry, ...]) -> dict[bytes, None]:
        """Return what entries of a liar are for, those left out that fit no batch."""
        found: dict[bytes, None] = {}
        for entry in entries:
            txids = self.batches.get(entry.batch_id, ())
            try:
                bits = parse_bitmap(entry.bitmap, len(txids))
            except MalformedBitmap:
                continue
            found.update((txids[position], None) for position in iterate_bits(bits))
        return found

    def _on_vote(self, vote: Vote) -> None:
        said = self._said.setdefault((vote.voter, vote.epoch, vote.kind), _Said())
        freeze = self._freezes.get((vote.voter, vote.epoch))
        for txid in self.txids_of(vote):
            if txid in said.txids:
                continue
            name = vote.kind.name.lower()
            is_unlisted = freeze is not None and txid not in freeze[1]
            is_confirm = vote.kind is VoteKind.CONFIRM
            if is_confirm and is_unlisted and not self._is_below(txid, vote.epoch):
                sentence = f"a Confirm for {txid.hex()[:16]}, which its FREEZE lacks, left after it"
                raise Violation("FREEZE list", sentence)
            said.txids[txid] = None
            for outpoint in self._transactions[txid].body.inputs:
                other = said.spends.setdefault(outpoint, txid)
                if other != txid:
                    raise Violation(
                        "one promise",
                        f"member {vote.voter.hex()[:8]} said {name} for {txid.hex()[:16]} and "
                        f"{other.hex()[:16]}, which spend one coin, in epoch {vote.epoch}",
                    )

    def _on_freeze(self, freeze: Freeze) -> None:
        key = (freeze.voter, freeze.epoch)
        place = f"member {freeze.voter.hex()[:8]} in epoch {freeze.epoch}"
        held = self._freezes.get(key)
        if held is not None:
            if held[0] != freeze:
                raise Violation("one FREEZE", f"{place} sent two that differ")
            return
        listed = self._txids(freeze.entries)
        self._freezes[key] = (freeze, listed)
        if make_freeze_list_digest(listed) != freeze.digest:
            raise Violation("FREEZE list", f"{place} signed another list than it sent")
        confirmed = self._said.get((freeze.voter, freeze.epoch, VoteKind.CONFIRM), _Said()).txids
        for txid in confirmed:
            if txid not in listed and not self._is_below(txid, freeze.epoch):
                raise Violation("FREEZE list", f"{place} left out {txid.hex()[:16]}, which it said")

    def _is_below(self, txid: bytes, epoch: int) -> bool:
        """Tell whether a payment is in the chain below the closing height, so in no list [T5]."""
        closing_height = (epoch + 1) * self._closing_every
        return self._heights.get(txid, closing_height) < closing_height

    def _on_ballot(self, ballot: Ballot) -> None:
        key = (ballot.voter, ballot.height, ballot.round, int(ballot.kind))
        other = self._ballots.setdefault(key, ballot)
        if other != ballot:
            what = "another value" if other.block_id != ballot.block_id else "another time"
            raise Violation(
                "one signature",
                f"member {ballot.voter.hex()[:8]} sent a second {ballot.kind.name.lower()} with "
                f"{what} at height {ballot.height}, round {ballot.round}",
            )

    def _on_proposal(self, message: ProposalMessage) -> None:
        proposal = message.proposal
        key = (proposal.proposer, proposal.height, proposal.round)
        other = self._proposals.setdefault(key, message)
        if other.proposal != proposal:
            raise Violation(
                "one signature",
                f"member {proposal.proposer.hex()[:8]} proposed twice at height "
                f"{proposal.height}, round {proposal.round}",
            )
