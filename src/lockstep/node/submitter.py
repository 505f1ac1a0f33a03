"""The submitter: what people hand in becomes batches, and their answers come back by notices.

Payments are opened once, on the loop, in steps. Known ones are answered at once. The others go to
the batcher, whose batches are judged by the verifier: one task a batch and one future a request,
nothing a payment [B1]. When as much waits as this node takes, who comes is told so before his bytes
are looked at, and when to come again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from itertools import repeat
from typing import Final, Protocol

from lockstep.errors import Rejected
from lockstep.node.admittance import BUSY_SENTENCE, Admittance
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.replica.batcher import Batcher
from lockstep.replica.effects import (
    BlockAdded,
    Notice,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.replica.events import BatchReceived, Event
from lockstep.replica.openpayments import OpenPayment, cut_into_steps, open_body, open_encoded
from lockstep.rpc.faults import Stopping, SubmissionBusy, SubmissionSlow
from lockstep.rpc.ports import SubmitResult

PREPARING_MAX: Final = 2
"""Batches of our own whose signatures are being judged."""
ANSWER_S_MAX: Final = 10.0
"""A payment not decided about by then is answered with `submit.slow`."""
_SENTENCES: Final = {
    "tx.signature": "a signature of the payment does not hold for its key and this chain",
    "tx.policy": "the signatures are not exactly those the spending policy asks for",
}
_RETRIED: Final = frozenset({"pool.full", SubmissionBusy.code})
"""Codes of refusals that time may mend."""
_Refusal = tuple[str, str]


class KnownPayments(Protocol):
    """What the replica's view knows of payments."""

    def holds_any(self, txids: Collection[bytes]) -> bool:
        """Tell whether any of these payments is held and not in the chain."""
        ...


class BatchMaker(Protocol):
    """Whatever judges payments and makes a batch of the good ones."""

    async def make_batch(
        self, payments: Sequence[OpenPayment]
    ) -> tuple[VerifiedBatch | None, dict[int, str]]:
        """Return the batch, and a code by position for those left out."""
        ...


class _Request:
    """One call of `submit`: how many answers it lacks, and the future for the last of them."""

    __slots__ = ("done", "missing", "refused")

    def __init__(self) -> None:
        self.refused: dict[bytes, _Refusal] = {}
        self.missing = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, count: int = 1) -> None:
        self.missing -= count
        if not self.missing and not self.done.done():
            self.done.set_result(None)


