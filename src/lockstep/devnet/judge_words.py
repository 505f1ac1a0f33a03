"""The judge of words: no key signed two things that contradict each other [N4, 2.6].

A contradiction counts when both signatures hold, so that nobody is accused by a forger.
"""

from collections.abc import Hashable

from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.devnet.judge_chain import Committees, Replay
from lockstep.devnet.judge_payments import PaymentIndex
from lockstep.errors import LockstepError
from lockstep.primitives.block import Ballot, CompactBlock, InlinePart, Proposal
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import BatchBody, Message, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica.signatures import ballot_check, freeze_check, proposal_check, vote_check

Signed = Vote | Freeze | Ballot | Proposal


class Words:
    """Every signed word that reached anybody, each kept once."""

    def __init__(self, payments: PaymentIndex) -> None:
        """Begin with none; payments seen on the way are shown to the index."""
        self._payments = payments
        # By the whole word, not by its signature: a forgery may carry the signature of a true one.
        self._votes: dict[Vote, None] = {}
        self._freezes: dict[Freeze, None] = {}
        self._ballots: dict[Ballot, None] = {}
        self._proposals: dict[Proposal, None] = {}

    def add(self, message: Message) -> None:
        """Take in a message."""
        match message:
            case BatchBody(body=body):
                self._payments.add_batch(body)
            case Vote():
                self._votes[message] = None
            case Freeze():
                self._freezes[message] = None
            case Ballot():
                self._ballots[message] = None
            case ProposalMessage():
                self._proposals[message.proposal] = None
                self._add_block(message.block)
                for ballot in message.polc:
                    self.add(ballot)
            case _:
                # Requests and pages of blocks carry no word that is not in the chain as well.
                pass

    def _add_block(self, block: CompactBlock) -> None:
        for part in block.parts:
            if isinstance(part, InlinePart):
                self._payments.add_transactions(part.transactions)

    def contradictions(self, genesis: Genesis, chain: Replay, verifier: Verifier) -> list[str]:
        """Return a sentence for every pair of words that no honest key signs."""
        bench = _Bench(genesis, verifier)
        for ballot in self._ballots:
            place = (ballot.voter, ballot.height, ballot.round, int(ballot.kind))
            bench.hear(place, ballot.block_id, ballot, what=_describe_ballot(ballot))
        for proposal in self._proposals:
            where = (proposal.proposer, proposal.height, proposal.round)
            bench.hear(
                where,
                (proposal.block_id, proposal.valid_round),
                proposal,
                what=f"a proposal at height {proposal.height}, round {proposal.round}",
            )
        for freeze in self._freezes:
            bench.hear(
                (freeze.voter, freeze.epoch),
                freeze.digest,
                freeze,
                what=f"a FREEZE of epoch {freeze.epoch}",
            )
        for vote in self._votes:
            self._hear_vote(bench, vote)
        for freeze in self._freezes:
            self._hear_list(bench, freeze, genesis, chain)
        return bench.findings

    def _hear_vote(self, bench: "_Bench", vote: Vote) -> None:
        what = f"a {vote.kind.name.capitalize()} of epoch {vote.epoch} for payments of one coin"
        for txid in self._payments.txids_of(vote):
            for outpoint in self._payments.inputs_of(txid):
                place = (vote.voter, vote.epoch, int(vote.kind), outpoint)
                bench.hear(place, txid, vote, what=what)
            if vote.kind is VoteKind.CONFIRM:
                bench.note_confirm(vote, txid)

    def _hear_list(self, bench: "_Bench", freeze: Freeze, genesis: Genesis, chain: Replay) -> None:
        """Look for a Confirm that the FREEZE leaves out though nothing below excuses it [T5]."""
        if not self._payments.is_known(freeze):
            return
        last = (freeze.epoch + 1) * genesis.closing_every - 1
        listed = dict.fromkeys(self._payments.txids_of(freeze))
        for txid, confirm in bench.confirms_of(freeze.voter, freeze.epoch):
            rivals = (chain.spenders.get(o) for o in self._payments.inputs_of(txid))
            below = (chain.heights.get(rival, last + 1) for rival in rivals if rival is not None)
            if txid not in listed and not any(height <= last for height in below):
                bench.accuse(
                    freeze, confirm, what=f"a FREEZE of epoch {freeze.epoch} without its Confirm"
                )


class _Bench:
    """Hears one word after the other and notes the pairs that contradict."""

    def __init__(self, genesis: Genesis, verifier: Verifier) -> None:
        self._chain_id = genesis.chain_id
        self._committees = Committees(genesis)
        self._verifier = verifier
        self._said: dict[Hashable, tuple[Hashable, Signed]] = {}
        self._confirmed: dict[tuple[bytes, int], dict[bytes, Vote]] = {}
        self._accused: dict[tuple[Signed, Signed], None] = {}
        self.findings: list[str] = []

    def hear(self, place: Hashable, value: Hashable, word: Signed, *, what: str) -> None:
        """Note what was said at a place where one value may be said."""
        earlier = self._said.setdefault((type(word), place), (value, word))
        if earlier[0] == value or self.accuse(earlier[1], word, what=what):
            return
        # One of the two is forged; go on with the other.
        if self._holds(word):
            self._said[type(word), place] = (value, word)

    def note_confirm(self, vote: Vote, txid: bytes) -> None:
        """Remember who confirmed what."""
        self._confirmed.setdefault((vote.voter, vote.epoch), {})[txid] = vote

    def confirms_of(self, voter: bytes, epoch: int) -> list[tuple[bytes, Vote]]:
        """Return what a member confirmed in an epoch."""
        return list(self._confirmed.get((voter, epoch), {}).items())

    def accuse(self, one: Signed, other: Signed, *, what: str) -> bool:
        """Note a contradiction if both signatures hold; two messages accuse each other once."""
        pair = (one, other)
        if pair in self._accused:
            return True
        if not (self._holds(one) and self._holds(other)):
            return False
        self._accused[pair] = None
        self.findings.append(f"member {_author(one).hex()[:16]} signed {what} twice")
        return True

    def _holds(self, word: Signed) -> bool:
        try:
            return all(self._verifier.verify_many([self._check(word)]))
        except LockstepError:
            return False

    def _check(self, word: Signed) -> SignatureCheck:
        lookup, chain_id = self._committees, self._chain_id
        match word:
            case Vote():
                return vote_check(word, lookup=lookup, chain_id=chain_id)
            case Freeze():
                return freeze_check(word, lookup=lookup, chain_id=chain_id)
            case Ballot():
                return ballot_check(word, lookup=lookup, chain_id=chain_id)
            case Proposal():
                return proposal_check(word, lookup=lookup, chain_id=chain_id)


def _author(word: Signed) -> bytes:
    return word.proposer if isinstance(word, Proposal) else word.voter


def _describe_ballot(ballot: Ballot) -> str:
    return f"a {ballot.kind.name.lower()} at height {ballot.height}, round {ballot.round}"
