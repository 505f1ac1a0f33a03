"""What stands around a node's verifier, and the frames that tests hand it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from lockstep.crypto.keys import SecretKey, SignatureCheck, SodiumVerifier, Verifier
from lockstep.ledger.state import ChainState, initial_state
from lockstep.node.committees import ChainFacts
from lockstep.node.verifier import FrameVerifier
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis, GenesisMember, genesis_committee
from lockstep.primitives.messages import (
    Message,
    Status,
    encode_message,
)
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import Entry, Vote, VoteKind, make_vote_digest
from lockstep.replica.blockpages import BlockAssembler
from lockstep.replica.events import Event

KEYS = [SecretKey(bytes([i]) * 32) for i in range(1, 5)]
GENESIS = Genesis(
    1,
    "devnet",
    0,
    10,
    250,
    1000,
    tuple(GenesisMember(key.public_key, key.public_key, 1, bytes(32)) for key in KEYS),
    (),
)
COMMITTEE = genesis_committee(GENESIS)
ALICE, BOB = b"\x0a" * 32, b"\x0b" * 32


class View:
    """A chain whose epoch the test sets.

    `needed` is how many members have to speak for a batch before their words may complete anything.
    """

    chain_id = GENESIS.chain_id

    def __init__(self) -> None:
        self.state: ChainState = initial_state(GENESIS)
        self.asked = 0
        self.needed = 1

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        self.asked += 1
        return COMMITTEE if epoch <= self.state.epoch + 1 else None

    def has_batch(self, batch_id: bytes) -> bool:
        return batch_id == ALICE

    def may_complete(
        self, kind: VoteKind, epoch: int, batch_id: bytes, voters: Collection[bytes]
    ) -> bool:
        return len(voters) >= self.needed

    def is_wanted_height(self, height: int) -> bool:
        return height > self.state.height

    def find_verified(self, txid: bytes) -> VerifiedTransaction | None:
        return None


class Gated(SodiumVerifier):
    """Notes the thread and size of each job; works only while the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Event()
        self.jobs: list[int] = []

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        assert threading.current_thread() is not threading.main_thread()
        self.jobs.append(len(checks))
        self.started.set()
        assert self.gate.wait(5)
        return super().verify_many(checks)


class Shell:
    """What stands around the verifier: the inbox, the peers, the counters.

    `verifier` is the gated one unless another is given; `is_inline` judges on the loop.
    """

    def __init__(
        self, *, threads: int = 1, other: Verifier | None = None, is_inline: bool = False
    ) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.sent: list[tuple[bytes, Message]] = []
        self.faults: list[tuple[bytes, str]] = []
        self.signatures = 0
        self.judging_s = self.opening_s = 0.0
        self.left_out = 0
        self.codes: list[str] = []
        self.verifier = Gated()
        self.assembler = BlockAssembler()
        self.view = View()
        self.frames = FrameVerifier(
            chain=ChainFacts(self.view, GENESIS.closing_every),
            verifier=other or self.verifier,
            peers=self,
            requests=self.assembler,
            post=self.events.put,
            observer=self,
            threads=threads,
            is_inline=is_inline,
        )

    async def deliver(self, peer: bytes, frames: Sequence[bytes]) -> None:
        if not self.frames.deliver(peer, frames):
            await self.frames.room(peer)

    def broadcast(self, message: Message) -> None:
        raise AssertionError("the verifier says nothing to all")

    def send(self, peer: bytes, message: Message) -> None:
        self.sent.append((peer, message))

    def flush(self) -> None:
        """Nothing is queued here."""

    def penalise(self, peer: bytes, code: str) -> None:
        self.faults.append((peer, code))

    def on_judged(self, *, signatures: int, cpu_seconds: float) -> None:
        assert cpu_seconds >= 0
        self.judging_s += cpu_seconds
        self.signatures += signatures

    def on_opened(self, *, cpu_seconds: float) -> None:
        assert cpu_seconds >= 0
        self.opening_s += cpu_seconds

    def on_left_out(self, *, messages: int, batches: int) -> None:
        self.left_out += messages
        assert batches == 0

    def on_fault(self, code: str) -> None:
        self.codes.append(code)

    async def next(self) -> Event:
        async with asyncio.timeout(30):
            return await self.events.get()


@asynccontextmanager
async def running(shell: Shell) -> AsyncIterator[Shell]:
    before = asyncio.all_tasks()
    task = asyncio.create_task(shell.frames.run())
    try:
        yield shell
    finally:
        shell.verifier.gate.set()
        task.cancel()
        await asyncio.wait([task])
    assert asyncio.all_tasks() == before
    assert not [t for t in threading.enumerate() if t.name.startswith("verifier")]


def vote(key: SecretKey, number: int, *, epoch: int = 0) -> bytes:
    entries = (Entry(number.to_bytes(32), b"\x01"),)
    digest = make_vote_digest(
        chain_id=GENESIS.chain_id, kind=VoteKind.VOTE, epoch=epoch, entries=entries
    )
    member = COMMITTEE.members[[m.voting_key for m in COMMITTEE.members].index(key.public_key)]
    return encode_message(Vote(VoteKind.VOTE, epoch, member.member_id, entries, key.sign(digest)))


def status(height: int) -> bytes:
    return encode_message(Status(height, bytes(32), 0))
