"""NodeService: submit, query, subscribe; the one façade for people and programs.

It holds no state of its own but who waits for what. Answers about pending payments come from the
core's memory, which may be ahead of the disk: the dispatcher lets none leave before `settled` says
that what it was read from is synced [F4, F5].
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from lockstep.errors import Fatal
from lockstep.primitives.block import CommitCertificate
from lockstep.primitives.params import ChainParams, params_of
from lockstep.replica.answers import VotingAnswer, VotingState
from lockstep.replica.effects import (
    BlockAdded,
    Notice,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.rpc.faults import NoRoom, Stopping, TooManyWaiters
from lockstep.rpc.ports import (
    ChainReaders,
    PeerDirectory,
    Reason,
    Settled,
    SubmitResult,
    Submitter,
    View,
)
from lockstep.rpc.stream import EventStream

WAITERS_MAX: Final = 10_000
"""Calls that wait for finality."""
LEVEL_TRIES_MAX: Final = 20
"""How often an answer waits for the database to be level with the core."""
CERTIFICATES_KEPT: Final = 64
"""Commit certificates kept for answers about finality."""


class NodeService:
    """What a node does for those who ask; owned by the loop's thread.

    Attributes:
        view, readers, peers: Where answers come from; public to the method modules.
        params: Parameters of the chain's network.
        events: The stream behind the WebSocket.
        is_stopping: Set once; no new work is taken then.
        verify_backend: Name of what verifies signatures here.
    """

    def __init__(  # noqa: PLR0913  # The composition root wires each part by its name.
        self,
        *,
        view: View,
        readers: ChainReaders,
        submitter: Submitter,
        peers: PeerDirectory,
        settled: Settled,
        stop: Callable[[], None],
        fail: Callable[[Fatal], None],
        shortage: Callable[[], str | None],
        verify_backend: str,
    ) -> None:
        """Stand before a node.

        `stop` asks for an orderly stop; `fail` hands over a Fatal met while reading.
        """
        self.verify_backend = verify_backend
        self.view = view
        self.readers = readers
        self.peers = peers
        self.params: ChainParams = params_of(view.genesis.network)
        self.events = EventStream()
        self.is_stopping = False
        self.fail = fail
        self._submitter = submitter
        self._settled = settled
        self._stop = stop
        self._shortage = shortage
        self._waiters: dict[bytes, list[asyncio.Future[None]]] = {}
        self._waiting = 0
        self._certificates: dict[int, CommitCertificate] = {}
        self._started_s = time.monotonic()

    def uptime_s(self) -> int:
        """Return whole seconds since the service began."""
        return int(time.monotonic() - self._started_s)

    def clock_ms(self) -> int:
        """Return the wall clock in milliseconds, the one that payments are stamped with."""
        return time.time_ns() // 1_000_000

    async def settled(self) -> None:
        """Wait until everything the core did so far is synced."""
        await self._settled()

    def certificate_at(self, height: int) -> CommitCertificate | None:
        """Return the precommits that decided a synced block; the last asked for are kept."""
        certificate = self._certificates.get(height)
        if certificate is None:
            decided = self.readers.decided(height)
            if decided is None:
                return None
            certificate = self._certificates[height] = decided.certificate
            if len(self._certificates) > CERTIFICATES_KEPT:
                del self._certificates[next(iter(self._certificates))]
        return certificate

    async def level(self) -> None:
        """Wait until core and database show the same height.

        In between, a payment just decided is in neither the pool nor the database, and would seem
        lost. Gives up after some tries: a node that catches up is never level for long.
        """
        for _ in range(LEVEL_TRIES_MAX):
            if self.readers.state().height >= self.view.state.height:
                return
            await self._settled()

    async def submit(self, raws: Sequence[bytes]) -> list[SubmitResult]:
        """Submit encoded transactions; the answers stand in their order [B5].

        A transaction that cannot be decoded is answered with an empty txid.

        Raises:
            Stopping: If the node takes no new work.
            NoRoom: If its disk is full.
            SubmissionBusy: If it has no room for even one of them.
        """
        self._check_work()
        return await self._submitter.submit(raws)

    async def submit_batch(self, body: bytes) -> list[SubmitResult]:
        """Submit the transactions of an encoded batch; the answers stand in their order [B5].

        Raises:
            Stopping, NoRoom, SubmissionBusy: As `submit` does.
            Rejected: If the bytes are no batch, whatever its transactions are.
        """
        self._check_work()
        return await self._submitter.submit_batch(body)

    def _check_work(self) -> None:
        if self.is_stopping:
            raise Stopping("the node is stopping")
        if shortage := self._shortage():
            raise NoRoom(shortage)

    async def wait_final(self, txid: bytes, *, timeout_ms: int) -> bool:
        """Wait until a payment is final, refused or dropped; tell whether that came in time.

        Raises:
            TooManyWaiters: If `WAITERS_MAX` calls wait already.
        """
        view = self.view
        if view.is_final(txid) or view.height_of(txid) is not None or self._is_refused(txid):
            return True
        if self._waiting >= WAITERS_MAX:
            raise TooManyWaiters(f"{WAITERS_MAX} calls already wait for finality")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(txid, []).append(future)
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_ms / 1000):
                    await future
            return future.done() and not future.cancelled()
        finally:
            self._waiting -= 1
            waiting = self._waiters.get(txid, [])
            if future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._waiters[txid]

    def hear(self, notice: Notice) -> None:
        """Take one notice of the bus: wake who waits for it, pass it to the subscribers."""
        if self._waiters:
            match notice:
                case (
                    TransactionsFinal(txids=txids)
                    | BlockAdded(txids=txids)
                    | TransactionsDropped(txids=txids)
                ):
                    self._wake(txids)
                case TransactionsRefused(refusals=refusals):
                    self._wake([txid for txid, _, _ in refusals if self._is_refused(txid)])
        self.events.publish(notice)

    def request_stop(self) -> None:
        """Ask the node for an orderly stop; taking work ends at once."""
        self.close()
        self._stop()

    def close(self) -> None:
        """Take no new work, and end all subscriptions and waits."""
        self.is_stopping = True
        self.events.close()
        self._wake(list(self._waiters))

    def connected_weight(self) -> tuple[int, int, int]:
        """Return the weight of members connected (this one included), Q and W of the epoch."""
        committee = self.view.committee_for_epoch(self.view.state.epoch)
        if committee is None:
            return 0, 0, 0
        keys = {peer.peer for peer in self.peers.peers()}
        own_id = self.view.own_id
        weight = sum(
            member.weight
            for member in committee.members
            if member.node_key in keys or member.member_id == own_id
        )
        return weight, committee.quorum, committee.total_weight

    def reasons(self) -> list[Reason]:
        """Return why the node is not ready; nothing when it is."""
        reasons = _silence(self.view.voting())
        if self.is_stopping:
            reasons.append(Reason("stopping", "the node is stopping"))
        if shortage := self._shortage():
            reasons.append(Reason("disk_full", f"{shortage}: the node signs nothing"))
        weight, quorum, total = self.connected_weight()
        if weight < quorum:
            sentence = f"members of weight {weight} of {total} are connected, a quorum is {quorum}"
            reasons.append(Reason("no_quorum", sentence))
        if self.view.consensus().catching_up:
            reasons.append(Reason("catching_up", "the node is fetching blocks it missed"))
        return reasons

    def _is_refused(self, txid: bytes) -> bool:
        """Tell whether a payment was refused and no good copy of it is held.

        Anybody can make a copy with a bad witness: its refusal says nothing about the payment [L2].
        """
        return self.view.refusal(txid) is not None and self.view.pending(txid) is None

    def _wake(self, txids: Sequence[bytes]) -> None:
        for txid in txids:
            for future in self._waiters.pop(txid, ()):
                if not future.done():
                    future.set_result(None)


def _silence(voting: VotingAnswer) -> list[Reason]:
    """Return why a member signs nothing, if it does not [D3]."""
    heard = f"members of weight {voting.known_weight} of {voting.quorum} have answered"
    match voting.state, voting.first_epoch:
        case VotingState.ASKING, _:
            sentence = f"asking peers what this voting key has signed: {heard}"
            return [Reason("asking", sentence)]
        case VotingState.AMNESIA, None:
            sentence = "amnesia: the journal lacks what this voting key has signed, so the node"
            return [Reason("amnesia", f"{sentence} asks peers how long to sign nothing; {heard}")]
        case VotingState.AMNESIA, epoch:
            sentence = f"amnesia until epoch {epoch}: the journal lacks what this voting key has"
            return [Reason("amnesia", f"{sentence} signed; leave the node running, it votes again")]
        case _:
            return []