class NodeSubmitter:
    """Takes transactions in for one node; owned by the loop's thread."""

    def __init__(
        self,
        *,
        known: KnownPayments,
        batcher: Batcher[OpenPayment],
        maker: BatchMaker,
        post: Callable[[Event], Awaitable[None]],
        publish: Callable[[Notice], None],
        group: asyncio.TaskGroup,
    ) -> None:
        """Work with these parts; batches are prepared in tasks of `group`."""
        self._known = known
        self._batcher = batcher
        self._maker = maker
        self._post = post
        self._publish = publish
        self._group = group
        self._admittance = Admittance()
        # Who waits for a payment: one request nearly always, so a row is the exception.
        self._waiters: dict[bytes, _Request | tuple[_Request, ...]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        self._stopped = False
        # The last payment of the last batch, while that is under way.
        self._last_left = b""

    async def submit(self, raws: Sequence[bytes]) -> list[SubmitResult]:
        """Hand encoded transactions in; the answers stand in their order, once they are durable.

        Raises:
            Stopping: If the node stops meanwhile.
            SubmissionBusy: If there is no room for even one of them.
        """
        self._check()
        opened: list[OpenPayment | Rejected] = []
        for step in cut_into_steps(raws):
            if opened:
                await asyncio.sleep(0)
            opened += open_encoded(step)
        return await self._take_in(opened)

    async def submit_batch(self, body: bytes) -> list[SubmitResult]:
        """Hand in the transactions of an encoded batch; the answers stand in its order.

        Raises:
            Stopping, SubmissionBusy: As `submit` does.
            Rejected: If the bytes are no batch, whatever its transactions are.
        """
        self._check()
        return await self._take_in(open_body(body))

    def hear(self, notice: Notice) -> None:
        """Take a notice of the bus: it may answer who waits."""
        match notice:
            case TransactionsAccepted(txids=txids):
                self._answer(txids)
            case TransactionsRefused(refusals=refusals):
                self._end([txid for txid, _, _ in refusals])
                for txid, code, sentence in refusals:
                    self._refuse(txid, (code, sentence))
            case TransactionsFinal(txids=txids) | BlockAdded(txids=txids):
                self._end(txids)
            case TransactionsDropped(txids=txids):
                self._end(txids)

    def on_commit(self, in_flight: bool) -> None:  # noqa: FBT001  # The runtime tells one fact.
        """Hear that a commit started, or that one has ended [B1]."""
        if in_flight:
            self._batcher.commit_started()
        else:
            self._batcher.commit_ended()
            self._schedule()

    def close(self) -> None:
        """Take no more work and let nobody wait any longer."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._preparing):
            task.cancel()
        for waiting in self._waiters.values():
            for request in _each(waiting):
                if not request.done.done():
                    request.done.set_exception(Stopping("the node is stopping"))
        self._waiters.clear()

    def _check(self) -> None:
        """Refuse at once what cannot be taken in, before its bytes are looked at."""
        if self._stopped:
            raise Stopping("the node is stopping")
        self._admittance.check(len(self._waiters), now_s=time.monotonic())

    def _end(self, txids: Collection[bytes]) -> None:
        self._admittance.open.end(txids, time.monotonic())
        if self._last_left and self._last_left not in self._admittance.open:
            self._last_left = b""
            self._batcher.batch_ended()
            self._schedule()

    async def _take_in(self, opened: Sequence[OpenPayment | Rejected]) -> list[SubmitResult]:
        """Answer known payments, have the others wait for their batch, and wait for them all."""
        self._check()
        request = _Request()
        now_ms = _now_ms()
        names: list[bytes | Rejected] = []
        new: dict[bytes, tuple[OpenPayment, int]] = {}
        for payment in opened:
            if isinstance(payment, Rejected):
                names.append(payment)
                continue
            derived = payment.derived
            names.append(derived.txid)
            new.setdefault(derived.txid, (payment, derived.size_bytes))
        if not self._wait_for_all(new, request, now_ms):
            for txid, (payment, size_bytes) in new.items():
                self._wait_for(payment, txid, size_bytes, request, now_ms)
        if request.missing:
            self._schedule()
            try:
                async with asyncio.timeout(ANSWER_S_MAX):
                    await request.done
            except TimeoutError:
                self._give_up(request, names)
        if len(new) == len(names) and not request.refused:
            return list(map(SubmitResult, new, repeat(True), repeat(""), repeat("")))
        return [self._result(name, request.refused) for name in names]

    def _wait_for_all(
        self, new: dict[bytes, tuple[OpenPayment, int]], request: _Request, now_ms: int
    ) -> bool:
        """Have a request wait for payments with their sizes, if all are new and there is room.

        One that is in the chain is found out by the core, which misses its coins: a look into the
        index of transactions for every new payment would cost more than it spares.
        """
        waiters = self._waiters
        if not waiters.keys().isdisjoint(new) or self._known.holds_any(new):
            return False
        size_bytes = sum([size_bytes for _, size_bytes in new.values()])
        now_s = time.monotonic()
        if not self._admittance.enter_all(new, size_bytes, waiting=len(waiters), now_s=now_s):
            return False
        waiters.update(dict.fromkeys(new, request))
        self._batcher.add_all(new, time_ms=now_ms)
        request.missing = len(new)
        return True

    def _wait_for(
        self, payment: OpenPayment, txid: bytes, size_bytes: int, request: _Request, now_ms: int
    ) -> None:
        """Have a request wait for a payment, unless that is known or there is no room for it."""
        waiting = self._waiters.get(txid)
        if waiting is None:
            if self._known.holds_any((txid,)):
                return
            is_let_in = self._admittance.enter(
                txid, size_bytes, waiting=len(self._waiters), now_s=time.monotonic()
            )
            if not is_let_in:
                request.refused[txid] = (SubmissionBusy.code, BUSY_SENTENCE)
                return
            self._waiters[txid] = request
            self._batcher.add(payment, txid, size_bytes=size_bytes, time_ms=now_ms)
        else:
            self._waiters[txid] = (*_each(waiting), request)
        request.missing += 1

    def _result(self, name: bytes | Rejected, refused: dict[bytes, _Refusal]) -> SubmitResult:
        if isinstance(name, Rejected):
            return SubmitResult(b"", accepted=False, code=name.code, sentence=str(name))
        refusal = refused.get(name)
        if refusal is None:
            return SubmitResult(name, accepted=True, code="", sentence="")
        code, sentence = refusal
        retry_after_ms = (
            self._admittance.retry_after_ms(len(self._waiters)) if code in _RETRIED else 0
        )
        return SubmitResult(name, False, code, sentence, retry_after_ms)

    def _schedule(self) -> None:
        """Take every batch that is due; look again when the next one is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while len(self._preparing) < PREPARING_MAX and not self._stopped:
            due_ms = self._batcher.due_ms(_now_ms())
            if due_ms is None:
                return
            if due_ms > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(due_ms / 1000, self._schedule)
                return
            payments = self._batcher.take(_now_ms())
            self._batcher.batch_left(_now_ms())
            self._last_left = payments[-1].derived.txid
            task = self._group.create_task(self._prepare(payments), name="batch")
            self._preparing.add(task)
            task.add_done_callback(self._prepared)

    async def _prepare(self, payments: Sequence[OpenPayment]) -> None:
        started_s = time.monotonic()
        try:
            batch, faults = await self._maker.make_batch(payments)
            if faults:
                refusals = tuple(
                    (payments[position].derived.txid, code, _SENTENCES.get(code, code))
                    for position, code in faults.items()
                )
                self._publish(TransactionsRefused(refusals=refusals))
            if batch is not None:
                await self._post(BatchReceived(peer=None, batch=batch))
        finally:
            size_bytes = sum([payment.derived.size_bytes for payment in payments])
            self._admittance.leave(len(payments), size_bytes, seconds=time.monotonic() - started_s)

    def _prepared(self, task: "asyncio.Task[None]") -> None:
        self._preparing.discard(task)
        self._schedule()

    def _answer(self, txids: Iterable[bytes]) -> None:
        """Tell who waits for these payments that they are held durably."""
        waiters = self._waiters
        if not waiters:
            return
        for waiting, count in Counter(map(waiters.pop, txids, repeat(()))).items():
            for request in _each(waiting):
                request.answer(count)

    def _refuse(self, txid: bytes, refusal: _Refusal) -> None:
        for request in _each(self._waiters.pop(txid, ())):
            request.refused[txid] = refusal
            request.answer()

    def _give_up(self, request: _Request, names: Iterable[bytes | Rejected]) -> None:
        slow = SubmissionSlow("the node has not decided about the payment in time")
        for name in names:
            if isinstance(name, Rejected):
                continue
            waiting = _each(self._waiters.get(name, ()))
            if request not in waiting:
                continue
            others = tuple(other for other in waiting if other is not request)
            if others:
                self._waiters[name] = others
            else:
                del self._waiters[name]
            request.refused[name] = (slow.code, str(slow))


def _each(waiting: _Request | tuple[_Request, ...]) -> tuple[_Request, ...]:
    return waiting if isinstance(waiting, tuple) else (waiting,)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
