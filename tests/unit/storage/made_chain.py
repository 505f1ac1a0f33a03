"""Blocks, journal records and coins made from a seed, shaped like real ones but signed by nobody.

Storage judges no signature, so the tests of this room need none.
"""

import random
from dataclasses import dataclass, field

from lockstep.ledger.blocks import AssembledBlock
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.state import ChainState, initial_state
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    BlockHeader,
    CommitCertificate,
    CommitSignature,
    make_block_id,
)
from lockstep.primitives.evidence import ConflictingFreezes, SignedDigest, Subject
from lockstep.primitives.genesis import Genesis, GenesisMember, genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_txid,
)
from lockstep.primitives.votes import Entry, Freeze, Vote, VoteKind
from lockstep.replica.effects import (
    BatchHeld,
    BlockDecided,
    EvidenceHeld,
    OwnConfirm,
    OwnVote,
    QuorumConfirmed,
    RoundSigned,
)
from lockstep.replica.witnesses import derive_transactions


def make_genesis(coins: int = 10, *, salt: int = 0) -> Genesis:
    """Return a genesis with that many coins; another salt makes another chain."""
    dice = random.Random(salt)
    members = tuple(
        GenesisMember(
            voting_key=dice.randbytes(32),
            node_key=dice.randbytes(32),
            weight=1,
            payout_lock=dice.randbytes(32),
        )
        for _ in range(4)
    )
    outputs = tuple(TransactionOutput(10_000 + i, dice.randbytes(32)) for i in range(coins))
    return Genesis(1, "devnet", 1_700_000_000_000, 10, 250, 1000, members, outputs)


