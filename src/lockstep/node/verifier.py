"""The verifier: frames of peers are judged before the core sees them [M2].

A vectorised backend judges on the loop, in slices between which the loop looks at its sockets: to
hand a job to a thread and wait for the interpreter there costs more than it brings. So does a slow
backend with a few signatures; else it judges in worker threads, as any does with what is too large
for the loop.

While a job runs, frames gather, and the next job takes those of many peers, so that signatures are
judged in groups when there is load and at once when there is none; Votes that complete nothing wait
a little for company. There are two lanes: what a height or a fetch waits for never queues behind
batches and Votes. Frames of one peer and lane are judged in order, by one job at a time. A peer
whose frames are not judged in time waits before it sends more.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Rejected
from lockstep.node.committees import ChainFacts
from lockstep.node.lanes import Lane, Taken
from lockstep.node.patience import Patience
from lockstep.node.ports import Peers
from lockstep.primitives.messages import GetBlock, is_payment_frame
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.replica.blockpages import BlockAssembler, NextPage, WholeBlock, judge_block
from lockstep.replica.events import BlockFetched, BlockFetchFailed, Event
from lockstep.replica.ingress import (
    Fault,
    Judged,
    Outcome,
    PageReceived,
    judging_frames,
    judging_payments,
)
from lockstep.replica.judging import Judging, judge_at_once
from lockstep.replica.openpayments import OpenPayment
from lockstep.replica.signatures import UnknownCommittee

INLINE_BYTES_MAX: Final = 256 * 1024
"""Frames of one job that may be judged on the loop; a batch of ordinary payments is half of it."""
SLOW_INLINE_BYTES_MAX: Final = 1024
"""The same for a slow backend: four Votes take it a quarter of a millisecond, a thread as much."""
SLOW_INLINE_PAYMENTS_MAX: Final = 4
"""Own payments that a slow backend judges on the loop."""
BREATH_S: Final = 0.001
"""CPU time of a job on the loop after which the loop may do something else."""
PATIENCE_S: Final = 0.05
"""How long Votes that complete nothing wait at most."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class VerifierObserver(Protocol):
    """Whatever counts what is judged."""

    def on_judged(self, *, signatures: int, cpu_seconds: float) -> None:
        """Look at a job: its signatures, and the CPU time of the backend alone, bounds included."""
        ...

    def on_opened(self, *, cpu_seconds: float) -> None:
        """Look at a job: the CPU time of all else in it, from decoding to claiming checks."""
        ...

    def on_left_out(self, *, messages: int, batches: int) -> None:
        """Look at what was not judged: of unknown committees, and batches held already."""
        ...

    def on_fault(self, code: str) -> None:
        """Look at a fault of a peer."""
        ...


class _Counting:
    """Counts the signatures of one job on their way to the real verifier, and its CPU time."""

    def __init__(self, verifier: Verifier, observer: VerifierObserver) -> None:
        self._signatures = 0
        self._cpu_seconds = 0.0
        self._verifier = verifier
        self._observer = observer

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        started = time.thread_time()
        verdicts = self._verifier.verify_many(checks)
        self._cpu_seconds += time.thread_time() - started
        self._signatures += len(checks)
        return verdicts

    def tell(self, job_seconds: float) -> None:
        """Tell the observer of a job that took so much CPU time in all."""
        opening = max(0.0, job_seconds - self._cpu_seconds)
        self._observer.on_judged(signatures=self._signatures, cpu_seconds=self._cpu_seconds)
        self._observer.on_opened(cpu_seconds=opening)


