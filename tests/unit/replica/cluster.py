"""A small network of real replicas under a virtual clock: instant disks, links a test can bend.

Frames pass the real encoding and the real ingress; signatures are keyed hashes, for speed. Every
effect of every step passes the watch, so each test also asks that nothing left before its record.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

from building import GENESIS_TIME_MS, make_genesis
from lockstep.crypto.keys import Signer
from lockstep.errors import Rejected
from lockstep.primitives.messages import (
    GetBlock,
    GetOwnWords,
    Message,
    OwnWords,
    encode_message,
)
from lockstep.primitives.transaction import (
    Transaction,
    VerifiedBatch,
    make_txid,
)
from lockstep.primitives.votes import VoteKind
from lockstep.replica.blockpages import BlockAssembler, NextPage, judge_block
from lockstep.replica.core import Core
from lockstep.replica.effects import (
    BlockDecided,
    Broadcast,
    Effect,
    Notice,
    Notify,
    Penalise,
    Persist,
    Record,
    Send,
    ServeBlock,
    SetTimer,
    TransactionsFinal,
)
from lockstep.replica.events import (
    BatchReceived,
    BlockFetchFailed,
    Event,
    OwnWordsReceived,
    PeerConnected,
    PeerDisconnected,
    Persisted,
    Started,
    Timer,
    TimerFired,
)
from lockstep.replica.ingress import Fault, PageReceived, judge_frames, make_batch
from lockstep.replica.replica import Replica
from lockstep.sim.disk import Disk
from lockstep.sim.keyed_hash import KeyedHashVerifier
from unit.replica.gates import Gate
from unit.replica.payer import FEE, Payer, txid_of
from unit.replica.watch import Watch

__all__ = ["FEE", "VERIFIER", "Cluster", "Node", "said", "txid_of"]

VERIFIER = KeyedHashVerifier()


class Node:
    """One masternode: its disk lasts, its replica and timers end with a crash."""

    def __init__(self, index: int, disk: Disk) -> None:
        self.index = index
        self.disk = disk
        self.replica: Replica | None = None
        self.timers: dict[Timer, int] = {}
        self.life = 0
        self.notices: list[Notice] = []
        self.penalties: list[tuple[bytes, str]] = []
        self.assembler = BlockAssembler()

    @property
    def core(self) -> Core:
        assert self.replica is not None
        return self.replica._core


def said(node: Node, kind: VoteKind, payment: Transaction) -> bool:
    """Tell whether the node has said its Vote or Confirm for the payment in this epoch."""
    home = node.core.finality.home_of(txid_of(payment))
    if home is None:
        return False
    bits = home[0].own_voted if kind is VoteKind.VOTE else home[0].own_confirmed
    return bool(bits >> home[1] & 1)


class Cluster(Payer):
    """All nodes of a genesis of `building.make_genesis`, with one clock.

    `gates` decide message by message what passes; `on_step` sees each event with its effects.
    With `instant_answers` a node that starts is told at once what the others hold of its key, and
    that absent members hold nothing; without it the question travels like any message [D3].
    """

    def __init__(
        self,
        weights: tuple[int, ...] = (1, 1, 1, 1),
        *,
        coins: int = 32,
        closing_every: int = 4,
        seed: int = 0,
        delay_max_ms: int = 4,
        absent: Sequence[int] = (),
        instant_answers: bool = True,
    ) -> None:
        super().__init__(make_genesis(weights, coins=coins, closing_every=closing_every))
        self.now = 0
        self.gates: list[Gate] = []
        self.on_step: Callable[[Node, Event, list[Effect]], None] | None = None
        self.on_notice: Callable[[Node, Notice], object] | None = None
        self.on_record: Callable[[Node, Record], object] | None = None
        self.watch = Watch(self.genesis)
        self._dice = Random(seed)
        self._delay_max_ms = delay_max_ms
        self._instant_answers = instant_answers
        self._absent = absent
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._order = count()
        self.keys: list[Signer | None] = [*self.signers]
        self.nodes = [Node(i, Disk(self.genesis)) for i in range(len(weights))]
        for i in range(len(weights)):
            if i not in absent:
                self.start(i)

    # Life of nodes and links.

    def start(self, index: int) -> None:
        """Build a replica from the disk, let it begin, and connect it to all that are up."""
        node = self.nodes[index]
        tip = node.disk.tip
        node.life += 1
        node.timers, node.assembler = {}, BlockAssembler()
        replica = Replica(
            genesis=self.genesis,
            state=node.disk.state,
            view=node.disk,
            signer=self.keys[index],
            verifier=VERIFIER,
            tip_certificate=None if tip is None else tip.certificate,
            has_amnesia=node.disk.has_amnesia,
        )
        replica.recover(node.disk.journal(), tip, node.disk.deltas())
        node.replica = replica
        self.step(index, Started())
        if self._instant_answers:
            self._answer_for_absent(node)
        for other in self.nodes:
            if other.index != index and other.replica is not None:
                self.step(index, PeerConnected(self.peers[other.index]))
                self.step(other.index, PeerConnected(self.peers[index]))

    def _answer_for_absent(self, node: Node) -> None:
        state, question = node.core.state, node.core.silence.question
        nothing = OwnWords(question, state.height, state.epoch, 0, 1, (), (), (), ())
        for absent in self._absent:
            self.step(node.index, OwnWordsReceived(self.peers[absent], nothing))

    def crash(self, index: int) -> None:
        """Lose all of a node but its disk."""
        node = self.nodes[index]
        node.replica = None
        node.life += 1
        for other in self.nodes:
            if other.replica is not None:
                self.step(other.index, PeerDisconnected(self.peers[index]))

    def reconnect(self, one: int, other: int) -> None:
        """Break and make again the connection of two nodes."""
        for a, b in ((one, other), (other, one)):
            self.step(a, PeerDisconnected(self.peers[b]))
        for a, b in ((one, other), (other, one)):
            self.step(a, PeerConnected(self.peers[b]))

    # Time.

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (self.now + delay_ms, next(self._order), action))

    def run(self, duration_ms: int) -> None:
        """Let so much time pass."""
        end = self.now + duration_ms
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end

    def run_until(self, holds: Callable[[], bool], *, limit_ms: int = 30_000) -> None:
        """Let time pass until something holds; it must within the limit."""
        end = self.now + limit_ms
        while not holds():
            assert self._heap, "nothing will ever happen again"
            assert self._heap[0][0] <= end, f"not within {limit_ms} ms: {self.describe()}"
            self.now, _, action = heapq.heappop(self._heap)
            action()

    def run_to_height(self, height: int, *, limit_ms: int = 30_000) -> None:
        self.run_until(
            lambda: all(n.core.state.height >= height for n in self.up()), limit_ms=limit_ms
        )

    def up(self) -> list[Node]:
        return [node for node in self.nodes if node.replica is not None]

    def describe(self) -> str:
        return "; ".join(
            f"{n.index}: {n.replica.view.consensus()} {n.replica.view.pool()}"
            for n in self.up()
            if n.replica is not None
        )

    # Events and effects.

    def step(self, index: int, event: Event) -> list[Effect]:
        """Let a node take an event, and do what it asks for."""
        node = self.nodes[index]
        if node.replica is None:
            return []
        effects = node.replica.step(event, time_ms=GENESIS_TIME_MS + self.now)
        self.watch.see(self.ids[index], effects)
        if self.on_step is not None:
            self.on_step(node, event, effects)
        life = node.life
        for effect in effects:
            if node.life != life:
                break
            self._do(node, effect)
        return effects

    def _do(self, node: Node, effect: Effect) -> None:
        match effect:
            case Persist(record=record):
                node.disk.commit([record])
                if self.on_record is not None:
                    self.on_record(node, record)
                if isinstance(record, BlockDecided):
                    self._later(node, 1, Persisted(record.delta.height))
            case Broadcast(message=message):
                for other in self.nodes:
                    if other is not node:
                        self.transmit(node.index, other.index, message)
            case Send(peer=peer, message=message):
                if isinstance(message, GetBlock):
                    node.assembler.ask(peer, message.height)
                self.transmit(node.index, self.peers.index(peer), message)
            case ServeBlock(peer=peer, height=height, page=page):
                served = node.disk.page(height, page)
                if served is not None:
                    self.transmit(node.index, self.peers.index(peer), served)
            case SetTimer(timer=timer, delay_ms=delay_ms):
                self._set_timer(node, timer, delay_ms)
            case Penalise(peer=peer, code=code):
                node.penalties.append((peer, code))
            case Notify(notice=notice):
                node.notices.append(notice)
                if self.on_notice is not None:
                    self.on_notice(node, notice)

    def _later(self, node: Node, delay_ms: int, event: Event) -> None:
        life = node.life
        self.after(delay_ms, lambda: self.step(node.index, event) if node.life == life else None)

    def _set_timer(self, node: Node, timer: Timer, delay_ms: int) -> None:
        number = node.timers[timer] = next(self._order)
        life = node.life

        def fire() -> None:
            if node.life == life and node.timers.get(timer) == number:
                del node.timers[timer]
                self.step(node.index, TimerFired(timer))

        self.after(delay_ms, fire)

    def transmit(self, sender: int, receiver: int, message: Message) -> None:
        """Put a message on its way, if the gates let it pass."""
        if not all(gate(sender, receiver, message) for gate in self.gates):
            return
        data = encode_message(message)
        if self._instant_answers and isinstance(message, GetOwnWords | OwnWords):
            self.receive(sender, receiver, data)
            return
        delay_ms = self._dice.randint(1, self._delay_max_ms)
        self.after(delay_ms, lambda: self.receive(sender, receiver, data))

    def say(self, sender: int, receiver: int, message: Message) -> list[Effect]:
        """Hand a message over at once, as if the sender had sent it."""
        return self.receive(sender, receiver, encode_message(message))

    def receive(self, sender: int, receiver: int, data: bytes) -> list[Effect]:
        """Judge a frame and let the receiver take what it says; return all that it asks for."""
        node = self.nodes[receiver]
        if node.replica is None:
            return []
        view = node.replica.view
        judged = judge_frames(
            [(self.peers[sender], data)],
            chain_id=self.chain_id,
            lookup=view,
            verifier=VERIFIER,
            is_known_batch=view.has_batch,
        )
        effects: list[Effect] = []
        for outcome in judged.outcomes:
            if isinstance(outcome, Fault):
                node.penalties.append((outcome.peer, outcome.code))
            elif isinstance(outcome, PageReceived):
                self._on_page(node, outcome)
            else:
                effects += self.step(receiver, outcome)
        return effects

    def _on_page(self, node: Node, received: PageReceived) -> None:
        assert node.replica is not None
        height = received.page.height
        try:
            whole = node.assembler.add(received.peer, received.page)
            if whole is None:
                return
            assert not isinstance(whole, NextPage)
            event: Event = judge_block(
                whole.data,
                height=height,
                peer=received.peer,
                chain_id=self.chain_id,
                lookup=node.replica.view,
                verifier=VERIFIER,
                find_verified=node.replica.view.find_verified,
            )
        except Rejected as fault:
            node.penalties.append((received.peer, fault.code))
            event = BlockFetchFailed(received.peer, height)
        self.step(node.index, event)

    # Payments.

    def batch(self, *payments: Transaction) -> VerifiedBatch:
        made, faults = make_batch(payments, chain_id=self.chain_id, verifier=VERIFIER)
        assert made is not None
        assert not faults
        self.watch.learn(made)
        return made

    def submit(self, index: int, *payments: Transaction) -> VerifiedBatch:
        """Give a node payments of its own people, as one batch."""
        made = self.batch(*payments)
        self.step(index, BatchReceived(None, made))
        return made

    def is_final(self, index: int, payment: Transaction) -> bool:
        replica = self.nodes[index].replica
        return replica is not None and replica.view.is_final(make_txid(payment.body))

    def all_final(self, *payments: Transaction) -> bool:
        return all(self.is_final(n.index, payment) for n in self.up() for payment in payments)

    def decided_payments(self, height: int) -> list[bytes]:
        """Return the txids of a decided block without its coinbase."""
        block = self.up()[0].disk.blocks[height - 1].block
        return [make_txid(t.body) for t in block.transactions if t.body.inputs]

    def told_final(self, index: int) -> list[bytes]:
        told = [n for n in self.nodes[index].notices if isinstance(n, TransactionsFinal)]
        return [txid for notice in told for txid in notice.txids]

    def proposer_of(self, height: int, round_number: int) -> int:
        """Return the index of the node whose turn it is."""
        every = self.genesis.closing_every
        closing_below = (height - 1) // every
        place = closing_below if height % every == 0 else height - 1 - closing_below
        return self.ids.index(self.genesis.committee.proposer(place, round_number).member_id)
