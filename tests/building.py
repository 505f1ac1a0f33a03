"""Payments, coins and whole chains for tests, in few words, with real keys and signatures."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from blake3 import blake3

from lockstep.crypto.hashing import tagged_hash
from lockstep.crypto.keys import SecretKey, SodiumVerifier
from lockstep.ledger.blocks import AssembledBlock, assemble_block, check_block, kind_index
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.rules import has_good_shape
from lockstep.ledger.state import ChainState, initial_state
from lockstep.primitives.block import (
    BallotKind,
    CommitCertificate,
    CommitSignature,
    make_ballot_digest,
)
from lockstep.primitives.codec import encode
from lockstep.primitives.committee import Committee, make_member_id
from lockstep.primitives.genesis import Genesis, GenesisMember, genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    VerifiedTransaction,
    Witness,
    make_leaf,
    make_lock,
    make_single_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.primitives.votes import Freeze, make_freeze_digest, make_freeze_list_digest

GENESIS_TIME_MS: Final = 1_700_000_000_000
RICH: Final = 10**14
VERIFIER: Final = SodiumVerifier()


@cache
def secret(number: int) -> SecretKey:
    """Return the key of this number; the same in every run."""
    return SecretKey(number.to_bytes(32, "big"))


def lock_of(number: int) -> bytes:
    """Return the lock that the key of this number opens."""
    return make_single_lock(secret(number).public_key)


@cache
def make_genesis(
    weights: tuple[int, ...] = (1, 1, 1, 1),
    *,
    coins: int = 8,
    amount: int = RICH,
    closing_every: int = 4,
) -> Genesis:
    """Make a devnet genesis: member i votes with key 1000 + i, coin i opens with key i."""
    members = tuple(
        GenesisMember(
            voting_key=secret(1000 + i).public_key,
            node_key=secret(2000 + i).public_key,
            weight=weight,
            payout_lock=lock_of(3000 + i),
        )
        for i, weight in enumerate(weights)
    )
    return Genesis(
        version=1,
        network="devnet",
        time_ms=GENESIS_TIME_MS,
        closing_every=closing_every,
        block_interval_ms=250,
        idle_interval_ms=1000,
        members=members,
        coins=tuple(TransactionOutput(amount=amount, lock=lock_of(i)) for i in range(coins)),
    )


def voting_secret(genesis: Genesis, member_id: bytes) -> SecretKey:
    """Return the voting key of a member of `make_genesis`."""
    for i, member in enumerate(genesis.members):
        if make_member_id(member.voting_key) == member_id:
            return secret(1000 + i)
    raise AssertionError("no such member")


def make_body(
    inputs: Iterable[bytes], outputs: Iterable[tuple[int, bytes]], *, memo: bytes = b""
) -> TransactionBody:
    """Make a body of version 1; an output is (amount, lock)."""
    return TransactionBody(
        version=1,
        inputs=tuple(inputs),
        outputs=tuple(TransactionOutput(amount, lock) for amount, lock in outputs),
        memo=memo,
    )


def sign(body: TransactionBody, keys: Iterable[int], *, chain_id: bytes) -> Transaction:
    """Add one 1-of-1 witness a key, in this order."""
    digest = make_spend_digest(chain_id, make_txid(body))
    witnesses = tuple(
        Witness(
            policy=Policy(threshold=1, keys=(secret(key).public_key,)),
            signers=1,
            signatures=(secret(key).sign(digest),),
        )
        for key in keys
    )
    return Transaction(body=body, witnesses=witnesses)


def verified(transaction: Transaction) -> VerifiedTransaction:
    """Return the transaction as the ingress would hand it on, without looking at signatures."""
    txid = make_txid(transaction.body)
    leaf = make_leaf(txid, transaction.witnesses)
    return VerifiedTransaction(
        body=encode(transaction.body),
        witnesses=encode(transaction.witnesses),
        txid=txid,
        leaf=leaf,
        node=tagged_hash("merkle-leaf", leaf),
        locks=tuple(make_lock(witness.policy) for witness in transaction.witnesses),
        size_bytes=len(encode(transaction)),
        has_shape=has_good_shape(transaction, size_bytes=len(encode(transaction))),
        inputs=transaction.body.inputs,
        outputs=transaction.body.outputs,
        paid=sum(output.amount for output in transaction.body.outputs),
    )


def pay(
    inputs: Sequence[tuple[bytes, int]],
    outputs: Iterable[tuple[int, bytes]],
    *,
    chain_id: bytes,
    memo: bytes = b"",
) -> VerifiedTransaction:
    """Make a signed payment; an input is (outpoint, number of the key that opens it)."""
    body = make_body([outpoint for outpoint, _ in inputs], outputs, memo=memo)
    return verified(sign(body, dict.fromkeys(key for _, key in inputs), chain_id=chain_id))


def output_of(payment: VerifiedTransaction, index: int = 0) -> bytes:
    """Name an output of a payment."""
    return make_outpoint(payment.txid, index)


class DictCoins:
    """Coins in a dict: the plainest thing that is a `CoinView`."""

    def __init__(self, coins: dict[bytes, Coin] | None = None) -> None:
        self.coins = dict(coins or {})
        self.heights: dict[bytes, int] = {}

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        return [self.coins.get(outpoint) for outpoint in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        return self.heights.get(txid)

    def apply(self, delta: CoinDelta) -> None:
        for outpoint, coin in delta.spent:
            assert self.coins.pop(outpoint) == coin
        for outpoint, coin in delta.created:
            assert outpoint not in self.coins
            self.coins[outpoint] = coin
        self.heights.update((txid, delta.height) for txid in delta.txids)


def genesis_coins(genesis: Genesis) -> DictCoins:
    """Return the view below height 1."""
    return DictCoins(
        {
            genesis_outpoint(genesis.chain_id, i): Coin(coin.amount, coin.lock, 0)
            for i, coin in enumerate(genesis.coins)
        }
    )


def sum_coins(coins: Mapping[bytes, Coin]) -> bytes:
    """Add up a whole set of coins in the plainest way: clause [S1] word for word."""
    key = tagged_hash("lattice-element", b"")
    lanes = [0] * 1024
    for outpoint, coin in coins.items():
        element = blake3(encode((outpoint, coin.amount, coin.lock)), key=key).digest(length=2048)
        lanes = [
            lane + new for lane, new in zip(lanes, struct.unpack("<1024H", element), strict=True)
        ]
    return struct.pack("<1024H", *(lane % 65536 for lane in lanes))


@dataclass
class Chain:
    """A chain that grows by blocks which the ledger itself makes and judges."""

    genesis: Genesis
    state: ChainState = field(init=False)
    view: DictCoins = field(init=False)
    settled_sum: bytes = field(init=False)
    certificate: CommitCertificate | None = None

    def __post_init__(self) -> None:
        self.state = initial_state(self.genesis)
        self.view = genesis_coins(self.genesis)
        self.settled_sum = sum_coins(self.view.coins)

    @property
    def committee(self) -> Committee:
        return self.genesis.committee

    @property
    def height(self) -> int:
        """Return the height of the next block."""
        return self.state.height + 1

    @property
    def closes(self) -> bool:
        return self.height % self.genesis.closing_every == 0

    def coin(self, index: int) -> bytes:
        """Name a genesis coin."""
        return genesis_outpoint(self.genesis.chain_id, index)

    def freeze(self, member_id: bytes, txids: Sequence[bytes] = ()) -> Freeze:
        """Make a member's FREEZE of the present epoch; its entries are left out."""
        digest = make_freeze_list_digest(txids)
        message = make_freeze_digest(
            chain_id=self.genesis.chain_id, epoch=self.state.epoch, digest=digest
        )
        signature = voting_secret(self.genesis, member_id).sign(message)
        return Freeze(self.state.epoch, member_id, (), digest, signature)

    def proposer(self, round_number: int = 0) -> bytes:
        place = kind_index(self.height, self.genesis.closing_every)
        return self.committee.proposer(place, round_number).member_id

    def assemble(
        self,
        payments: Sequence[VerifiedTransaction] = (),
        *,
        fees: int = 0,
        freezes: Sequence[tuple[Freeze, Sequence[bytes]]] | None = None,
        proposer: bytes | None = None,
    ) -> AssembledBlock:
        """Make the next block; at a closing height all members freeze with empty lists."""
        if freezes is None:
            members = self.committee.members if self.closes else ()
            freezes = [(self.freeze(member.member_id), ()) for member in members]
        return assemble_block(
            genesis=self.genesis,
            state=self.state,
            committee=self.committee,
            previous_committee=self.committee if self.certificate else None,
            previous_commit=self.certificate,
            payments=payments,
            fees=fees,
            freezes=freezes,
            proposer=proposer or self.proposer(),
            coins_sum=self.settled_sum,
        )

    def check(
        self, block: AssembledBlock, *, certified: bool = False
    ) -> tuple[CoinDelta, ChainState]:
        return check_block(
            block,
            genesis=self.genesis,
            state=self.state,
            committee=self.committee,
            previous_committee=self.committee if self.certificate else None,
            view=self.view,
            verifier=VERIFIER,
            certified=certified,
            coins_sum=self.settled_sum,
        )

    def commit(self, *, late_ms: int = 250) -> CommitCertificate:
        """Make the certificate of all members for the tip, their clocks `late_ms` after it."""
        height, block_id = self.state.height, self.state.block_id
        time_ms = self.state.time_ms + late_ms
        digest = make_ballot_digest(
            chain_id=self.genesis.chain_id,
            kind=BallotKind.PRECOMMIT,
            height=height,
            round_number=0,
            block_id=block_id,
            time_ms=time_ms,
        )
        return CommitCertificate(
            height=height,
            round=0,
            block_id=block_id,
            signatures=tuple(
                CommitSignature(
                    member.member_id,
                    time_ms,
                    voting_secret(self.genesis, member.member_id).sign(digest),
                )
                for member in self.committee.members
            ),
        )

    def add(self, block: AssembledBlock, *, late_ms: int = 250) -> CoinDelta:
        """Judge a block and, if it is valid, go on from it."""
        delta, self.state = self.check(block)
        self.view.apply(delta)
        self.certificate = self.commit(late_ms=late_ms)
        if block.header.is_closing:
            self.settled_sum = sum_coins(self.view.coins)
        return delta

    def grow(self, count: int) -> None:
        """Add empty blocks."""
        for _ in range(count):
            self.add(self.assemble())
