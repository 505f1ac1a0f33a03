"""Every kind of evidence against any member, true ones, from which tests make false ones."""

from collections.abc import Sequence

from building import lock_of, make_body, secret
from lockstep.ledger.coins import Coin
from lockstep.primitives.block import BallotKind, Proposal, make_proposal_digest
from lockstep.primitives.evidence import (
    ConflictingBallots,
    ConflictingFreezes,
    ConflictingProposals,
    ConflictingVotes,
    Evidence,
    OmittedConfirm,
    SignedDigest,
    make_conflicting_ballots,
    make_conflicting_freezes,
    make_conflicting_proposals,
    make_conflicting_votes,
    make_omitted_confirm,
    make_spoken_payment,
)
from lockstep.primitives.genesis import genesis_outpoint
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    VerifiedBatch,
    Witness,
    make_spend_digest,
    make_txid,
)
from lockstep.primitives.votes import VoteKind
from lockstep.replica.ingress import make_batch
from lockstep.sim.keyed_hash import KeyedHashVerifier, keyed_signature
from unit.replica.speaker import Speaker

VERIFIER = KeyedHashVerifier()


class Ledger:
    """A view of a chain in which nothing is, but what a test puts there."""

    def __init__(self) -> None:
        self.heights: dict[bytes, int] = {}
        self.gone: dict[bytes, None] = {}

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        return [None if outpoint in self.gone else Coin(1, b"", 0) for outpoint in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        return self.heights.get(txid)


class Accuser(Speaker):
    """Signs for everybody, and puts what it signed together as evidence."""

    def payment(self, *coins: int, memo: bytes = b"") -> Transaction:
        """Spend genesis coins, without a look at amounts."""
        outpoints = [genesis_outpoint(self.chain_id, coin) for coin in coins]
        body = make_body(outpoints, [(1_000, lock_of(coins[0]))], memo=memo)
        digest = make_spend_digest(self.chain_id, make_txid(body))
        key = secret(coins[0]).public_key
        witness = Witness(Policy(1, (key,)), 1, (keyed_signature(key, digest),))
        return Transaction(body, (witness,))

    def gather(self, *payments: Transaction) -> VerifiedBatch:
        made, faults = make_batch(payments, chain_id=self.chain_id, verifier=VERIFIER)
        assert made is not None
        assert not faults
        return made

    def word(
        self, index: int, height: int, round_number: int, block_id: bytes, valid_round: int = -1
    ) -> Proposal:
        digest = make_proposal_digest(
            chain_id=self.chain_id,
            height=height,
            round_number=round_number,
            block_id=block_id,
            valid_round=valid_round,
        )
        signature = self.signers[index].sign(digest)
        return Proposal(height, round_number, block_id, valid_round, self.ids[index], signature)

    def votes(
        self,
        index: int,
        epoch: int = 0,
        kind: VoteKind = VoteKind.VOTE,
        payments: tuple[Transaction, Transaction] | None = None,
    ) -> ConflictingVotes:
        """Two Votes for rivals: one stands alone in its batch, one as the fifth of six."""
        one, other = payments or (self.payment(0, 1), self.payment(0, 2))
        first = self.gather(one)
        second = self.gather(*(self.payment(10 + i) for i in range(4)), other, self.payment(15))
        rows = (
            self.vote(index, kind, (first.batch_id, b"\x01"), epoch=epoch),
            self.vote(
                index,
                kind,
                (bytes(32), b"\x07"),
                (b"\x01" * 32, b"\x07"),
                (second.batch_id, b"\x31"),
                epoch=epoch,
            ),
        )
        words = (
            make_spoken_payment(rows[0], first, 0),
            make_spoken_payment(rows[1], second, 4),
        )
        return make_conflicting_votes(member=self.ids[index], epoch=epoch, kind=kind, words=words)

    def freezes(
        self, index: int, epoch: int = 0, lists: Sequence[Sequence[bytes]] = ((), (b"\x05" * 32,))
    ) -> ConflictingFreezes:
        one, other = (self.freeze(index, txids=txids, epoch=epoch) for txids in lists)
        words = (
            SignedDigest(one.digest, one.signature),
            SignedDigest(other.digest, other.signature),
        )
        return make_conflicting_freezes(member=self.ids[index], epoch=epoch, words=words)

    def ballots(
        self,
        index: int,
        epoch: int = 0,
        kind: BallotKind = BallotKind.PREVOTE,
        values: tuple[bytes | None, bytes | None] = (None, b"\x07" * 32),
        times: tuple[int, int] = (0, 0),
    ) -> ConflictingBallots:
        height = epoch * self.genesis.closing_every + 1
        one, other = (
            self.ballot(index, kind, height, 3, value, time_ms=time_ms)
            for value, time_ms in zip(values, times, strict=True)
        )
        return make_conflicting_ballots(one, other, epoch=epoch)

    def proposals(
        self,
        index: int,
        epoch: int = 0,
        words: tuple[tuple[bytes, int], tuple[bytes, int]] = (
            (b"\x01" * 32, -1),
            (b"\x01" * 32, 0),
        ),
    ) -> ConflictingProposals:
        height = (epoch + 1) * self.genesis.closing_every
        one, other = (self.word(index, height, 2, block_id, valid) for block_id, valid in words)
        return make_conflicting_proposals(one, other, epoch=epoch)

    def omission(
        self, index: int, epoch: int = 0, listed: Sequence[bytes] = (b"\x01" * 32, b"\x02" * 32)
    ) -> OmittedConfirm:
        batch = self.gather(self.payment(20), self.payment(21, 22), self.payment(23))
        confirm = self.vote(index, VoteKind.CONFIRM, (batch.batch_id, b"\x02"), epoch=epoch)
        freeze = self.freeze(index, txids=listed, epoch=epoch)
        return make_omitted_confirm(
            member=self.ids[index],
            epoch=epoch,
            confirm=make_spoken_payment(confirm, batch, 1),
            txids=listed,
            signature=freeze.signature,
        )

    def all_kinds(self, index: int, epoch: int = 0) -> list[Evidence]:
        """One piece of each kind, all against one member for one epoch."""
        return [
            self.votes(index, epoch),
            self.votes(index, epoch, VoteKind.CONFIRM),
            self.freezes(index, epoch),
            self.ballots(index, epoch),
            self.ballots(index, epoch, BallotKind.PRECOMMIT, (b"\x01" * 32, b"\x02" * 32), (9, 9)),
            self.proposals(index, epoch),
            self.omission(index, epoch),
        ]
