"""Claim: twice the other throughput while signatures are checked.

A loop answers requests all the time while batches of payments come from peers, whose signatures
have to be checked. They come at the rate that keeps the naive loop busy for two thirds of its time;
ours gets the same batches at the pace that the naive run just before had.

The naive variant checks in the loop, as it handles a frame: decoding, deriving and judging of the
batch go on to the end, signature by signature through libsodium.

Ours is the product's `FrameVerifier` with the verifier that a node would choose here: eight at a
time on the loop, in slices of a millisecond, where the processor can; else in threads. Where it
can, the product's way without it is shown as well: libsodium in threads.

Both decode, derive and judge by the same code, and come to the same judged batches.

Measured: requests answered a second of time that passes, until all batches are judged. The loop's
own processor time would leave out what threads take from it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, Final

import msgspec

from lockstep.bench.claims.contest import Claim, Clock, Contest, Sample, run_on_loop
from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.crypto.keys import SignatureCheck, SodiumVerifier
from lockstep.errors import Misuse
from lockstep.ledger.state import ChainState, initial_state
from lockstep.node.backends import SODIUM, Backend, choose_backend, count_threads
from lockstep.node.committees import ChainFacts
from lockstep.node.verifier import FrameVerifier
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis, genesis_committee
from lockstep.primitives.messages import BatchBody, Message, encode_message
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.replica.blockpages import BlockAssembler
from lockstep.replica.events import BatchReceived, Event
from lockstep.replica.ingress import judging_frames
from lockstep.replica.judging import judge_at_once

BATCH: Final = 100
"""Payments of a batch."""
BUSY_SHARE: Final = 2 / 3
"""Of the naive loop's time goes into batches."""
CLIENTS: Final = 16
"""Requests under way at a time."""
IN_THREADS: Final = "libsodium in threads"
_PEER: Final = bytes([7]) * 32
_STATUS: Final = {
    "chain": "devnet",
    "blocks": 123_456,
    "bestblockhash": "00" * 32,
    "peers": [{"address": f"127.0.0.1:{24200 + i}", "height": 123_456 - i} for i in range(8)],
}

IsDue = Callable[[int, float], bool]
"""Whether the frame of this number is due when so much time has passed."""
Deliver = Callable[[bytes], Coroutine[Any, Any, None]]


class Facts:
    """A chain at its beginning, which has none of the batches; the verifier's surroundings too."""

    def __init__(self, genesis: Genesis) -> None:
        """Take the chain."""
        self.chain_id = genesis.chain_id
        self.state: ChainState = initial_state(genesis)
        self._committee = genesis_committee(genesis)

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return the only committee."""
        return self._committee if epoch == 0 else None

    def has_batch(self, batch_id: bytes) -> bool:  # noqa: ARG002  # The port's signature.
        """Hold nothing."""
        return False

    def may_complete(self, *_: object) -> bool:
        """Let nothing wait."""
        return True

    def is_wanted_height(self, height: int) -> bool:
        """Want whatever comes."""
        return height > self.state.height

    def find_verified(self, txid: bytes) -> None:
        """Hold no payment."""

    def on_judged(self, *, signatures: int, cpu_seconds: float) -> None:
        """Look away."""

    def on_opened(self, *, cpu_seconds: float) -> None:
        """Look away."""

    def on_left_out(self, *, messages: int, batches: int) -> None:
        """Everything is to be judged."""
        raise Misuse(f"{messages} messages and {batches} batches were left out")

    def on_fault(self, code: str) -> None:
        """Nobody does wrong."""
        raise Misuse(f"a frame was found faulty: {code}")

    def broadcast(self, message: Message) -> None:
        """Judging says nothing to all."""
        raise Misuse(f"the verifier said {message}")

    def send(self, peer: bytes, message: Message) -> None:
        """Judging batches asks for nothing."""
        raise Misuse(f"the verifier asked {peer.hex()} for {message}")

    def flush(self) -> None:
        """Do nothing: nothing is queued."""

    def penalise(self, peer: bytes, code: str) -> None:
        """Nobody does wrong."""
        raise Misuse(f"{peer.hex()} was found faulty: {code}")


class OneByOne:
    """Checks each signature by itself."""

    def __init__(self) -> None:
        """Use libsodium."""
        self._verifier = SodiumVerifier()

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Return a verdict for each check."""
        return [self._verifier.verify_many([check])[0] for check in checks]


