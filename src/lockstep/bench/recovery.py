"""`lockstep bench recovery`: a start after a crash, with a full journal and blocks above the index.

One member of four has voted for batches of 400 payments, confirmed them and seen the quorum, and
none is in a block yet; beside them blocks are decided that the index lacks. Its directory is copied
as a crash leaves it, and opened: pages walked, rows counted, blocks read again; then the journal is
read and replayed into a replica. Signatures are made up: recovery looks at none.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from lockstep.bench import course
from lockstep.bench.made_payments import PaymentMaker, make_genesis, make_key
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.crypto.keys import SodiumVerifier
from lockstep.errors import Misuse
from lockstep.ledger.blocks import AssembledBlock
from lockstep.ledger.coins import Coin
from lockstep.ledger.state import ChainState
from lockstep.ledger.transition import replay_transactions
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.block import (
    BlockHeader,
    CommitCertificate,
    CommitSignature,
    make_block_id,
)
from lockstep.primitives.codec import encode
from lockstep.primitives.committee import make_member_id
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.transaction import Batch, Transaction, make_batch_id, make_txid
from lockstep.primitives.votes import Entry, Vote, VoteKind
from lockstep.replica.effects import (
    BatchHeld,
    BlockDecided,
    OwnConfirm,
    OwnVote,
    QuorumConfirmed,
    Record,
)
from lockstep.replica.replica import Replica
from lockstep.replica.witnesses import derive_transactions
from lockstep.storage.flusher import FlushLimits
from lockstep.storage.store import Store

PAYMENTS: Final = 100_000
BATCH: Final = 400
BLOCKS: Final = 8
BLOCK_PAYMENTS: Final = 2_500
SAMPLES_MAX: Final = 3
S_MAX: Final = 5.0
"""How long a start with a journal of `PAYMENTS` may take on a machine of its own."""
PARTS: Final = ("open", "read", "replay")
_MEMBERS: Final = 4
_QUORUM: Final = 3
_BY_HAND: Final = FlushLimits(changes=10**9, age_s=1e9, is_concurrent=False)
_NOTHING: Final = bytes(32)


def run(request: Request) -> Report:
    """Write the directory once, then start from copies of it."""
    figures = measure_recovery(
        min(request.repetitions, SAMPLES_MAX), payments=PAYMENTS, block_payments=BLOCK_PAYMENTS
    )
    cpu_s = sum(figures[part].cpu for part in PARTS) * PAYMENTS / 1e6
    wall_s = sum(figures[part].wall for part in PARTS) * PAYMENTS / 1e6
    content: dict[str, Any] = {
        "payments": PAYMENTS,
        "payments_in_blocks": BLOCKS * BLOCK_PAYMENTS,
        "seconds": round(wall_s, 2),
        "cpu_seconds": round(cpu_s, 2),
        "seconds_max": S_MAX,
        "us_per_payment": {part: figures[part].cpu for part in PARTS},
    }
    whole = f"takes {wall_s:.2f} s, {cpu_s:.2f} s of them CPU; {S_MAX:g} s are allowed"
    lines = [
        f"a start with {PAYMENTS:,} payments in the journal {whole}",
        *(f"  {part}: {figures[part].cpu:.2f} CPU microseconds a payment" for part in PARTS),
    ]
    # Neighbours on the machine stretch what passes, and are no fault of ours.
    return Report(figures=figures, content=content, lines=lines, is_good=cpu_s <= S_MAX)


def measure_recovery(samples: int, *, payments: int, block_payments: int) -> dict[str, Figure]:
    """Return what each part of a start costs a payment of the journal."""
    maker = _Maker(payments + BLOCKS * block_payments)
    taken: dict[str, list[tuple[float, float]]] = {part: [] for part in PARTS}
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as place:
        lived, left = Path(place) / "lived", Path(place) / "left"
        lived.mkdir()
        maker.write(lived, left, payments=payments, block_payments=block_payments)
        for number in range(samples):
            if number and course.is_cut_short():
                break
            crashed = Path(place) / f"crashed{number}"
            shutil.copytree(left, crashed)
            for part, (cpu_s, wall_s) in zip(PARTS, _start(crashed, maker), strict=True):
                taken[part].append((cpu_s * 1e6 / payments, wall_s * 1e6 / payments))
            course.advance(number + 1, samples)
            shutil.rmtree(crashed)
    return {part: summarise(found) for part, found in taken.items()}


def _start(directory: Path, maker: "_Maker") -> list[tuple[float, float]]:
    """Start as a node does; return CPU and wall seconds of each part."""
    clock = [(time.process_time(), time.perf_counter())]
    key = maker.key
    store = Store.open(directory, maker.genesis, voting_key=key.public_key, limits=_BY_HAND)
    try:
        readers, tip = store.readers(), store.load_tip()
        clock.append((time.process_time(), time.perf_counter()))
        journal = store.load_journal()
        clock.append((time.process_time(), time.perf_counter()))
        replica = Replica(
            genesis=maker.genesis,
            state=store.load_state(),
            view=readers,
            signer=key,
            verifier=SodiumVerifier(),
            tip_certificate=None if tip is None else tip.certificate,
            has_amnesia=store.has_amnesia,
        )
        replica.recover(journal, tip, readers.deltas())
        clock.append((time.process_time(), time.perf_counter()))
        pool = replica.view.pool()
        if pool.voted + pool.final < maker.held:
            raise Misuse("the replica does not hold the payments of its journal")
    finally:
        store.close()
    return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(clock)]


class _Maker:
    """Makes what a member writes in a life without blocks for its payments.

    Attributes:
        held: Payments in the journal.
    """

    def __init__(self, coins: int) -> None:
        """Make a genesis with a coin for each payment."""
        self.genesis: Genesis = make_genesis([1] * _MEMBERS, coins=coins)
        self.key = make_key("member", 0)
        self.held = 0
        self._own_id = make_member_id(self.key.public_key)
        ids = [member.member_id for member in self.genesis.committee.members]
        self._others = [member_id for member_id in ids if member_id != self._own_id]
        self._payer = PaymentMaker(self.genesis, is_signing=False)
        self._paid = self._spoken = 0

    def write(self, lived: Path, left: Path, *, payments: int, block_payments: int) -> None:
        """Write the directory `lived`, and copy it to `left` as a crash would leave it."""
        Store.create(lived, self.genesis, voting_key=self.key.public_key)
        store = Store.open(lived, self.genesis, voting_key=self.key.public_key, limits=_BY_HAND)
        try:
            state = store.load_state()
            for _ in range(BLOCKS):
                record = self._decide(state, self._pay(block_payments))
                store.commit([record])
                state = record.state
            while self.held < payments:
                size = min(BATCH, payments - self.held)
                store.commit(self._finalise(self._pay(size)))
                self.held += size
            shutil.copytree(lived, left)
        finally:
            store.close()

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return coins of genesis, which are all that is spent."""
        chain_id, coins = self.genesis.chain_id, self.genesis.coins
        found: list[Coin | None] = []
        for outpoint in outpoints:
            number = int.from_bytes(outpoint[len(chain_id) :], "big")
            output = coins[number]
            is_known = outpoint == genesis_outpoint(chain_id, number)
            found.append(Coin(output.amount, output.lock, 0) if is_known else None)
        return found

    def height_of(self, txid: bytes) -> int | None:  # noqa: ARG002  # Nobody asks.
        """Return nothing: no payment spends another's output."""
        return None

    def _pay(self, count: int) -> tuple[Transaction, ...]:
        first, self._paid = self._paid, self._paid + count
        return tuple(self._payer.pay(index) for index in range(first, self._paid))

    def _decide(self, below: ChainState, payments: tuple[Transaction, ...]) -> BlockDecided:
        height = below.height + 1
        header = BlockHeader(
            version=1,
            chain_id=self.genesis.chain_id,
            height=height,
            previous=below.block_id,
            previous_closing=below.closing_id,
            epoch=below.epoch,
            time_ms=below.time_ms + 1,
            transaction_root=_NOTHING,
            set_hash=self.genesis.committee.set_hash,
            evidence_root=_NOTHING,
            previous_commit_hash=_NOTHING,
            proposer=self._own_id,
            closing=None,
        )
        block_id = make_block_id(header)
        signatures = tuple(
            CommitSignature(voter, header.time_ms, self._sign()) for voter in self._others
        )
        certificate = CommitCertificate(height, 0, block_id, signatures)
        delta = replay_transactions(
            [(make_txid(payment.body), payment) for payment in payments], view=self, height=height
        )
        made = sum(coin.amount for _, coin in delta.created)
        spent = sum(coin.amount for _, coin in delta.spent)
        after = replace(
            below,
            height=height,
            block_id=block_id,
            time_ms=header.time_ms,
            coin_count=below.coin_count + len(delta.created) - len(delta.spent),
            coin_sum=below.coin_sum + made - spent,
            fees_pending=below.fees_pending + spent - made,
        )
        derived = tuple(derive_transactions(payments).derived)
        block = AssembledBlock(header, None, derived, ())
        return BlockDecided(
            block, certificate, delta, after, None, closes_epoch=False, dropped_batches=()
        )

    def _finalise(self, payments: tuple[Transaction, ...]) -> list[Record]:
        """Return what a member writes from the batch's coming until its payments are final."""
        leaves = [row.leaf for row in derive_transactions(payments).derived]
        batch_id = make_batch_id(leaves)
        everything = bitmap_bytes((1 << len(payments)) - 1, len(payments))
        entry = Entry(batch_id, everything)

        def speak(kind: VoteKind, voter: bytes) -> Vote:
            return Vote(kind, 0, voter, (entry,), self._sign())

        own = [speak(kind, self._own_id) for kind in (VoteKind.VOTE, VoteKind.CONFIRM)]
        votes, confirms = (
            tuple(speak(kind, voter) for voter in self._others[: _QUORUM - 1])
            for kind in (VoteKind.VOTE, VoteKind.CONFIRM)
        )
        return [
            BatchHeld(batch_id, encode(Batch(transactions=payments)), ()),
            OwnVote(own[0]),
            OwnConfirm(own[1], (own[0], *votes)),
            QuorumConfirmed((own[1], *confirms)),
        ]

    def _sign(self) -> bytes:
        """Return 64 bytes that are no signature, and are the only ones of their kind."""
        self._spoken += 1
        return self._spoken.to_bytes(64, "big")
