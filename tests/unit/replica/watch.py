"""What no node may ever do, looked at in every step of every test of the replica.

A message leaves only in a stage after its record [F5, D1]; nothing is called final without a quorum
of Confirms that the journal holds [F4]; no key says two things that contradict each other, over all
lives of a node [D2].
"""

from collections.abc import Iterator, Sequence

from lockstep.primitives.bitmap import MalformedBitmap, iterate_bits, parse_bitmap
from lockstep.primitives.block import Ballot
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.primitives.votes import Freeze, Vote, VoteKind, make_freeze_list_digest
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    BlockDecided,
    Broadcast,
    Effect,
    Notify,
    OwnConfirm,
    OwnFreeze,
    OwnVote,
    Persist,
    QuorumConfirmed,
    Record,
    RoundSigned,
    Send,
    TransactionsFinal,
)


def promises(record: Record, watch: "Watch") -> Iterator[tuple[tuple[object, ...], object]]:
    """Yield (what may be said only once, what was said) of a record, over all lives of a node.

    One txid for an outpoint, kind and epoch [F1, F3]; one FREEZE an epoch [T5]; one proposal and
    one ballot a height, round and kind, byte for byte [T1].
    """
    match record:
        case OwnVote(vote=vote) | OwnConfirm(confirm=vote):
            for txid in watch.txids_of(vote):
                for outpoint in watch.inputs[txid]:
                    yield ("spent by", vote.voter, vote.epoch, vote.kind, outpoint), txid
        case RoundSigned(proposal=proposal, ballot=ballot):
            if proposal is not None:
                place = (proposal.proposer, proposal.height, proposal.round, "proposal")
                yield place, proposal
            if ballot is not None:
                yield (ballot.voter, ballot.height, ballot.round, ballot.kind), ballot
        case BlockDecided(freeze=Freeze() as freeze) | OwnFreeze(freeze=freeze):
            yield (freeze.voter, freeze.epoch), freeze
        case _:
            pass


def check_words(record: Record, said: dict[tuple[object, ...], object], watch: "Watch") -> None:
    """Hold a record against all that its member said before, and add what it says.

    A Vote or Confirm never follows the FREEZE, and the FREEZE lists all that was confirmed and is
    not in the chain below [T5].
    """
    if isinstance(record, OwnVote | OwnConfirm):
        vote = record.vote if isinstance(record, OwnVote) else record.confirm
        assert (vote.voter, vote.epoch) not in said, "a word after the FREEZE"
    for place, word in promises(record, watch):
        assert said.setdefault(place, word) == word, place
    if isinstance(record, BlockDecided | OwnFreeze) and record.freeze is not None:
        freeze = record.freeze
        below = (freeze.epoch + 1) * watch.genesis.closing_every - 1
        words = Vote(VoteKind.CONFIRM, freeze.epoch, freeze.voter, freeze.entries, b"")
        listed = watch.txids_of(words)
        for place, txid in said.items():
            if place[:4] == ("spent by", freeze.voter, freeze.epoch, VoteKind.CONFIRM):
                assert isinstance(txid, bytes)
                assert txid in listed or watch.included.get(txid, below + 1) <= below
        assert make_freeze_list_digest(listed) == freeze.digest


