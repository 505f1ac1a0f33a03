"""The submitter: what people hand in becomes batches, and their answers come back by notices.

Known payments are answered at once. The others go to the batcher, whose batches are judged in the
verifier's threads, one task a batch and one future a request, nothing a transaction [B1].
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from lockstep.crypto.hashing import tagged_hash
from lockstep.errors import Unavailable
from lockstep.primitives import codec
from lockstep.primitives.params import POOL_TRANSACTIONS_MAX
from lockstep.primitives.transaction import Transaction, VerifiedBatch, make_txid
from lockstep.replica.answers import PendingPayment
from lockstep.replica.batcher import Batcher
from lockstep.replica.effects import Notice, TransactionsAccepted, TransactionsRefused
from lockstep.replica.events import BatchReceived, Event
from lockstep.rpc.faults import Stopping
from lockstep.rpc.ports import SubmitResult

PREPARING_MAX: Final = 2
"""Batches of our own whose signatures are being judged."""
ANSWER_S_MAX: Final = 10.0
"""A payment not decided about by then is answered with `submit.slow`."""
_SENTENCES: Final = {
    "tx.signature": "a signature of the payment does not hold for its key and this chain",
    "tx.policy": "the signatures are not exactly those the spending policy asks for",
}


class SubmissionSlow(Unavailable):
    """The node has not decided about a payment in time; it may still become final."""

    code = "submit.slow"
    hint = "ask for the payment's state, or submit it again: the same payment is never paid twice"


class SubmissionBusy(Unavailable):
    """As many payments wait to be looked at as this node looks at."""

    code = "submit.busy"
    hint = "submit the payment again in a moment, or to another node"


class KnownPayments(Protocol):
    """What the replica's view knows of payments."""

    def pending(self, txid: bytes) -> PendingPayment | None:
        """Return a payment that is held and not in the chain."""
        ...


class BatchMaker(Protocol):
    """Whatever judges transactions off the loop and makes a batch of the good ones."""

    async def make_batch(
        self, transactions: Sequence[Transaction]
    ) -> tuple[VerifiedBatch | None, dict[int, str]]:
        """Return the batch, and a code by position for those left out."""
        ...


class _Request:
    """One call of `submit`: the answers so far, and the future for the last of them."""

    __slots__ = ("answers", "done", "missing")

    def __init__(self) -> None:
        self.answers: dict[bytes, SubmitResult] = {}
        self.missing = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, result: SubmitResult) -> None:
        self.answers[result.txid] = result
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)


class NodeSubmitter:
    """Takes transactions in for one node; owned by the loop's thread."""

    def __init__(
        self,
        *,
        known: KnownPayments,
        batcher: Batcher,
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
        self._waiters: dict[bytes, list[_Request]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def submit(self, transactions: Sequence[Transaction]) -> list[SubmitResult]:
        """Hand transactions in; the answers stand in their order, once they are durable.

        Raises:
            Stopping: If the node stops meanwhile.
        """
        if self._stopped:
            raise Stopping("the node is stopping")
        request = _Request()
        now_ms = _now_ms()
        txids = [self._take_in(transaction, request, now_ms) for transaction in transactions]
        if request.missing:
            self._schedule()
            try:
                async with asyncio.timeout(ANSWER_S_MAX):
                    await request.done
            except TimeoutError:
                self._give_up(request, txids)
        return [request.answers[txid] for txid in txids]

    def hear(self, notice: Notice) -> None:
        """Take a notice of the bus: it may answer who waits."""
        match notice:
            case TransactionsAccepted(txids=txids):
                for txid in txids:
                    self._answer(SubmitResult(txid, accepted=True, code="", sentence=""))
            case TransactionsRefused(refusals=refusals):
                for txid, code, sentence in refusals:
                    self._answer(SubmitResult(txid, accepted=False, code=code, sentence=sentence))

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
        for requests in self._waiters.values():
            for request in requests:
                if not request.done.done():
                    request.done.set_exception(Stopping("the node is stopping"))
        self._waiters.clear()

    def _take_in(self, transaction: Transaction, request: _Request, now_ms: int) -> bytes:
        """Answer a known payment, or have the request wait for it; return its txid."""
        body = codec.encode(transaction.body)
        txid = tagged_hash("tx", body)
        if txid in request.answers:
            return txid
        waiting = self._waiters.get(txid)
        if waiting is None and self._is_known(txid):
            request.answers[txid] = SubmitResult(txid, accepted=True, code="", sentence="")
            return txid
        if waiting is None and len(self._waiters) >= POOL_TRANSACTIONS_MAX:
            busy = SubmissionBusy(f"{POOL_TRANSACTIONS_MAX} payments already wait at this node")
            request.answers[txid] = _refused(txid, busy)
            return txid
        if waiting is None:
            waiting = self._waiters[txid] = []
            size_bytes = 1 + len(body) + len(codec.encode(transaction.witnesses))
            self._batcher.add(transaction, txid, size_bytes=size_bytes, time_ms=now_ms)
        if request not in waiting:
            waiting.append(request)
            request.missing += 1
        return txid

    def _is_known(self, txid: bytes) -> bool:
        # One that is in the chain is found out by the core, which misses its coins: a look into the
        # index of transactions for every new payment would cost more than it spares.
        return self._known.pending(txid) is not None

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
            task = self._group.create_task(
                self._prepare(self._batcher.take(_now_ms())), name="batch"
            )
            self._preparing.add(task)
            task.add_done_callback(self._prepared)

    async def _prepare(self, transactions: Sequence[Transaction]) -> None:
        batch, faults = await self._maker.make_batch(transactions)
        if faults:
            refusals = tuple(
                (make_txid(transactions[position].body), code, _SENTENCES.get(code, code))
                for position, code in faults.items()
            )
            self._publish(TransactionsRefused(refusals=refusals))
        if batch is not None:
            await self._post(BatchReceived(peer=None, batch=batch))

    def _prepared(self, task: "asyncio.Task[None]") -> None:
        self._preparing.discard(task)
        self._schedule()

    def _answer(self, result: SubmitResult) -> None:
        for request in self._waiters.pop(result.txid, ()):
            request.answer(result)

    def _give_up(self, request: _Request, txids: Sequence[bytes]) -> None:
        slow = SubmissionSlow("the node has not decided about the payment in time")
        for txid in txids:
            if txid in request.answers:
                continue
            request.answers[txid] = _refused(txid, slow)
            waiting = self._waiters.get(txid, [])
            if request in waiting:
                waiting.remove(request)
                if not waiting:
                    del self._waiters[txid]


def _refused(txid: bytes, fault: Unavailable) -> SubmitResult:
    return SubmitResult(txid, accepted=False, code=fault.code, sentence=str(fault))


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