@dataclass
class MadeChain:
    """A growing chain and the plain model of what the database must hold."""

    genesis: Genesis
    seed: int = 0
    coins: dict[bytes, Coin] = field(default_factory=dict)
    blocks: list[BlockDecided] = field(default_factory=list)
    places: dict[bytes, tuple[Transaction, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.locks = [self.dice.randbytes(32) for _ in range(5)]
        self.state = initial_state(self.genesis)
        chain_id = self.genesis.chain_id
        for i, output in enumerate(self.genesis.coins):
            outpoint = genesis_outpoint(chain_id, i)
            self.coins[outpoint] = Coin(amount=output.amount, lock=output.lock, height=0)

    def decide(
        self,
        transactions: int,
        *,
        closes_epoch: bool = False,
        freeze: Freeze | None = None,
        dropped: tuple[bytes, ...] = (),
        dropped_evidence: tuple[Subject, ...] = (),
        witnesses: int = 1,
    ) -> BlockDecided:
        """Append a block of payments with one input and two outputs each."""
        height = self.state.height + 1
        spendable = sorted(self.coins)
        self.dice.shuffle(spendable)
        spent = [(o, self.coins[o]) for o in spendable[:transactions]]
        made: list[Transaction] = []
        created: list[tuple[bytes, Coin]] = []
        txids: list[bytes] = []
        for position, (outpoint, coin) in enumerate(spent):
            transaction = self._pay(outpoint, coin, witnesses)
            txid = make_txid(transaction.body)
            for index, output in enumerate(transaction.body.outputs):
                made_coin = Coin(amount=output.amount, lock=output.lock, height=height)
                created.append((make_outpoint(txid, index), made_coin))
            made.append(transaction)
            txids.append(txid)
            self.places[txid] = (transaction, height, position)
        delta = CoinDelta(height, tuple(created), tuple(spent), tuple(txids))
        for outpoint, _ in spent:
            del self.coins[outpoint]
        self.coins.update(created)
        block = self._block(made)
        record = BlockDecided(
            block=block,
            certificate=self._certificate(block.header),
            delta=delta,
            state=self._step(closes_epoch=closes_epoch),
            freeze=freeze,
            closes_epoch=closes_epoch,
            dropped_batches=dropped,
            dropped_evidence=dropped_evidence,
        )
        self.blocks.append(record)
        return record

    def batch(self, size_bytes: int = 1000) -> BatchHeld:
        body = self.dice.randbytes(size_bytes)
        return BatchHeld(self.dice.randbytes(32), body, ((3, "tx.signature"),))

    def vote(self, kind: VoteKind = VoteKind.VOTE) -> Vote:
        entry = Entry(self.dice.randbytes(32), b"\x01")
        return Vote(
            kind, self.state.epoch, self.dice.randbytes(32), (entry,), self.dice.randbytes(64)
        )

    def own_vote(self) -> OwnVote:
        return OwnVote(self.vote())

    def own_confirm(self) -> OwnConfirm:
        return OwnConfirm(self.vote(VoteKind.CONFIRM), (self.vote(), self.vote()))

    def quorum(self) -> QuorumConfirmed:
        return QuorumConfirmed((self.vote(VoteKind.CONFIRM),))

    def evidence(self) -> EvidenceHeld:
        """Against one of three members for one of two epochs, so that some replace others."""
        words = [SignedDigest(self.dice.randbytes(32), self.dice.randbytes(64)) for _ in range(2)]
        member = bytes([self.dice.randrange(3)]) * 32
        return EvidenceHeld(ConflictingFreezes(member, self.dice.randrange(2), *words))

    def round_signed(self, height: int, round_number: int = 0) -> RoundSigned:
        ballot = Ballot(
            BallotKind.PREVOTE,
            height,
            round_number,
            self.dice.randbytes(32),
            0,
            self.dice.randbytes(32),
            self.dice.randbytes(64),
        )
        return RoundSigned(height, round_number, None, ballot, -1, None, -1, None, None, (ballot,))

    def freeze(self) -> Freeze:
        return Freeze(
            self.state.epoch,
            self.dice.randbytes(32),
            (),
            self.dice.randbytes(32),
            self.dice.randbytes(64),
        )

    def _pay(self, outpoint: bytes, coin: Coin, witnesses: int) -> Transaction:
        first = self.dice.randrange(coin.amount + 1)
        outputs = (
            TransactionOutput(first, self.dice.choice(self.locks)),
            TransactionOutput(coin.amount - first, self.dice.choice(self.locks)),
        )
        memo = self.dice.randbytes(self.dice.randrange(8))
        policy = Policy(1, tuple(self.dice.randbytes(32) for _ in range(15)))
        witness = Witness(policy, 1, (self.dice.randbytes(64),))
        return Transaction(TransactionBody(1, (outpoint,), outputs, memo), (witness,) * witnesses)

    def _block(self, transactions: list[Transaction]) -> AssembledBlock:
        header = BlockHeader(
            version=1,
            chain_id=self.genesis.chain_id,
            height=self.state.height + 1,
            previous=self.state.block_id,
            previous_closing=self.state.closing_id,
            epoch=self.state.epoch,
            time_ms=self.state.time_ms + 1,
            transaction_root=self.dice.randbytes(32),
            set_hash=self.dice.randbytes(32),
            evidence_root=self.dice.randbytes(32),
            previous_commit_hash=self.dice.randbytes(32),
            proposer=self.dice.randbytes(32),
            closing=None,
        )
        derived = tuple(derive_transactions(transactions).derived)
        return AssembledBlock(header, None, derived, ())

    def _certificate(self, header: BlockHeader) -> CommitCertificate:
        signature = CommitSignature(self.dice.randbytes(32), 1, self.dice.randbytes(64))
        return CommitCertificate(header.height, 0, make_block_id(header), (signature,))

    def _step(self, *, closes_epoch: bool) -> ChainState:
        block_id = self.dice.randbytes(32)
        self.state = ChainState(
            height=self.state.height + 1,
            block_id=block_id,
            closing_id=block_id if closes_epoch else self.state.closing_id,
            epoch=self.state.epoch + closes_epoch,
            time_ms=self.state.time_ms + 1,
            closing_time_ms=self.state.closing_time_ms,
            coin_count=len(self.coins),
            coin_sum=sum(coin.amount for coin in self.coins.values()),
            fees_pending=0,
            issued=0,
            burnt=0,
            registry_root=self.state.registry_root,
            state_commitment=self.state.state_commitment,
            coins_sum=self.state.coins_sum,
            summed_height=self.state.summed_height,
            participants=b"\x0f",
        )
        return self.state