class Watch:
    """Sees the effects of all nodes of a cluster, crashes or not.

    Attributes:
        durable: Signatures that each member's journal ever held.
        said: What each member signed, by what may be signed only once.
        final: Txids that any node called final by Confirms, by epoch.
        decided: Block id by height.
        alarms: All alarms raised.
    """

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.durable: dict[bytes, set[bytes]] = {}
        self.said: dict[tuple[object, ...], object] = {}
        self.final: dict[bytes, int] = {}
        self.decided: dict[int, bytes] = {}
        self.included: dict[bytes, int] = {}
        self.alarms: list[Alarm] = []
        self.inputs: dict[bytes, tuple[bytes, ...]] = {}
        self.batches: dict[bytes, tuple[bytes, ...]] = {}
        self._heights: dict[bytes, set[int]] = {}
        self._backed: dict[tuple[bytes, VoteKind, int, bytes], dict[bytes, None]] = {}

    def learn(self, batch: VerifiedBatch) -> None:
        """Take note of a batch, so that votes on it can be read."""
        self.batches[batch.batch_id] = batch.txids
        for verified in batch.transactions:
            if verified is not None:
                self.inputs[verified.txid] = verified.transaction.body.inputs

    def see(self, member_id: bytes, effects: Sequence[Effect]) -> None:
        """Look at one step of a member's replica."""
        stages = [effect.stage for effect in effects]
        assert stages == sorted(stages)
        for effect in effects:
            match effect:
                case Persist(record=record):
                    self._on_record(member_id, record)
                case Broadcast(message=message) | Send(message=message):
                    self._on_message(member_id, message)
                case Notify(notice=TransactionsFinal() as notice):
                    self._on_final(member_id, notice)
                case Notify(notice=BlockAdded(height=height)):
                    assert height in self._heights[member_id]
                case Notify(notice=Alarm() as alarm):
                    self.alarms.append(alarm)
                case _:
                    pass

    def txids_of(self, vote: Vote) -> list[bytes]:
        """Return what a vote is for, as far as its batches are known here and its entries fit."""
        found: list[bytes] = []
        for entry in vote.entries:
            txids = self.batches.get(entry.batch_id, ())
            try:
                found += [txids[i] for i in iterate_bits(parse_bitmap(entry.bitmap, len(txids)))]
            except MalformedBitmap:
                continue
        return found

    def _on_record(self, member_id: bytes, record: Record) -> None:
        durable = self.durable.setdefault(member_id, set())
        if isinstance(record, BlockDecided):
            self._on_decided(member_id, record)
        check_words(record, self.said, self)
        match record:
            case OwnVote(vote=vote):
                self._keep(member_id, [vote])
            case OwnConfirm(confirm=confirm, certificate=certificate):
                self._keep(member_id, [confirm, *certificate])
                for txid in self.txids_of(confirm):
                    self._check_quorum(member_id, VoteKind.VOTE, confirm.epoch, txid)
            case QuorumConfirmed(confirms=confirms):
                self._keep(member_id, confirms)
            case RoundSigned(proposal=proposal, ballot=ballot):
                signed = (proposal, ballot)
                durable.update(word.signature for word in signed if word is not None)
            case BlockDecided(freeze=Freeze() as freeze) | OwnFreeze(freeze=freeze):
                durable.add(freeze.signature)
            case _:
                pass

    def _keep(self, member_id: bytes, votes: Sequence[Vote]) -> None:
        for vote in votes:
            self.durable[member_id].add(vote.signature)
            for txid in self.txids_of(vote):
                key = (member_id, vote.kind, vote.epoch, txid)
                self._backed.setdefault(key, {})[vote.voter] = None

    def _check_quorum(self, member_id: bytes, kind: VoteKind, epoch: int, txid: bytes) -> None:
        """Ask for messages of quorum weight in the journal of this member [F2, F4, 2.6]."""
        committee = self.genesis.committee
        voters = self._backed.get((member_id, kind, epoch, txid), {})
        assert committee.weight_of_ids(voters) >= committee.quorum

    def _on_decided(self, member_id: bytes, record: BlockDecided) -> None:
        height, block_id = record.delta.height, record.decided.certificate.block_id
        assert self.decided.setdefault(height, block_id) == block_id
        self._heights.setdefault(member_id, set()).add(height)
        self.included.update(dict.fromkeys(record.delta.txids, height))
        if record.closes_epoch:
            epoch = record.state.epoch - 1
            late = [t for t, e in self.final.items() if e == epoch and t not in self.included]
            assert not late, "final by Confirms and not in the chain at the end of its epoch"

    def _on_message(self, member_id: bytes, message: Message) -> None:
        match message:
            case Vote() | Freeze() | Ballot() if message.voter == member_id:
                assert message.signature in self.durable[member_id]
            case ProposalMessage(proposal=proposal) if proposal.proposer == member_id:
                assert proposal.signature in self.durable[member_id]
            case _:
                pass

    def _on_final(self, member_id: bytes, notice: TransactionsFinal) -> None:
        for txid in notice.txids:
            self._check_quorum(member_id, VoteKind.CONFIRM, notice.epoch, txid)
            self.final[txid] = notice.epoch
        assert all(confirm.signature in self.durable[member_id] for confirm in notice.confirms)
