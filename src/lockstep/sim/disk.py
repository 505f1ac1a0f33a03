"""A simulated disk: what survives a crash, with the semantics of the real store [D1, D2, T8].

Records become durable together at the end of a commit, or not at all. Trimming follows
`BlockDecided`, as the storage room does, so that recovery replays here what it replays there.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Self

from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.folding import rebuild_delta
from lockstep.ledger.state import ChainState, initial_state
from lockstep.primitives import codec
from lockstep.primitives.evidence import Subject, evidence_subject
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.messages import BlockPage, DecidedBlock
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.replica.effects import (
    AmnesiaEnded,
    AmnesiaNoted,
    BatchHeld,
    BlockDecided,
    EvidenceHeld,
    OwnFreeze,
    Record,
    RoundSigned,
)


class Disk:
    """The durable state of one node, and the coin view over it; it outlives its replicas.

    Attributes:
        state: The chain's state as last committed.
        coins: All coins by outpoint.
        blocks: Decided blocks; that of height h stands at h - 1.
        has_amnesia: Whether the voting key may have signed what the journal lacks.
    """

    def __init__(self, genesis: Genesis, *, is_intact: bool = True) -> None:
        """Make the disk of a node just initialised, or not intact, of one that was wiped [D3]."""
        self.state: ChainState = initial_state(genesis)
        self.coins: dict[bytes, Coin] = {
            genesis_outpoint(genesis.chain_id, index): Coin(output.amount, output.lock, 0)
            for index, output in enumerate(genesis.coins)
        }
        self.blocks: list[DecidedBlock] = []
        self.has_amnesia = not is_intact
        self._heights: dict[bytes, int] = {}
        self._spent: dict[int, tuple[tuple[bytes, Coin], ...]] = {}
        self._batches: dict[bytes, BatchHeld] = {}
        self._journal: list[Record] = []
        self._amnesia: list[Record] = []
        self._evidence: dict[Subject, EvidenceHeld] = {}

    @property
    def tip(self) -> DecidedBlock | None:
        """Return the last decided block, None at genesis."""
        return self.blocks[-1] if self.blocks else None

    def copy(self) -> Self:
        """Return a backup: the same contents, and from now on a life of its own."""
        backup = copy(self)
        vars(backup).update({name: copy(held) for name, held in vars(self).items()})
        return backup

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each 36-byte outpoint, None where it is spent or unknown."""
        return [self.coins.get(outpoint) for outpoint in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None."""
        return self._heights.get(txid)

    def commit(self, records: Iterable[Record]) -> None:
        """Make the records durable, in order."""
        for record in records:
            if isinstance(record, BatchHeld):
                self._batches.setdefault(record.batch_id, record)
            elif isinstance(record, BlockDecided):
                self._follow(record)
            elif isinstance(record, AmnesiaNoted | AmnesiaEnded):
                self.has_amnesia = isinstance(record, AmnesiaNoted)
                self._amnesia = [record] if isinstance(record, AmnesiaNoted) else []
            elif isinstance(record, EvidenceHeld):
                self._evidence[evidence_subject(record.evidence)] = record
            else:
                self._journal.append(record)

    def journal(self) -> list[Record]:
        """Return what recovery replays: kept batches as they came, then the journal in order."""
        kept = (*self._evidence.values(), *self._amnesia)
        return [*self._batches.values(), *self._journal, *kept]

    def deltas(self) -> list[CoinDelta]:
        """Return what the blocks changed above the height whose sum of coins the state has [S1]."""
        return [
            rebuild_delta(self.blocks[height - 1].block, spent)
            for height, spent in self._spent.items()
        ]

    def page(self, height: int, page: int) -> BlockPage | None:
        """Return one page of a decided block, None where there is none such [T9]."""
        if not 1 <= height <= len(self.blocks):
            return None
        data = codec.encode(self.blocks[height - 1])
        pages = -(-len(data) // PAGE_BYTES_MAX)
        if page >= pages:
            return None
        start = page * PAGE_BYTES_MAX
        return BlockPage(height, page, pages, data[start : start + PAGE_BYTES_MAX])

    def _follow(self, record: BlockDecided) -> None:
        height = record.delta.height
        self._journal = [
            row
            for row in self._journal
            if not record.closes_epoch
            and not (isinstance(row, RoundSigned) and row.height <= height)
        ]
        for batch_id in record.dropped_batches:
            self._batches.pop(batch_id, None)
        for subject in record.dropped_evidence:
            self._evidence.pop(subject, None)
        for outpoint, _ in record.delta.spent:
            del self.coins[outpoint]
        self.coins.update(record.delta.created)
        self._spent[height] = record.delta.spent
        for covered in [known for known in self._spent if known <= record.state.summed_height]:
            del self._spent[covered]
        self._heights.update(dict.fromkeys(record.delta.txids, height))
        self.blocks.append(record.decided)
        self.state = record.state
        if record.freeze is not None:
            self._journal.append(OwnFreeze(record.freeze))
