"""A member's voting key in the hands of a liar: any word, signed as the protocol signs it [M2]."""

from collections.abc import Iterable, Sequence

from lockstep.crypto.keys import Signer
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    CompactBlock,
    Proposal,
    make_ballot_digest,
    make_block_id,
    make_proposal_digest,
)
from lockstep.primitives.messages import ProposalMessage
from lockstep.primitives.votes import (
    Entry,
    Freeze,
    Vote,
    VoteKind,
    make_freeze_digest,
    make_freeze_list_digest,
    make_vote_digest,
)


class Voice:
    """Signs for one member, on one chain unless another is given."""

    def __init__(self, signer: Signer, member_id: bytes, chain_id: bytes) -> None:
        """Speak with this key."""
        self.member_id = member_id
        self.chain_id = chain_id
        self._signer = signer

    def on_chain(self, chain_id: bytes) -> "Voice":
        """Return the same voice on another chain."""
        return Voice(self._signer, self.member_id, chain_id)

    def vote(self, kind: VoteKind, epoch: int, entries: Sequence[Entry]) -> Vote:
        """Return a Vote or Confirm on these entries [B2]."""
        rows = tuple(entries)
        digest = make_vote_digest(chain_id=self.chain_id, kind=kind, epoch=epoch, entries=rows)
        return Vote(kind, epoch, self.member_id, rows, self._signer.sign(digest))

    def freeze(self, epoch: int, entries: Sequence[Entry], txids: Iterable[bytes]) -> Freeze:
        """Return a FREEZE that signs `txids` and shows `entries`, which need not agree [T5]."""
        digest = make_freeze_list_digest(txids)
        signed = make_freeze_digest(chain_id=self.chain_id, epoch=epoch, digest=digest)
        return Freeze(epoch, self.member_id, tuple(entries), digest, self._signer.sign(signed))

    def ballot(
        self,
        kind: BallotKind,
        height: int,
        round_number: int,
        block_id: bytes | None,
        *,
        time_ms: int = 0,
    ) -> Ballot:
        """Return a prevote or precommit [T1]."""
        digest = make_ballot_digest(
            chain_id=self.chain_id,
            kind=kind,
            height=height,
            round_number=round_number,
            block_id=block_id,
            time_ms=time_ms,
        )
        signature = self._signer.sign(digest)
        return Ballot(kind, height, round_number, block_id, time_ms, self.member_id, signature)

    def proposal(
        self,
        block: CompactBlock,
        round_number: int,
        *,
        valid_round: int = -1,
        polc: Sequence[Ballot] = (),
    ) -> ProposalMessage:
        """Return a proposal of this block, in whoever's turn it is [T1]."""
        height, block_id = block.header.height, make_block_id(block.header)
        digest = make_proposal_digest(
            chain_id=self.chain_id,
            height=height,
            round_number=round_number,
            block_id=block_id,
            valid_round=valid_round,
        )
        signature = self._signer.sign(digest)
        word = Proposal(height, round_number, block_id, valid_round, self.member_id, signature)
        return ProposalMessage(word, block, tuple(polc))
