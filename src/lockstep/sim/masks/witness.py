"""Notes every word of masked members: what it counts for, and where they contradict themselves."""

from lockstep.crypto.keys import Verifier
from lockstep.errors import Rejected
from lockstep.primitives.block import Ballot
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import BatchBody, Message, ProposalMessage, decode_message
from lockstep.primitives.votes import Freeze, Vote
from lockstep.replica.ingress import prepare_batch
from lockstep.replica.signatures import (
    ballot_check,
    freeze_check,
    proposal_check,
    vote_check,
)
from lockstep.sim.masks.mask import is_word_of
from lockstep.sim.promise_checker import PromiseChecker

Place = tuple[object, ...]


class OneCommittee:
    """The set of a chain whose set never changes."""

    def __init__(self, committee: Committee) -> None:
        """Answer with this one."""
        self._committee = committee

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return the set of any epoch."""
        return self._committee

    def committee_for_height(self, height: int) -> Committee | None:
        """Return the set of any height."""
        return self._committee


class MaskedWords:
    """What masked members said to honest peers.

    Attributes:
        equivocations: Words that contradict an earlier one of the same key [N4].
        words: Every well-signed word, by its frame, with the txids that a Vote is for.
    """

    def __init__(
        self,
        masked: dict[bytes, None],
        promises: PromiseChecker,
        genesis: Genesis,
        verifier: Verifier,
    ) -> None:
        """Note the words of these members; Votes count with the checker as they do on the wire."""
        self.equivocations = 0
        self.words: dict[bytes, tuple[Message, tuple[bytes, ...]]] = {}
        self._chain_id = genesis.chain_id
        self._committees = OneCommittee(genesis.committee)
        self._verifier = verifier
        self._masked = masked
        self._promises = promises
        self._seen: dict[bytes, None] = {}
        self._values: dict[Place, dict[bytes | None, None]] = {}

    def on_batch(self, batch_id: bytes, txids: tuple[bytes, ...]) -> None:
        """Note what a batch id stands for."""
        self._promises.batches[batch_id] = txids

    def on_said(self, data: bytes, message: Message) -> None:
        """Note a message that leaves for an honest peer."""
        if data in self._seen:
            return
        self._seen[data] = None
        if isinstance(message, BatchBody):
            self._note_batch(message)
            return
        if not any(is_word_of(member_id, message) for member_id in self._masked):
            return
        if not self._is_well_signed(message):
            return
        txids: tuple[bytes, ...] = ()
        match message:
            case Vote():
                txids = self._promises.txids_of(message)
                self.equivocations += self._promises.on_masked_vote(message)
            case Freeze(voter=voter, epoch=epoch, digest=digest):
                self._note((voter, epoch), digest)
            case Ballot(voter=voter):
                place = (voter, message.height, message.round, int(message.kind))
                self._note(place, message.block_id)
            case ProposalMessage(proposal=proposal):
                value = b"%d %b" % (proposal.valid_round, proposal.block_id)
                self._note((proposal.proposer, proposal.height, proposal.round), value)
            case _:
                return
        self.words[data] = (message, txids)

    def on_bytes(self, data: bytes) -> None:
        """Note any frame that leaves for an honest peer: garbage may be a message."""
        try:
            self.on_said(data, decode_message(data))
        except Rejected:
            return

    def _note_batch(self, message: BatchBody) -> None:
        """Learn what a batch stands for: liars may have bitten one, and some of it stays good."""
        try:
            batch = prepare_batch(message.body, chain_id=self._chain_id, verifier=self._verifier)
        except Rejected:
            return
        self._promises.batches.setdefault(batch.batch_id, batch.txids)

    def _is_well_signed(self, message: Message) -> bool:
        try:
            match message:
                case Vote():
                    check = vote_check(message, lookup=self._committees, chain_id=self._chain_id)
                case Freeze():
                    check = freeze_check(message, lookup=self._committees, chain_id=self._chain_id)
                case Ballot():
                    check = ballot_check(message, lookup=self._committees, chain_id=self._chain_id)
                case ProposalMessage(proposal=proposal):
                    check = proposal_check(
                        proposal, lookup=self._committees, chain_id=self._chain_id
                    )
                case _:
                    return False
        except Rejected:
            return False
        return all(self._verifier.verify_many([check]))

    def _note(self, place: Place, value: bytes | None) -> None:
        values = self._values.setdefault(place, {})
        values[value] = None
        self.equivocations += len(values) == 2
