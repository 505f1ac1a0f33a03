"""What a transcript calls payments, batches, blocks and coins, so that no hash stands in it."""

from collections.abc import Iterable
from string import ascii_lowercase

from lockstep.primitives.bitmap import MalformedBitmap, iterate_bits, parse_bitmap
from lockstep.primitives.block import CompactBlock, make_block_id
from lockstep.primitives.evidence import (
    ConflictingBallots,
    ConflictingFreezes,
    ConflictingProposals,
    ConflictingVotes,
    Evidence,
    OmittedConfirm,
)
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.ids import outpoint_index
from lockstep.primitives.transaction import Transaction, VerifiedBatch
from lockstep.primitives.votes import Entry
from unit.replica.cluster import txid_of


def describe_evidence(evidence: Evidence) -> str:
    """Return what a piece of evidence shows of its member [N4]."""
    match evidence:
        case ConflictingVotes(kind=kind):
            return f"two {kind.name.lower()}s on one coin in epoch {evidence.epoch}"
        case ConflictingFreezes():
            return f"two FREEZEs in epoch {evidence.epoch}"
        case ConflictingBallots(kind=kind, height=height, round=round_number):
            return f"two {kind.name.lower()}s in {height}/{round_number}"
        case ConflictingProposals(height=height, round=round_number):
            return f"two proposals in {height}/{round_number}"
        case OmittedConfirm():
            return f"a Confirm that its FREEZE of epoch {evidence.epoch} lacks"


class Names:
    """Names both ways.

    Payments, batches and forged blocks are named by the script; a batch that a node makes is named
    by its payments, like `a+b`, and a block that a node makes by its height and a letter, like
    `2a`, in the order in which the blocks are first spoken of.
    """

    def __init__(self, genesis: Genesis) -> None:
        self.payments: dict[str, Transaction] = {}
        self.batches: dict[str, VerifiedBatch] = {}
        self.blocks: dict[str, CompactBlock] = {}
        self._txids: dict[bytes, str] = {}
        self._batch_ids: dict[bytes, str] = {}
        self._block_ids: dict[bytes, str] = {}
        self._made: dict[int, int] = {}
        self._coins = {
            genesis_outpoint(genesis.chain_id, index): f"coin {index}"
            for index in range(len(genesis.coins))
        }

    def add_payment(self, name: str, payment: Transaction) -> None:
        self.payments[name] = payment
        self._txids[txid_of(payment)] = name

    def add_batch(self, name: str, batch: VerifiedBatch) -> None:
        self.batches.setdefault(name, batch)
        self._batch_ids.setdefault(batch.batch_id, name)

    def add_block(self, name: str, block: CompactBlock) -> None:
        self.blocks[name] = block
        self._block_ids[make_block_id(block.header)] = name

    def note_block(self, block: CompactBlock) -> None:
        """Remember a block that a node proposes."""
        block_id = make_block_id(block.header)
        self.blocks.setdefault(self.block(block_id, block.header.height), block)

    def payment(self, txid: bytes) -> str:
        return self._txids.get(txid, "coinbase")

    def sorted(self, txids: Iterable[bytes]) -> str:
        """Return the names of these payments, without the coinbase, with blanks between."""
        return " ".join(sorted(self._txids[txid] for txid in txids if txid in self._txids))

    def batch(self, batch_id: bytes) -> str:
        return self._batch_ids.get(batch_id, "unheard-of")

    def block(self, block_id: bytes | None, height: int) -> str:
        """Return a block's name and make one if it has none."""
        if block_id is None:
            return "nil"
        if block_id not in self._block_ids:
            made = self._made[height] = self._made.get(height, 0) + 1
            self._block_ids[block_id] = f"{height}{ascii_lowercase[made - 1]}"
        return self._block_ids[block_id]

    def coin(self, outpoint: bytes) -> str:
        """Return the name of an output: `coin 3` of genesis, or `a:0` that payment a makes."""
        name = self._coins.get(outpoint)
        return name or f"{self.payment(outpoint[:32])}:{outpoint_index(outpoint)}"

    def entries(self, entries: Iterable[Entry]) -> str:
        """Return the payments that the entries name, a batch after the other."""
        found: list[str] = []
        for entry in entries:
            batch = self.batches.get(self.batch(entry.batch_id))
            if batch is None:
                found.append("unheard-of")
                continue
            try:
                bits = parse_bitmap(entry.bitmap, len(batch.txids))
            except MalformedBitmap:
                found.append("malformed")
                continue
            found += [self.payment(batch.txids[position]) for position in iterate_bits(bits)]
        return " ".join(found) or "nothing"
