"""A node that is only memory: fakes behind the RPC's ports, and a real server in front of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockstep.crypto.hashing import tagged_hash
from lockstep.errors import Fatal, Rejected
from lockstep.ledger.coins import Coin
from lockstep.ledger.state import ChainState, initial_state
from lockstep.net.roster import PeerInfo
from lockstep.primitives.block import (
    Block,
    BlockHeader,
    CommitCertificate,
    CommitSignature,
    make_block_id,
)
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis, GenesisMember, genesis_committee
from lockstep.primitives.messages import DecidedBlock
from lockstep.primitives.transaction import (
    Transaction,
    TransactionBody,
    TransactionOutput,
    make_txid,
)
from lockstep.primitives.votes import Entry, Vote, VoteKind
from lockstep.replica.answers import (
    CoinAnswer,
    ConsensusAnswer,
    PaymentState,
    PendingPayment,
    PoolAnswer,
    RefusedPayment,
    VotingAnswer,
    VotingState,
)
from lockstep.replica.openpayments import OpenPayment, open_body, open_encoded
from lockstep.rpc.faults import SubmissionBusy
from lockstep.rpc.listening import bind_rpc
from lockstep.rpc.ports import SubmitResult
from lockstep.rpc.server import RpcServer
from lockstep.rpc.service import NodeService


def make_hash(word: str) -> bytes:
    return tagged_hash("test", word.encode())


LOCK = make_hash("lock")
GENESIS = Genesis(
    version=1,
    network="devnet",
    time_ms=1_700_000_000_000,
    closing_every=10,
    block_interval_ms=250,
    idle_interval_ms=1000,
    members=tuple(
        GenesisMember(make_hash(f"voting {i}"), make_hash(f"node {i}"), 1, make_hash(f"payout {i}"))
        for i in range(4)
    ),
    coins=(TransactionOutput(10**16, LOCK),),
)
COMMITTEE = genesis_committee(GENESIS)
OWN = COMMITTEE.members[0]


def make_payment(word: str, *, amount: int = 1_000_000, memo: bytes = b"") -> Transaction:
    body = TransactionBody(
        version=1,
        inputs=(make_hash(word) + bytes(4),),
        outputs=(TransactionOutput(amount, LOCK),),
        memo=memo,
    )
    return Transaction(body=body, witnesses=())


def make_pending(
    transaction: Transaction, state: PaymentState = PaymentState.VOTED
) -> PendingPayment:
    return PendingPayment(
        transaction=transaction,
        txid=make_txid(transaction.body),
        size_bytes=100,
        fee=1_000,
        received_ms=1_700_000_000_000,
        state=state,
        reason="",
        vote_weight=2,
        confirm_weight=0,
        voters=tuple(member.member_id for member in COMMITTEE.members[:2]),
        confirmers=(),
        batch_id=make_hash("batch"),
    )


def make_confirm(member: int) -> Vote:
    return Vote(
        kind=VoteKind.CONFIRM,
        epoch=0,
        voter=COMMITTEE.members[member].member_id,
        entries=(Entry(make_hash("batch"), b"\x01"),),
        signature=bytes(64),
    )


def make_decided(height: int, previous: bytes, payments: Sequence[Transaction]) -> DecidedBlock:
    header = BlockHeader(
        version=1,
        chain_id=GENESIS.chain_id,
        height=height,
        previous=previous,
        previous_closing=GENESIS.chain_id,
        epoch=0,
        time_ms=GENESIS.time_ms + height,
        transaction_root=bytes(32),
        set_hash=COMMITTEE.set_hash,
        evidence_root=bytes(32),
        previous_commit_hash=bytes(32),
        proposer=OWN.member_id,
        closing=None,
    )
    block = Block(header, None, tuple(payments), (), ())
    signatures = tuple(
        CommitSignature(member.member_id, header.time_ms, bytes(64))
        for member in COMMITTEE.members[:3]
    )
    return DecidedBlock(block, CommitCertificate(height, 0, make_block_id(header), signatures))


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until the condition holds; the test's own time-out ends a bad wait."""
    while not condition():  # noqa: ASYNC110  # What is looked at knows of no test, so sets no event.
        await asyncio.sleep(0)


