"""A network of real replicas in one process, each part of whose work is timed by itself.

Virtual time, disks that answer at once, no sockets: what is measured is the core and the ingress,
with real signatures. Messages are encoded once by their sender and opened by each receiver.
"""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from lockstep.bench.made_payments import GENESIS_TIME_MS, make_key
from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Misuse
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import GetOwnWords, Message, OwnWords, encode_message
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.replica.effects import (
    BlockDecided,
    Broadcast,
    Effect,
    Notify,
    Persist,
    Send,
    SetTimer,
    TransactionsFinal,
)
from lockstep.replica.events import (
    BatchReceived,
    Event,
    PeerConnected,
    Persisted,
    ProposalReceived,
    Started,
    Timer,
    TimerFired,
    VotesReceived,
)
from lockstep.replica.ingress import Fault, PageReceived, judge_frames
from lockstep.replica.replica import Replica
from lockstep.sim.disk import Disk

LINK_MS: Final = 1
"""How long a message travels."""
_TURN_MS: Final = 1
_STEP_PARTS: Final = {
    BatchReceived: "core: batches",
    VotesReceived: "core: votes",
    ProposalReceived: "core: proposals",
}
OTHER_STEPS: Final = "core: heights"
VERIFYING: Final = "verification"
OPENING: Final = "opening"
ENCODING: Final = "encoding"


