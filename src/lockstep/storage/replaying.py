"""Reading again the blocks above the index, as every start does [T8, D2].

What they changed is derived from the blocks and the coins below by the ledger's own rule, so that
there is no second account of it that could differ.
"""

from collections.abc import Sequence

from lockstep.errors import Rejected
from lockstep.ledger.coins import Coin
from lockstep.ledger.state import ChainState
from lockstep.ledger.transition import replay_transactions
from lockstep.primitives.block import make_block_id
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import DecidedBlock
from lockstep.primitives.transaction import make_txid
from lockstep.storage.blocks import load_decided
from lockstep.storage.faults import CorruptedRecord, typed_faults
from lockstep.storage.index import Index
from lockstep.storage.layers import Layer
from lockstep.storage.schema import Mark, Tables, height_key
from lockstep.storage.tables import LmdbTransaction


def replay_blocks(
    txn: LmdbTransaction, tables: Tables, index: Index, *, genesis: Genesis, state: ChainState
) -> list[Layer]:
    """Return the layers of the blocks from the index's mark to the tip at `state`.

    Raises:
        CorruptedRecord: If index and chain do not fit each other.
    """
    with typed_faults("reading blocks again"), index.env.begin() as index_txn:
        mark = index.load_mark(index_txn)
        _check_mark(txn, tables, mark, genesis=genesis, state=state)
        replay = _Replay(index, index_txn, mark)
        for height in range(mark.height + 1, state.height + 1):
            replay.follow(load_decided(txn, tables, height))
    if (replay.coin_count, replay.coin_sum) != (state.coin_count, state.coin_sum):
        raise CorruptedRecord(
            f"index and blocks make {replay.coin_count} coins of {replay.coin_sum} base units "
            f"where the state of the chain counts {state.coin_count} of {state.coin_sum}"
        )
    return replay.layers


def _check_mark(
    txn: LmdbTransaction, tables: Tables, mark: Mark, *, genesis: Genesis, state: ChainState
) -> None:
    """Refuse an index of another chain, or one ahead of this one."""
    if mark.height > state.height:
        raise CorruptedRecord(f"the index is at {mark.height}, the chain at {state.height}")
    known = genesis.chain_id
    if mark.height:
        height = tables.block_index.get(txn, mark.block_id)
        known = mark.block_id if height == height_key(mark.height) else b""
    if mark.block_id != known:
        raise CorruptedRecord(f"the block at which the index stands, {mark.height}, is another")


class _Replay:
    """The coins above the index, block by block; a view of those below the next one."""

    def __init__(self, index: Index, txn: LmdbTransaction, mark: Mark) -> None:
        self.layers: list[Layer] = []
        self.coin_count, self.coin_sum = mark.coin_count, mark.coin_sum
        self._index = index
        self._txn = txn
        self._known: dict[bytes, Coin | None] = {}

    def follow(self, decided: DecidedBlock) -> None:
        """Add the layer of the next block."""
        header = decided.block.header
        transactions = [(make_txid(row.body), row) for row in decided.block.transactions]
        try:
            delta = replay_transactions(transactions, view=self, height=header.height)
        except Rejected as fault:
            raise CorruptedRecord(
                f"the block of height {header.height} does not stand on the index: {fault}"
            ) from fault
        self.coin_count += len(delta.created) - len(delta.spent)
        self.coin_sum += sum([coin.amount for _, coin in delta.created])
        self.coin_sum -= sum([coin.amount for _, coin in delta.spent])
        layer = Layer(
            delta,
            block_id=make_block_id(header),
            coin_count=self.coin_count,
            coin_sum=self.coin_sum,
        )
        layer.lay_over(self._known)
        self.layers.append(layer)

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each outpoint, None where it is spent or unknown."""
        known, load = self._known, self._index.load_coin
        return [known[o] if o in known else load(self._txn, o) for o in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of a transaction that the index has, or None."""
        place = self._index.load_place(self._txn, txid)
        return None if place is None else place.height