class FakeReaders:
    """What is synced."""

    def __init__(self) -> None:
        self.blocks: list[DecidedBlock] = []
        self.coins: dict[bytes, Coin] = {}
        self.damage: Exception | None = None

    def state(self) -> ChainState:
        state = initial_state(GENESIS)
        fields = {name: getattr(state, name) for name in state.__struct_fields__}
        if self.blocks:
            tip = self.blocks[-1]
            fields |= {"height": len(self.blocks), "block_id": tip.certificate.block_id}
            fields |= {"time_ms": tip.block.header.time_ms}
        return ChainState(**fields)

    def decided(self, height: int) -> DecidedBlock | None:
        if self.damage:
            raise self.damage
        return self.blocks[height - 1] if 0 < height <= len(self.blocks) else None

    def height_of_block(self, block_id: bytes) -> int | None:
        ids = [decided.certificate.block_id for decided in self.blocks]
        return ids.index(block_id) + 1 if block_id in ids else None

    def transaction(self, txid: bytes) -> tuple[Transaction, int, int] | None:
        for height, decided in enumerate(self.blocks, 1):
            for position, transaction in enumerate(decided.block.transactions):
                if make_txid(transaction.body) == txid:
                    return transaction, height, position
        return None

    def coins_of_lock(
        self, lock: bytes, after: bytes | None = None, *, limit: int
    ) -> list[tuple[bytes, Coin]]:
        rows = [(o, c) for o, c in sorted(self.coins.items()) if c.lock == lock]
        return [row for row in rows if after is None or row[0] > after][:limit]


