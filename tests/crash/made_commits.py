"""A chain of commits made from one seed, and what a database must hold after each of them.

Everything a node reads goes into one digest, so that two databases can be compared by a word.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from msgspec.structs import replace

from lockstep.crypto.keys import SecretKey
from lockstep.ledger.coins import Coin
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import make_block_id
from lockstep.primitives.codec import encode
from lockstep.primitives.transaction import make_txid
from lockstep.replica.effects import AmnesiaEnded, AmnesiaNoted, Record
from lockstep.storage.flusher import FlushLimits
from lockstep.storage.store import Store
from unit.storage.journal_model import JournalModel, essence
from unit.storage.made_chain import MadeChain, make_genesis

SEED = 11
NODE_SEED = bytes(range(32, 64))
VOTING_SEED = bytes(range(32))
VOTING_KEY = SecretKey(VOTING_SEED).public_key
_DRAWN = make_genesis(120)
_OWN = replace(_DRAWN.members[0], voting_key=VOTING_KEY, node_key=SecretKey(NODE_SEED).public_key)
GENESIS = replace(_DRAWN, members=(_OWN, *_DRAWN.members[1:]))
LIMITS = FlushLimits(changes=70, is_concurrent=False)
"""A flush about every fourth block, within the commit, so that a run can be repeated."""
EPOCH_HEIGHTS = 5
PAYMENTS = 5


@dataclass
class MadeCommits:
    """The same commits in every process; `digest` is of what those taken so far leave.

    Attributes:
        taken: How many were taken.
    """

    taken: int = 0
    chain: MadeChain = field(default_factory=lambda: MadeChain(GENESIS, seed=SEED))
    model: JournalModel = field(default_factory=JournalModel)

    def __post_init__(self) -> None:
        self._rows = self._make()

    def take(self) -> list[Record]:
        """Return the records of the next commit."""
        self.taken += 1
        records = next(self._rows)
        self.model.commit(records)
        return records

    def digest(self) -> str:
        """Return the digest of a database that holds what was taken."""
        chain = self.chain
        return _digest(
            chain.state,
            self.model.expected(),
            (encode(record.decided) for record in chain.blocks),
            sorted(chain.coins.items()),
            (height for _, (_, height, _) in sorted(chain.places.items())),
        )

    def _make(self) -> Iterator[list[Record]]:
        chain, dice = self.chain, self.chain.dice
        while True:
            batch = chain.batch(dice.choice((200, 3_000, 20_000)))
            height = chain.state.height + 1
            within = height % EPOCH_HEIGHTS
            amnesia: list[Record] = [AmnesiaNoted(chain.state.epoch + 1)] if within == 2 else []
            if within == 4:
                amnesia.append(AmnesiaEnded())
            yield [batch, chain.own_vote(), chain.evidence(), *amnesia]
            yield [chain.round_signed(height), chain.own_confirm(), chain.quorum()]
            yield [
                chain.decide(
                    PAYMENTS,
                    closes_epoch=within == 0,
                    freeze=chain.freeze() if within == EPOCH_HEIGHTS - 1 else None,
                    dropped=(batch.batch_id,) if height % 2 else (),
                )
            ]


def digests(count: int) -> list[str]:
    """Return what a database is after 0, 1, ... `count` commits."""
    commits = MadeCommits()
    found = [commits.digest()]
    for _ in range(count):
        commits.take()
        found.append(commits.digest())
    return found


def open_store(directory: Path) -> Store:
    """Open the database of these commits."""
    return Store.open(directory, GENESIS, voting_key=VOTING_KEY, limits=LIMITS)


def digest_of(store: Store) -> str:
    """Return the digest of everything a node reads from this database."""
    return _digest(store.load_state(), map(essence, store.load_journal()), *chain_of(store))


def chain_of(store: Store) -> tuple[list[bytes], list[tuple[bytes, Coin]], list[int | None]]:
    """Return blocks, coins and the heights of transactions; what else is read must fit them."""
    readers = store.readers()
    blocks: list[bytes] = []
    txids: list[bytes] = []
    for height in range(1, store.load_state().height + 1):
        decided = readers.decided(height)
        assert decided is not None
        assert readers.height_of_block(make_block_id(decided.block.header)) == height
        for position, transaction in enumerate(decided.block.transactions):
            txid = make_txid(transaction.body)
            assert readers.transaction(txid) == (transaction, height, position)
            txids.append(txid)
        blocks.append(encode(decided))
    coins = readers.all_coins()
    for lock in {coin.lock for _, coin in coins}:
        expected = [row for row in coins if row[1].lock == lock]
        assert readers.coins_of_lock(lock, limit=len(coins) + 1) == expected
    return blocks, coins, [readers.height_of(txid) for txid in sorted(txids)]


def _digest(
    state: ChainState,
    journal: Iterable[object],
    blocks: Iterable[bytes],
    coins: Iterable[tuple[bytes, Coin]],
    heights: Iterable[int | None],
) -> str:
    digest = blake2b(encode(state), digest_size=16)
    for record in journal:
        digest.update(encode(record))
    for block in blocks:
        digest.update(block)
    for outpoint, coin in coins:
        digest.update(outpoint + encode(coin))
    digest.update(encode(list(heights)))
    return digest.hexdigest()
