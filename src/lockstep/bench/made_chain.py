"""Chains of any length and number of coins for benchmarks of storage, without their members' work.

Blocks have the shape and size of real ones and follow one another; their signatures are zeros, and
nobody judges them. Storage does not: it writes what was decided.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from lockstep.bench.made_payments import make_genesis, make_key
from lockstep.ledger.blocks import AssembledBlock
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.state import initial_state
from lockstep.primitives.block import (
    BlockHeader,
    CommitCertificate,
    CommitSignature,
    make_block_id,
)
from lockstep.primitives.genesis import genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import (
    TRANSACTION_VERSION,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_lock,
    make_txid,
)
from lockstep.replica.effects import BlockDecided
from lockstep.replica.witnesses import derive_transactions

AMOUNT = 1_000_000
BLOCK_MS = 250
_SIGNATURE = bytes(64)
_NOTHING = bytes(32)
_LOCKS = 1024


class ChainMaker:
    """Makes the records of one decision after the other over a genesis of four members.

    Attributes:
        genesis: With one coin.
        state: Above the last block that was made.
    """

    def __init__(self) -> None:
        """Begin at genesis."""
        self.genesis = make_genesis([1] * 4, coins=1)
        self.state = initial_state(self.genesis)
        self._committee = self.genesis.committee
        self._certificate: CommitCertificate | None = None
        self._policies = [Policy(1, (make_key("owner", k).public_key,)) for k in range(_LOCKS)]
        self._locks = [make_lock(policy) for policy in self._policies]
        self._coin = (genesis_outpoint(self.genesis.chain_id, 0), self._genesis_coin())
        self._made = 0

    def decide_payments(self, count: int) -> BlockDecided:
        """Decide a block of payments with one input and two outputs, each of the last one's change.

        So the chain gains one coin a payment, and none of those made before is touched.
        """
        transactions: list[Transaction] = []
        created: list[tuple[bytes, Coin]] = []
        first = self._coin
        for _ in range(count):
            transaction, txid = self._make_payment((self._coin[0],), outputs=2)
            transactions.append(transaction)
            paid, change = self._coins_of(txid, transaction)
            created.append(paid)
            self._coin = change
        created.append(self._coin)
        return self._decide(transactions, created, [first] if count else [])

    def decide_spending(self, coins: Sequence[tuple[bytes, Coin]]) -> BlockDecided:
        """Decide a block of payments that each spend one of these coins and make two."""
        transactions: list[Transaction] = []
        created: list[tuple[bytes, Coin]] = []
        for outpoint, _ in coins:
            transaction, txid = self._make_payment((outpoint,), outputs=2)
            transactions.append(transaction)
            created.extend(self._coins_of(txid, transaction))
        return self._decide(transactions, created, coins)

    def decide_coins(self, count: int, *, per_transaction: int = 250) -> BlockDecided:
        """Decide a block that makes so many coins out of nothing, as a coinbase does."""
        transactions: list[Transaction] = []
        created: list[tuple[bytes, Coin]] = []
        while (missing := count - len(created)) > 0:
            transaction, txid = self._make_payment((), outputs=min(missing, per_transaction))
            transactions.append(transaction)
            created.extend(self._coins_of(txid, transaction))
        return self._decide(transactions, created, [])

    def _genesis_coin(self) -> Coin:
        output = self.genesis.coins[0]
        return Coin(output.amount, output.lock, 0)

    def _make_payment(
        self, inputs: tuple[bytes, ...], *, outputs: int
    ) -> tuple[Transaction, bytes]:
        number = self._made
        self._made += 1
        body = TransactionBody(
            version=TRANSACTION_VERSION,
            inputs=inputs,
            outputs=tuple(
                TransactionOutput(AMOUNT, self._locks[(number * 7 + k) % _LOCKS])
                for k in range(outputs)
            ),
            memo=b"" if inputs else number.to_bytes(8, "big"),
        )
        witness = Witness(self._policies[number % _LOCKS], 1, (_SIGNATURE,))
        return Transaction(body, (witness,) if inputs else ()), make_txid(body)

    def _coins_of(self, txid: bytes, transaction: Transaction) -> Iterator[tuple[bytes, Coin]]:
        height = self.state.height + 1
        for index, output in enumerate(transaction.body.outputs):
            yield make_outpoint(txid, index), Coin(output.amount, output.lock, height)

    def _decide(
        self,
        transactions: list[Transaction],
        created: list[tuple[bytes, Coin]],
        spent: Sequence[tuple[bytes, Coin]],
    ) -> BlockDecided:
        below, height = self.state, self.state.height + 1
        header = BlockHeader(
            version=1,
            chain_id=self.genesis.chain_id,
            height=height,
            previous=below.block_id,
            previous_closing=below.closing_id,
            epoch=below.epoch,
            time_ms=below.time_ms + BLOCK_MS,
            transaction_root=_NOTHING,
            set_hash=self._committee.set_hash,
            evidence_root=_NOTHING,
            previous_commit_hash=_NOTHING,
            proposer=self._committee.members[0].member_id,
            closing=None,
        )
        derived = tuple(derive_transactions(transactions).derived)
        block = AssembledBlock(header, self._certificate, derived, ())
        block_id = make_block_id(header)
        self._certificate = self._sign(height, block_id, header.time_ms)
        closes_epoch = height % self.genesis.closing_every == 0
        self.state = replace(
            below,
            height=height,
            block_id=block_id,
            epoch=below.epoch + closes_epoch,
            time_ms=header.time_ms,
            coin_count=below.coin_count + len(created) - len(spent),
            coin_sum=below.coin_sum
            + sum(coin.amount for _, coin in created)
            - sum(coin.amount for _, coin in spent),
        )
        return BlockDecided(
            block=block,
            certificate=self._certificate,
            delta=CoinDelta(
                height=height,
                created=tuple(created),
                spent=tuple(spent),
                txids=tuple([each.txid for each in derived]),
            ),
            state=self.state,
            freeze=None,
            closes_epoch=closes_epoch,
            dropped_batches=(),
        )

    def _sign(self, height: int, block_id: bytes, time_ms: int) -> CommitCertificate:
        signatures = tuple(
            CommitSignature(member.member_id, time_ms, _SIGNATURE)
            for member in self._committee.members[:3]
        )
        return CommitCertificate(height, 0, block_id, signatures)
