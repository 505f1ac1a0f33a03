"""Checks on evidence: of liars only, once each, and in the chain soon after it could be had [N4].

What a liar said is known here from what it sent; what an honest node received of it, from the
frames that came. A node that in one life heard two words that contradict each other, while it still
looks at such words, must have found them, and the chain must have them ten heights later: counted
from the end of the faults, for a node that is cut off can tell nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from lockstep.primitives.block import Ballot
from lockstep.primitives.evidence import Subject, decode_evidence, evidence_subject
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.transaction import Transaction
from lockstep.primitives.votes import Freeze, Vote
from lockstep.replica.core import Core
from lockstep.replica.effects import EvidenceHeld
from lockstep.sim.disk import Disk
from lockstep.sim.host import Host
from lockstep.sim.violation import Violation

HEIGHTS_MAX: Final = 10
HEIGHTS_HEARD: Final = 2
PLACES_MAX: Final = 40
"""Words of one member and height that a node certainly remembers."""

Place = tuple[object, ...]


class _Heard:
    """What one node heard of liars in one life: first words, their number, and what is due."""

    def __init__(self) -> None:
        self.values: dict[Place, bytes | None] = {}
        self.places: dict[tuple[bytes, int], int] = {}
        self.due: dict[Subject, None] = {}


class EvidenceChecker:
    """Every piece of evidence in the chain, and what is still due.

    Attributes:
        included: Height of each piece in the chain, by (member id, epoch).
        pairs: How often a node held both of two words, the first of a member and epoch.
    """

    def __init__(
        self,
        masked: Mapping[bytes, None],
        closing_every: int,
        transactions: Mapping[bytes, Transaction],
    ) -> None:
        """Look at these members only: nobody else may ever be accused."""
        self.pairs = 0
        self._transactions = transactions
        self.included: dict[Subject, int] = {}
        self._masked = masked
        self._closing_every = closing_every
        self._heard: dict[int, _Heard] = {}
        self._due: dict[Subject, int] = {}
        self._height = 0
        self._whole_height: int | None = None

    def on_held(self, node: int, record: EvidenceHeld) -> None:
        """Refuse a piece against an honest member, before it is passed on."""
        member, epoch = evidence_subject(record.evidence)
        if member not in self._masked:
            kind = type(record.evidence).__name__
            sentence = f"node {node} holds {kind} against honest {member.hex()[:8]}, epoch {epoch}"
            raise Violation("framed", sentence)

    def on_block(self, height: int, evidence: Sequence[bytes]) -> None:
        """Look at the first decision of a height: liars only, each once an epoch, and in time."""
        self._height = height
        for piece in evidence:
            subject = evidence_subject(decode_evidence(piece))
            if subject[0] not in self._masked:
                raise Violation("framed", f"height {height} accuses honest {subject[0].hex()[:8]}")
            if subject in self.included:
                raise Violation("evidence", f"{_name(subject)} is accused twice")
            self.included[subject] = height
            self._due.pop(subject, None)
        if self._whole_height is None:
            return
        for subject, since in self._due.items():
            if height > max(since, self._whole_height) + HEIGHTS_MAX:
                sentence = f"{_name(subject)} contradicted itself before a node by height {since}"
                raise Violation("evidence", f"{sentence}, and height {height} has no evidence")

    def on_whole(self) -> None:
        """Take it that the faults are over: from here on every node is heard."""
        self._whole_height = self._height

    def on_recovered(self, host: Host) -> None:
        """Take it that a node began a new life: what it had found and not on its disk is gone."""
        held = self._heard.pop(host.index, None)
        if held is None:
            return
        kept = _subjects_on(host.disk)
        for subject in held.due:
            others = (other.due for other in self._heard.values())
            if subject not in kept and not any(subject in due for due in others):
                self._due.pop(subject, None)

    def on_heard(self, host: Host, message: Message, txids: Sequence[bytes]) -> None:
        """Note a word of a liar that came to an honest node; `txids` are those a Vote is for."""
        if host.replica is None:
            return
        core = host.replica._core  # noqa: SLF001  # What it looks at is no answer of its view.
        match message:
            case Ballot(voter=voter, height=height):
                place: Place = (voter, height, message.round, message.kind)
                self._note_word(host, core, place, message.block_id)
            case ProposalMessage(proposal=proposal):
                place = (proposal.proposer, proposal.height, proposal.round, None)
                value = b"%d %b" % (proposal.valid_round, proposal.block_id)
                self._note_word(host, core, place, value)
            case Freeze(voter=voter, epoch=epoch, digest=digest) if epoch == core.state.epoch:
                self._note_value(host, (voter, epoch), digest, (voter, epoch))
            case Vote(epoch=epoch) if epoch == core.state.epoch:
                self._note_vote(host, core, message, txids)
            case _:
                pass

    def _note_word(self, host: Host, core: Core, place: Place, value: bytes | None) -> None:
        """Note a word on a block, if the node looks at words of its height and holds them all."""
        voter, height = place[0], place[1]
        if not isinstance(voter, bytes) or not isinstance(height, int):
            return
        if abs(height - core.state.height) > HEIGHTS_HEARD:
            return
        heard = self._heard.setdefault(host.index, _Heard())
        if place not in heard.values:
            count = heard.places.get((voter, height), 0) + 1
            heard.places[voter, height] = count
            if count > PLACES_MAX:
                return
        epoch = (height - 1) // self._closing_every
        self._note_value(host, place, value, (voter, epoch))

    def _note_vote(self, host: Host, core: Core, vote: Vote, txids: Sequence[bytes]) -> None:
        """Note the coins that a Vote or Confirm is about, as far as the node holds its batches.

        A payment may be held while the batch that names it here is not: then nothing was counted.
        """
        held = {
            txid
            for entry in vote.entries
            if entry.batch_id in core.finality.batches
            for txid in core.finality.batches[entry.batch_id].txids
        }
        for txid in txids:
            if txid not in held or txid not in self._transactions:
                continue  # What liars made up spends no coin, and no two of it the same.
            for outpoint in self._transactions[txid].body.inputs:
                place = (vote.voter, vote.epoch, vote.kind, outpoint)
                self._note_value(host, place, txid, (vote.voter, vote.epoch))

    def _note_value(self, host: Host, place: Place, value: bytes | None, subject: Subject) -> None:
        heard = self._heard.setdefault(host.index, _Heard())
        first = heard.values.setdefault(place, value)
        if first != value and subject not in self.included and subject not in heard.due:
            heard.due[subject] = None
            self.pairs += 1
            self._due.setdefault(subject, self._height)

    def missing(self) -> str:
        """Return what the chain still owes, an empty string when nothing."""
        if not self._due:
            return ""
        return f"no evidence against {_name(next(iter(self._due)))} is in the chain"


def _name(subject: Subject) -> str:
    return f"{subject[0].hex()[:8]} in epoch {subject[1]}"


def _subjects_on(disk: Disk) -> dict[Subject, None]:
    """Return whom the evidence that a disk kept is about."""
    return {
        evidence_subject(record.evidence): None
        for record in disk.journal()
        if isinstance(record, EvidenceHeld)
    }