class FrameVerifier:
    """Judges frames and posts the events; owned by the loop's thread.

    `post` brings an event to the runtime's inbox and waits while that is full.
    """

    def __init__(
        self,
        *,
        chain: ChainFacts,
        verifier: Verifier,
        peers: Peers,
        requests: BlockAssembler,
        post: Callable[[Event], Awaitable[None]],
        observer: VerifierObserver,
        threads: int,
        is_inline: bool = False,
    ) -> None:
        """Prepare `threads` workers; they start with `run`.

        With `is_inline`, for a vectorised backend, they judge on the loop what is not too large for
        it; without, only what is so little that a thread would cost more.
        """
        self._chain = chain
        self._verifier = verifier
        self._peers = peers
        self._requests = requests
        self._post = post
        self._observer = observer
        # On the loop, the second worker overtakes the first at its breaths with what is urgent.
        self._workers = max(2, threads) if is_inline else threads
        self._is_inline = is_inline
        self._inline_bytes_max = INLINE_BYTES_MAX if is_inline else SLOW_INLINE_BYTES_MAX
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="verifier")
        self._urgent = Lane()
        self._payments = Lane()
        self._patience = Patience(chain)
        # Whether the payments that wait may wait on; if so, until this timer fires.
        self._is_patient = True
        self._patience_timer: asyncio.TimerHandle | None = None
        self._sleeping: list[asyncio.Future[None]] = []
        self._is_waking = False

    async def run(self) -> None:
        """Work for ever; cancelled when the node stops, after which no thread is left."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"verifier-{number}")
        finally:
            if self._patience_timer is not None:
                self._patience_timer.cancel()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def deliver(self, peer: bytes, frames: Sequence[bytes]) -> bool:
        """Take frames of a peer in; tell whether there is room for more of its frames."""
        has_room = True
        for frame in frames:
            if is_payment_frame(frame):
                has_room = self._payments.put(peer, frame) and has_room
                if self._is_patient and self._patience.add(frame):
                    self._is_patient = False
            else:
                has_room = self._urgent.put(peer, frame) and has_room
        if self._is_work_left():
            self._wake()
        if self._is_patient and self._payments.count and self._patience_timer is None:
            loop = asyncio.get_running_loop()
            self._patience_timer = loop.call_later(PATIENCE_S, self._lose_patience)
        return has_room

    async def room(self, peer: bytes) -> None:
        """Wait until there is room for more frames of a peer."""
        await self._urgent.room(peer)
        await self._payments.room(peer)

    def forget_peer(self, peer: bytes) -> None:
        """Drop what a peer that is gone sent and is not judged yet."""
        self._requests.forget_peer(peer)
        self._urgent.forget(peer)
        self._payments.forget(peer)

    async def make_batch(
        self, payments: Sequence[OpenPayment]
    ) -> tuple[VerifiedBatch | None, dict[int, str]]:
        """Judge what our own people submit and make a batch of the good ones [B1].

        Returns:
            The batch, None where nothing is left, and a code by position for those left out.
        """
        judging = judging_payments(payments, chain_id=self._chain.chain_id)
        # At most a batch, so that for a vectorised backend it is never too large for the loop.
        is_inline = self._is_inline or len(payments) <= SLOW_INLINE_PAYMENTS_MAX
        return await self._run(judging, is_inline=is_inline)

    async def _work(self) -> None:
        while True:
            lane = self._urgent or self._payments
            taken = self._take(lane)
            if not taken:
                await self._sleep()
                continue
            if self._is_work_left():
                self._wake()
            frames = [(peer, frame) for peer, _, part in taken for frame in part]
            judged = await self._judge(frames)
            for outcome in judged.outcomes:
                await self._hand_over(outcome)
            for peer, queue, _ in taken:
                lane.give_back(peer, queue)
            if self._is_inline and self._is_work_left():
                # Jobs that follow one another would keep the loop from its sockets.
                await asyncio.sleep(0)

    async def _sleep(self) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping.append(woken)
        await woken
        self._is_waking = False

    def _wake(self) -> None:
        """Let one worker that sleeps look for frames, unless one is about to."""
        if self._sleeping and not self._is_waking:
            woken = self._sleeping.pop()
            # The node may be stopping: then nobody sleeps there any more.
            if not woken.done():
                woken.set_result(None)
                self._is_waking = True

    def _is_work_left(self) -> bool:
        """Tell whether a job would find frames."""
        return bool(self._urgent) or (not self._is_patient and bool(self._payments))

    def _take(self, lane: Lane) -> list[Taken]:
        """Take the frames of one job, none where they may wait on."""
        if lane is self._urgent:
            return lane.take()
        if self._is_patient:
            return []
        taken = lane.take()
        # Those behind a job were not asked about one by one, so there is no patience with them.
        if not lane.count:
            self._is_patient = True
            self._patience.end()
            if self._patience_timer is not None:
                self._patience_timer.cancel()
                self._patience_timer = None
        return taken

    def _lose_patience(self) -> None:
        """Have judged what has waited long enough."""
        self._patience_timer = None
        self._is_patient = False
        if self._is_work_left():
            self._wake()

    async def _judge(self, frames: Sequence[tuple[bytes, bytes]]) -> Judged:
        chain = self._chain
        size_bytes = sum(len(frame) for _, frame in frames)
        judging = judging_frames(
            frames,
            chain_id=chain.chain_id,
            lookup=chain.committees(),
            is_known_batch=chain.has_batch,
        )
        is_inline = size_bytes <= self._inline_bytes_max
        judged = await self._run(judging, is_inline=is_inline)
        if judged.left_out or judged.known:
            self._observer.on_left_out(messages=judged.left_out, batches=judged.known)
        return judged

    async def _hand_over(self, outcome: Outcome) -> None:
        match outcome:
            case Fault():
                self._penalise(outcome.peer, outcome.code, outcome.sentence)
            case PageReceived():
                await self._on_page(outcome)
            case _:
                await self._post(outcome)

    async def _on_page(self, received: PageReceived) -> None:
        peer, height = received.peer, received.page.height
        try:
            result = self._requests.add(peer, received.page)
        except Rejected as fault:
            self._penalise(peer, fault.code, str(fault))
            await self._post(BlockFetchFailed(peer=peer, height=height))
            return
        match result:
            case NextPage(page=page):
                self._peers.send(peer, GetBlock(height=height, page=page))
            case WholeBlock(data=data) if self._chain.is_wanted_height(height):
                await self._post(await self._judge_block(peer, height, data))
            case _:
                # Nothing was asked for, or the block has come from somebody else meanwhile.
                pass

    async def _judge_block(
        self, peer: bytes, height: int, data: bytes
    ) -> BlockFetched | BlockFetchFailed:
        chain_id, lookup = self._chain.chain_id, self._chain.committees()
        try:
            return await self._in_thread(
                lambda verifier: judge_block(
                    data,
                    height=height,
                    peer=peer,
                    chain_id=chain_id,
                    lookup=lookup,
                    verifier=verifier,
                    find_verified=self._chain.find_verified,
                )
            )
        except Rejected as fault:
            self._penalise(peer, fault.code, str(fault))
        except UnknownCommittee:
            logger.info("block of an unknown committee", extra={"height": height})
        return BlockFetchFailed(peer=peer, height=height)

    def _penalise(self, peer: bytes, code: str, sentence: str) -> None:
        logger.warning("fault of a peer", extra={"peer": peer.hex(), "code": code, "why": sentence})
        self._observer.on_fault(code)
        self._peers.penalise(peer, code)

    async def _run(self, judging: Judging[T], *, is_inline: bool) -> T:
        if is_inline:
            return await self._on_loop(judging)
        return await self._in_thread(lambda verifier: judge_at_once(judging, verifier))

    async def _on_loop(self, judging: Judging[T]) -> T:
        """Run a judging here, and let the loop look at its sockets when it has waited enough."""
        counting = _Counting(self._verifier, self._observer)
        checks: Sequence[SignatureCheck] | None = None
        total = since_breath = 0.0
        while True:
            started = time.thread_time()
            try:
                if checks is None:
                    checks = next(judging)
                else:
                    checks = judging.send(counting.verify_many(checks) if checks else ())
            except StopIteration as end:
                total += time.thread_time() - started
                counting.tell(total)
                result: T = end.value
                return result
            spent = time.thread_time() - started
            total += spent
            since_breath += spent
            if since_breath >= BREATH_S:
                since_breath = 0.0
                await asyncio.sleep(0)

    async def _in_thread(self, work: Callable[[Verifier], T]) -> T:
        """Run a job in a worker thread, counting its signatures and the CPU time it took."""
        counting = _Counting(self._verifier, self._observer)

        def timed() -> tuple[T, float]:
            started = time.thread_time()
            result = work(counting)
            return result, time.thread_time() - started

        result, seconds = await asyncio.get_running_loop().run_in_executor(self._pool, timed)
        counting.tell(seconds)
        return result