class _TimedVerifier:
    """Passes checks on, and adds the time they took to one part."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.spent_ns = 0
        self.signatures = 0

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        started = time.thread_time_ns()
        verdicts = self._verifier.verify_many(checks)
        self.spent_ns += time.thread_time_ns() - started
        self.signatures += len(checks)
        return verdicts


class _Node:
    """One replica with its disk, its timers and the frames that wait for it."""

    def __init__(self, index: int, replica: Replica, disk: Disk) -> None:
        self.index = index
        self.replica = replica
        self.disk = disk
        self.timers: dict[Timer, int] = {}
        self.frames: list[tuple[bytes, bytes]] = []


class CoreNetwork:
    """All members of a genesis, connected to each other, under one virtual clock.

    Attributes:
        spent_ns: CPU nanoseconds of all nodes together, by part.
        final: Number of payments that each node called final.
        sent_bytes: Bytes that all nodes together put on their links.
        heights: Height of the first node.
        on_step: Told of every step: the node's index, the event, its effects, CPU nanoseconds.
    """

    def __init__(self, genesis: Genesis, verifier: Verifier) -> None:
        """Start all nodes and let them find each other."""
        self.genesis = genesis
        self.spent_ns: Counter[str] = Counter()
        self.sent_bytes = 0
        self.on_step: Callable[[int, Event, list[Effect], int], None] | None = None
        self._verifier = _TimedVerifier(verifier)
        self._now_ms = 0
        self._order = count()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._peers = [member.node_key for member in genesis.members]
        self._index_of = {key: index for index, key in enumerate(self._peers)}
        self.final = [0] * len(self._peers)
        self._nodes = [self._make_node(index) for index in range(len(self._peers))]
        for node in self._nodes:
            self._step(node, Started())
        for node in self._nodes:
            for index, peer in enumerate(self._peers):
                if index != node.index:
                    self._step(node, PeerConnected(peer))

    @property
    def height(self) -> int:
        """Return the height of the first node."""
        return self._nodes[0].replica.view.consensus().height

    @property
    def signatures(self) -> int:
        """Return the number of signatures that all nodes together judged."""
        return self._verifier.signatures

    def forget_spending(self) -> None:
        """Count from here on: what was spent so far was warming up."""
        self.spent_ns.clear()
        self._verifier.spent_ns = self._verifier.signatures = 0
        self.sent_bytes = 0
        self.final = [0] * len(self.final)

    def submit(self, index: int, batch: VerifiedBatch) -> None:
        """Give a node a batch of its own people."""
        self._step(self._nodes[index], BatchReceived(None, batch))

    def run(self, duration_ms: int) -> None:
        """Let so much virtual time pass."""
        end_ms = self._now_ms + duration_ms
        while self._heap and self._heap[0][0] <= end_ms:
            self._now_ms, _, action = heapq.heappop(self._heap)
            action()
        self._now_ms = end_ms

    def _make_node(self, index: int) -> _Node:
        disk = Disk(self.genesis)
        replica = Replica(
            genesis=self.genesis,
            state=disk.state,
            view=disk,
            signer=make_key("member", index),
            verifier=self._verifier,
            tip_certificate=None,
            has_amnesia=False,
        )
        return _Node(index, replica, disk)

    def _after(self, delay_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self._now_ms + delay_ms, next(self._order), action))

    def _step(self, node: _Node, event: Event) -> None:
        verifying = self._verifier.spent_ns
        started = time.thread_time_ns()
        effects = node.replica.step(event, time_ms=GENESIS_TIME_MS + self._now_ms)
        spent = time.thread_time_ns() - started - (self._verifier.spent_ns - verifying)
        self.spent_ns[_STEP_PARTS.get(type(event), OTHER_STEPS)] += spent
        if self.on_step is not None:
            self.on_step(node.index, event, effects, spent)
        for effect in effects:
            self._do(node, effect)

    def _do(self, node: _Node, effect: Effect) -> None:
        match effect:
            case Persist(record=record):
                node.disk.commit([record])
                if isinstance(record, BlockDecided):
                    persisted = Persisted(record.delta.height)
                    self._after(_TURN_MS, lambda: self._step(node, persisted))
            case Broadcast(message=message):
                data = self._encode(message)
                for other in self._nodes:
                    if other is not node:
                        self._transmit(node, other, data)
            case Send(peer=peer, message=GetOwnWords() | OwnWords() as message):
                other = self._nodes[self._index_of[peer]]
                other.frames.append((self._peers[node.index], self._encode(message)))
                self._take_frames(other)
            case Send(peer=peer, message=message):
                self._transmit(node, self._nodes[self._index_of[peer]], self._encode(message))
            case SetTimer(timer=timer, delay_ms=delay_ms):
                self._set_timer(node, timer, delay_ms)
            case Notify(notice=TransactionsFinal(txids=txids)):
                self.final[node.index] += len(txids)
            case _:
                pass

    def _encode(self, message: Message) -> bytes:
        started = time.thread_time_ns()
        data = encode_message(message)
        self.spent_ns[ENCODING] += time.thread_time_ns() - started
        return data

    def _set_timer(self, node: _Node, timer: Timer, delay_ms: int) -> None:
        number = node.timers[timer] = next(self._order)

        def fire() -> None:
            if node.timers.get(timer) == number:
                del node.timers[timer]
                self._step(node, TimerFired(timer))

        self._after(delay_ms, fire)

    def _transmit(self, node: _Node, other: _Node, data: bytes) -> None:
        """Put a frame on its way; what comes within one turn of the receiver is opened together."""
        self.sent_bytes += len(data)
        sender = self._peers[node.index]

        def arrive() -> None:
            if not other.frames:
                self._after(0, lambda: self._take_frames(other))
            other.frames.append((sender, data))

        self._after(LINK_MS, arrive)

    def _take_frames(self, node: _Node) -> None:
        frames, node.frames = node.frames, []
        view = node.replica.view
        verifying = self._verifier.spent_ns
        started = time.thread_time_ns()
        judged = judge_frames(
            frames,
            chain_id=self.genesis.chain_id,
            lookup=view,
            verifier=self._verifier,
            is_known_batch=view.has_batch,
        )
        spent, verified = time.thread_time_ns() - started, self._verifier.spent_ns - verifying
        self.spent_ns[VERIFYING] += verified
        self.spent_ns[OPENING] += spent - verified
        for outcome in judged.outcomes:
            if isinstance(outcome, Fault | PageReceived):
                raise Misuse(f"an honest network brought {outcome}")
            self._step(node, outcome)
