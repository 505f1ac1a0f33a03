"""The words of a network's members, true or not, signed with their keys."""

from collections.abc import Sequence

from lockstep.primitives.block import Ballot, BallotKind, CompactBlock
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import ProposalMessage
from lockstep.primitives.votes import Entry, Freeze, Vote, VoteKind
from lockstep.sim.keyed_hash import KeyedHashSigner
from lockstep.sim.masks.voice import Voice


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
        self._voices = [
            Voice(signer, member_id, genesis.chain_id)
            for signer, member_id in zip(self.signers, self.ids, strict=True)
        ]

    def vote(
        self, index: int, kind: VoteKind, *entries: tuple[bytes, bytes], epoch: int = 0
    ) -> Vote:
        return self._voices[index].vote(kind, epoch, _rows(entries))

    def freeze(
        self,
        index: int,
        *entries: tuple[bytes, bytes],
        txids: Sequence[bytes] = (),
        epoch: int = 0,
    ) -> Freeze:
        return self._voices[index].freeze(epoch, _rows(entries), txids)

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
        voice = self._voices[index]
        return voice.ballot(kind, height, round_number, block_id, time_ms=time_ms)

    def proposal(
        self,
        index: int,
        block: CompactBlock,
        round_number: int,
        *,
        valid_round: int = -1,
        polc: Sequence[Ballot] = (),
    ) -> ProposalMessage:
        voice = self._voices[index]
        return voice.proposal(block, round_number, valid_round=valid_round, polc=polc)


def _rows(entries: Sequence[tuple[bytes, bytes]]) -> tuple[Entry, ...]:
    return tuple(Entry(batch_id, bitmap) for batch_id, bitmap in entries)