class FakeView:
    """What the core remembers; `ahead` lets it be one decided block before the disk."""

    genesis = GENESIS
    chain_id = GENESIS.chain_id
    own_id: bytes | None = OWN.member_id
    tip_certificate: CommitCertificate | None = None

    def __init__(self, readers: FakeReaders) -> None:
        self.readers = readers
        self.ahead: DecidedBlock | None = None
        self.pendings: dict[bytes, PendingPayment] = {}
        self.final: set[bytes] = set()
        self.refusals: dict[bytes, RefusedPayment] = {}
        self.answers: dict[bytes, CoinAnswer] = {}
        self.spenders: dict[bytes, bytes] = {}
        self.incoming: list[tuple[bytes, int, PaymentState]] = []
        self.catching_up = False
        self.silence: VotingAnswer | None = None

    @property
    def state(self) -> ChainState:
        state = self.readers.state()
        if self.ahead is None:
            return state
        fields = {name: getattr(state, name) for name in state.__struct_fields__}
        return ChainState(**(fields | {"height": state.height + 1}))

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        return COMMITTEE if epoch <= 1 else None

    def pending_evidence(self) -> list[tuple[bytes, int]]:
        return [(OWN.member_id, 1)]

    def consensus(self) -> ConsensusAnswer:
        return ConsensusAnswer(
            height=self.state.height + 1,
            round=0,
            step="propose",
            epoch=0,
            frozen=False,
            closing=False,
            members=4,
            total_weight=4,
            quorum=3,
            set_hash=COMMITTEE.set_hash,
            own_id=self.own_id,
            proposer=OWN.member_id,
            prevote_weight=1,
            precommit_weight=0,
            freezes=0,
            locked_round=-1,
            valid_round=-1,
            catching_up=self.catching_up,
        )

    def voting(self) -> VotingAnswer:
        state = VotingState.FOLLOWING if self.own_id is None else VotingState.VOTING
        return self.silence or VotingAnswer(state, 3, 3, None)

    def pool(self) -> PoolAnswer:
        return PoolAnswer(1, 100, 2, 200, 1, 3, 10_000, 300_000_000)

    def pending(self, txid: bytes) -> PendingPayment | None:
        return self.pendings.get(txid)

    def pending_page(self, cursor: bytes | None, limit: int) -> list[PendingPayment]:
        names = sorted(name for name in self.pendings if cursor is None or name > cursor)
        return [self.pendings[name] for name in names[:limit]]

    def is_final(self, txid: bytes) -> bool:
        return txid in self.final or self.height_of(txid) is not None

    def confirms_of(self, txid: bytes) -> tuple[Vote, ...]:
        return tuple(make_confirm(i) for i in range(3)) if txid in self.final else ()

    def refusal(self, txid: bytes) -> RefusedPayment | None:
        return self.refusals.get(txid)

    def coin(self, outpoint: bytes) -> CoinAnswer | None:
        return self.answers.get(outpoint)

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        return [self.readers.coins.get(outpoint) for outpoint in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        if self.ahead and txid in [make_txid(t.body) for t in self.ahead.block.transactions]:
            return self.state.height
        found = self.readers.transaction(txid)
        return found[1] if found else None

    def pending_outputs_of(self, lock: bytes) -> list[tuple[bytes, int, PaymentState]]:
        return self.incoming if lock == LOCK else []

    def pending_spends(self, outpoints: Sequence[bytes]) -> list[bytes | None]:
        return [self.spenders.get(outpoint) for outpoint in outpoints]


class FakeSubmitter:
    """Accepts everything but memos that name a code to refuse with."""

    def __init__(self) -> None:
        self.seen: list[Transaction] = []
        self.busy: SubmissionBusy | None = None
        self.retry_after_ms = 0

    async def submit(self, raws: Sequence[bytes]) -> list[SubmitResult]:
        return self._answer(open_encoded(raws))

    async def submit_batch(self, body: bytes) -> list[SubmitResult]:
        return self._answer(open_body(body))

    def _answer(self, opened: Sequence[OpenPayment | Rejected]) -> list[SubmitResult]:
        results = []
        if self.busy is not None:
            raise self.busy
        for each in opened:
            if isinstance(each, Rejected):
                results.append(SubmitResult(b"", False, each.code, str(each)))
                continue
            transaction = each.derived.transaction
            self.seen.append(transaction)
            txid, code = make_txid(transaction.body), transaction.body.memo.decode()
            sentence = "refused by the test" if code else ""
            retry_after_ms = self.retry_after_ms if code else 0
            results.append(SubmitResult(txid, not code, code, sentence, retry_after_ms))
        return results


@dataclass
class FakeNode:
    """All parts of one fake node, and what was asked of it."""

    path: Path
    readers: FakeReaders = field(default_factory=FakeReaders)
    submitter: FakeSubmitter = field(default_factory=FakeSubmitter)
    connected: list[PeerInfo] = field(default_factory=list)
    stops: int = 0
    failures: list[Fatal] = field(default_factory=list)
    settles: int = 0
    metrics: bytes = b""
    port: int = 0
    shortage: str | None = None

    def __post_init__(self) -> None:
        self.view = FakeView(self.readers)
        self.connect(1, 2, 3)
        self.service = NodeService(
            view=self.view,
            readers=self.readers,
            submitter=self.submitter,
            peers=self,
            settled=self.settled,
            stop=self._stop,
            fail=self.failures.append,
            shortage=lambda: self.shortage,
            verify_backend="sodium",
        )

    @property
    def cookie_path(self) -> Path:
        return self.path / ".cookie"

    def connect(self, *members: int) -> None:
        """Let exactly these other members be connected."""
        keys = [COMMITTEE.members[i].node_key for i in members]
        self.connected = [
            PeerInfo(
                peer=key,
                address=f"127.0.0.1:{24200 + i}",
                dialled=bool(i & 1),
                since_ms=GENESIS.time_ms,
                bytes_in=7,
                bytes_out=6,
                queued_bytes=0,
                latency_us=None,
                height=0,
                software="test",
                faults=0,
            )
            for i, key in enumerate(keys)
        ]

    def peers(self) -> Sequence[PeerInfo]:
        return self.connected

    async def settled(self) -> None:
        """Sync: what was ahead is on the disk now."""
        self.settles += 1
        await asyncio.sleep(0)
        if self.view.ahead is not None:
            self.readers.blocks.append(self.view.ahead)
            self.view.ahead = None

    def decide(self, *payments: Transaction) -> DecidedBlock:
        """Make the next block of these payments, without adding it."""
        state = self.readers.state()
        return make_decided(state.height + 1, state.block_id, payments)

    def _stop(self) -> None:
        self.stops += 1

    @asynccontextmanager
    async def serving(self, port: int = 0, **options: Any) -> AsyncIterator["FakeNode"]:
        """Serve on a loopback port; leave only when no task is left."""
        listener = bind_rpc("127.0.0.1", port)
        self.port = listener.getsockname()[1]
        server = RpcServer(
            self.service,
            sockets=[listener],
            cookie_path=self.cookie_path,
            render_metrics=lambda: self.metrics,
            **options,
        )
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(server.run())
            try:
                yield self
            finally:
                server.stop()
