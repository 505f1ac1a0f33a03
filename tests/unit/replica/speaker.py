"""The words of a network's members, true or not, signed with their keys."""

from collections.abc import Sequence

from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    CompactBlock,
    Proposal,
    make_ballot_digest,
    make_block_id,
    make_proposal_digest,
)
from lockstep.primitives.genesis import Genesis
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
from lockstep.sim.keyed_hash import KeyedHashSigner


class Speaker:
    """Signs for every member of a genesis, whether its replica runs or not."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.peers = [member.node_key for member in self.genesis.members]
        self.ids = [
            next(m.member_id for m in self.genesis.committee.members if m.node_key == key)
            for key in self.peers
        ]
        self.signers = [KeyedHashSigner(m.voting_key) for m in self.genesis.members]

    def vote(
        self, index: int, kind: VoteKind, *entries: tuple[bytes, bytes], epoch: int = 0
    ) -> Vote:
        rows = tuple(Entry(batch_id, bitmap) for batch_id, bitmap in entries)
        digest = make_vote_digest(chain_id=self.chain_id, kind=kind, epoch=epoch, entries=rows)
        return Vote(kind, epoch, self.ids[index], rows, self.signers[index].sign(digest))

    def freeze(
        self,
        index: int,
        *entries: tuple[bytes, bytes],
        txids: Sequence[bytes] = (),
        epoch: int = 0,
    ) -> Freeze:
        digest = make_freeze_list_digest(txids)
        signed = make_freeze_digest(chain_id=self.chain_id, epoch=epoch, digest=digest)
        rows = tuple(Entry(batch_id, bitmap) for batch_id, bitmap in entries)
        return Freeze(epoch, self.ids[index], rows, digest, self.signers[index].sign(signed))

    def ballot(
        self,
        index: int,
        kind: BallotKind,
        height: int,
        round_number: int,
        block_id: bytes | None,
        *,
        time_ms: int = 0,
    ) -> Ballot:
        digest = make_ballot_digest(
            chain_id=self.chain_id,
            kind=kind,
            height=height,
            round_number=round_number,
            block_id=block_id,
            time_ms=time_ms,
        )
        signature = self.signers[index].sign(digest)
        return Ballot(kind, height, round_number, block_id, time_ms, self.ids[index], signature)

    def proposal(
        self,
        index: int,
        block: CompactBlock,
        round_number: int,
        *,
        valid_round: int = -1,
        polc: Sequence[Ballot] = (),
    ) -> ProposalMessage:
        height, block_id = block.header.height, make_block_id(block.header)
        digest = make_proposal_digest(
            chain_id=self.chain_id,
            height=height,
            round_number=round_number,
            block_id=block_id,
            valid_round=valid_round,
        )
        word = Proposal(
            height,
            round_number,
            block_id,
            valid_round,
            self.ids[index],
            self.signers[index].sign(digest),
        )
        return ProposalMessage(word, block, tuple(polc))