class Scene:
    """The frames, what is judged of them, and the pace at which they come.

    Attributes:
        pause_s: From one frame to the next.
    """

    def __init__(self, batches: int) -> None:
        """Make signed payments."""
        genesis = make_genesis([1, 1, 1, 1], coins=batches * BATCH)
        maker = PaymentMaker(genesis)
        self.genesis = genesis
        self.facts = Facts(genesis)
        self.chain = ChainFacts(self.facts, genesis.closing_every)
        self.frames = [
            encode_message(BatchBody(maker.make_body(number * BATCH, BATCH)))
            for number in range(batches)
        ]
        self.pause_s = 0.0

    def judge(self, frame: bytes) -> list[VerifiedBatch]:
        """Judge a frame at once, signature by signature: the naive way."""
        judging = judging_frames(
            [(_PEER, frame)],
            chain_id=self.chain.chain_id,
            lookup=self.chain.committees(),
            is_known_batch=self.chain.has_batch,
        )
        outcomes = judge_at_once(judging, OneByOne()).outcomes
        return [found.batch for found in outcomes if isinstance(found, BatchReceived)]


async def answer_meanwhile(
    scene: Scene, deliver: Deliver, judged: list[VerifiedBatch], is_due: IsDue
) -> Sample:
    """Answer requests and bring frames when they are due, until all are judged."""
    answered = 0
    done = False
    count = len(scene.frames)
    started, cpu = time.perf_counter(), time.process_time()

    async def client() -> None:
        nonlocal answered
        while not done:
            answered += bool(sha256(msgspec.json.encode(_STATUS)).digest())
            await asyncio.sleep(0)

    async def wait_for(number: int) -> None:
        while not is_due(number, time.perf_counter() - started):  # noqa: ASYNC110  # The clients go on meanwhile.
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
        for number, frame in enumerate(scene.frames):
            await wait_for(number)
            await deliver(frame)
        await wait_for(count)
        while len(judged) < count:  # noqa: ASYNC110  # The same.
            await asyncio.sleep(0)
        done = True
    return Sample(
        items=answered,
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - started,
        outcome=sorted(judged, key=lambda batch: batch.batch_id),
    )


async def run_naive(scene: Scene) -> Sample:
    """Judge each frame where it is handled, in the loop; note for ours at which pace they came."""
    judged: list[VerifiedBatch] = []
    spent_s = elapsed_s = 0.0

    async def deliver(frame: bytes) -> None:
        nonlocal spent_s
        started = time.perf_counter()
        judged.extend(scene.judge(frame))
        spent_s += time.perf_counter() - started

    def is_due(_number: int, passed_s: float) -> bool:
        nonlocal elapsed_s
        elapsed_s = passed_s
        return spent_s <= BUSY_SHARE * passed_s

    sample = await answer_meanwhile(scene, deliver, judged, is_due)
    scene.pause_s = elapsed_s / len(scene.frames)
    return sample


async def run_ours(scene: Scene, backend: Backend) -> Sample:
    """Hand frames to the product's verifier, at the pace of the naive run before."""
    judged: list[VerifiedBatch] = []

    async def post(event: Event) -> None:
        if isinstance(event, BatchReceived):
            judged.append(event.batch)

    verifier = FrameVerifier(
        chain=scene.chain,
        verifier=backend.verifier,
        peers=scene.facts,
        requests=BlockAssembler(),
        post=post,
        observer=scene.facts,
        threads=count_threads(),
        is_inline=backend.is_vectorised,
    )
    running = asyncio.create_task(verifier.run())

    async def deliver(frame: bytes) -> None:
        if not verifier.deliver(_PEER, [frame]):
            await verifier.room(_PEER)

    def is_due(number: int, passed_s: float) -> bool:
        return passed_s >= number * scene.pause_s

    try:
        return await answer_meanwhile(scene, deliver, judged, is_due)
    finally:
        running.cancel()
        await asyncio.wait([running])


def prepare(size: int) -> Contest:
    """Make a contest over `size` batches."""
    scene = Scene(size)
    backend = choose_backend("auto")
    others: dict[str, Callable[[], Sample]] = {}
    if backend.is_vectorised:
        slow = choose_backend(SODIUM)
        others[IN_THREADS] = lambda: run_on_loop(partial(run_ours, scene, slow))
    return Contest(
        naive=lambda: run_on_loop(partial(run_naive, scene)),
        ours=lambda: run_on_loop(partial(run_ours, scene, backend)),
        others=others,
    )


CLAIM: Final = Claim(
    name="processor",
    claimed=2.0,
    unit="requests answered a second",
    what="requests answered while signatures are checked that would keep the loop busy for two "
    "thirds of its time: checked in the loop, against the node's verifier",
    why_missed="where signatures are not checked eight at once they are checked in threads, which "
    "and the loop wait for each other's turns in Python",
    size=12,
    prepare=prepare,
    clock=Clock.WALL,
)
