"""One simulated node: the real replica, its timers and connections, and its crashes.

It does what the runtime of a node does: effects go disk first, then peers and timers, then
listeners; while a commit is in flight steps go on, and what they ask for queues behind it in one
order [F5, D1].
"""

from collections.abc import Sequence
from typing import assert_never

from lockstep.crypto.keys import Signer
from lockstep.errors import Rejected, Unavailable
from lockstep.primitives.block import Proposal
from lockstep.primitives.messages import GetBlock, Message, encode_message
from lockstep.primitives.transaction import Transaction
from lockstep.replica.batcher import Batcher
from lockstep.replica.blockpages import BlockAssembler, NextPage, judge_block
from lockstep.replica.effects import (
    BlockDecided,
    Broadcast,
    Effect,
    Notify,
    Penalise,
    Persist,
    Record,
    Send,
    ServeBlock,
    SetTimer,
)
from lockstep.replica.events import (
    BatchReceived,
    BlockFetchFailed,
    Event,
    PeerConnected,
    PeerDisconnected,
    Persisted,
    ProposalReceived,
    Started,
    Timer,
    TimerFired,
)
from lockstep.replica.ingress import Fault, PageReceived, judge_frames, make_batch
from lockstep.replica.replica import Replica
from lockstep.sim.computer import Computer
from lockstep.sim.surroundings import Surroundings
from lockstep.sim.timeline import describe


class Host(Computer):
    """A node's computer; the replica on it lives from `start` to `crash`, the disk longer.

    Attributes:
        member_id: Of its voting key.
        replica: None while the node is down.
        steps: Events its replicas took.
        late_proposals: Proposals met of a round below the replica's own.
    """

    def __init__(
        self,
        index: int,
        surroundings: Surroundings,
        *,
        signer: Signer,
        member_id: bytes,
        commit_times_ms: Sequence[int],
        skew_ms: int,
    ) -> None:
        """Set the computer up, switched off; commits take the given times, in turn."""
        clock, tape, genesis = surroundings.clock, surroundings.tape, surroundings.genesis
        super().__init__(index, clock=clock, tape=tape, genesis=genesis, skew_ms=skew_ms)
        self.member_id = member_id
        self.replica: Replica | None = None
        self.steps = 0
        self._around = surroundings
        self._index_of = {key: place for place, key in enumerate(surroundings.peers)}
        self._signer = signer
        self._commit_times_ms = commit_times_ms
        self._commits = 0
        self.late_proposals = 0
        self._forget()

    def _forget(self) -> None:
        """Lose all that is in memory."""
        self._timers: dict[Timer, int] = {}
        self._timer_number = 0
        self._waiting: list[Effect] = []
        self._in_flight: list[Effect] | None = None
        self._assembler = BlockAssembler()
        self._batcher = Batcher[Transaction](members=len(self._around.peers))
        self._pile = None

    @property
    def is_up(self) -> bool:
        """Tell whether the node runs."""
        return self.replica is not None

    def start(self) -> None:
        """Build a replica from the disk and let it begin."""
        disk = self.disk
        self._life += 1
        self._forget()
        tip = disk.tip
        replica = Replica(
            genesis=self._around.genesis,
            state=disk.state,
            view=disk,
            signer=self._signer,
            verifier=self._around.verifier,
            tip_certificate=None if tip is None else tip.certificate,
            has_amnesia=disk.has_amnesia,
        )
        replica.recover(disk.journal(), tip, disk.deltas())
        self.replica = replica
        self._note("start")
        self._around.observer.on_recovered(self)
        self.is_disk_new = False
        self._step(Started())

    def crash(self, *, is_flushed: bool) -> None:
        """Stop at once; a commit in flight is on the disk as a whole if `is_flushed`, or not."""
        if is_flushed and self._in_flight is not None:
            self.disk.commit(_records(self._in_flight))
        self.replica = None
        self._life += 1
        self._forget()
        self._note("crash")
        self._around.network.forget(self.index)

    def submit(self, transactions: Sequence[tuple[Transaction, bytes, int]]) -> None:
        """Take payments of a client: (transaction, txid, size in bytes) each."""
        if self._is_held(self.submit, transactions):
            return
        now_ms = self._clock.now_ms
        for transaction, txid, size_bytes in transactions:
            self._batcher.add(transaction, txid, size_bytes=size_bytes, time_ms=now_ms)
        self._poll_batcher(self._life)

    def on_connected(self, peer: int) -> None:
        """Learn that a peer can be reached."""
        if self._is_held(self.on_connected, peer):
            return
        self._note(f"connect {peer}")
        self._step(PeerConnected(self._around.peers[peer]))

    def on_disconnected(self, peer: int) -> None:
        """Learn that a peer is gone."""
        if self._is_held(self.on_disconnected, peer):
            return
        self._note(f"disconnect {peer}")
        self._assembler.forget_peer(self._around.peers[peer])
        self._step(PeerDisconnected(self._around.peers[peer]))

    def on_frames(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Judge frames as the ingress does, and let the replica take what they say."""
        replica = self.replica
        if replica is None or not frames:
            return
        if self._is_held(self.on_frames, frames):
            return
        peers = self._around.peers
        judged = judge_frames(
            [(peers[sender], data) for sender, data in frames],
            chain_id=self._around.genesis.chain_id,
            lookup=replica.view,
            verifier=self._around.verifier,
            is_known_batch=replica.view.has_batch,
        )
        for outcome in judged.outcomes:
            match outcome:
                case Fault(peer=peer, code=code):
                    self._around.observer.on_blamed(self, peer, code)
                case PageReceived():
                    self._on_page(outcome)
                case ProposalReceived(message=message):
                    self.late_proposals += _is_late(replica, message.proposal)
                    self._step(outcome)
                case _:
                    self._step(outcome)

    def _step(self, event: Event) -> None:
        replica = self.replica
        if replica is None:
            return
        tape = self._around.tape
        if tape.is_read:
            tape.tell(self._clock.now_ms, self.index, f"< {describe(event, tape.names)}")
        self.steps += 1
        is_gathering = self._in_flight is not None
        effects = replica.step(event, time_ms=self._wall_ms(), is_gathering=is_gathering)
        self._take(effects)

    def _take(self, effects: list[Effect]) -> None:
        """Queue what a step asks for behind the commit in flight, or do it."""
        tape = self._around.tape
        if not effects:
            return
        if tape.is_read:
            for effect in effects:
                tape.tell(self._clock.now_ms, self.index, f"> {describe(effect, tape.names)}")
        self._around.observer.on_effects(self, effects)
        self._release([effect for effect in effects if _is_free(effect)])
        effects = [effect for effect in effects if not _is_free(effect)]
        if self._in_flight is not None and not self._waiting and not _records(effects):
            self._in_flight.extend(effects)
        else:
            self._waiting.extend(effects)
            self._pump()

    def _pump(self) -> None:
        """Do what waits, or write it first; nothing passes a commit in flight."""
        if self._in_flight is not None or not self._waiting:
            return
        effects, self._waiting = self._waiting, []
        if not _records(effects):
            self._release(effects)
            return
        self._in_flight = effects
        self._batcher.commit_started()
        self._commits += 1
        duration_ms = self._commit_times_ms[self._commits % len(self._commit_times_ms)]
        self._clock.at(self._commit_ends(duration_ms), self._end_commit, self._life)

    def _end_commit(self, life: int) -> None:
        if self._is_held(self._end_commit, life):
            return
        effects = self._in_flight
        if life != self._life or effects is None:
            return
        records = _records(effects)
        self.disk.commit(records)
        self._in_flight = None
        self._batcher.commit_ended()
        self._release(effects)
        if self.replica is not None:
            self._take(self.replica.speak(time_ms=self._wall_ms()))
        self._pump()
        heights = [record.delta.height for record in records if isinstance(record, BlockDecided)]
        if heights:
            self._step(Persisted(heights[-1]))
        self._poll_batcher(life)

    def _release(self, effects: Sequence[Effect]) -> None:
        around = self._around
        for effect in effects:
            match effect:
                case Persist():
                    pass
                case Broadcast(message=message):
                    around.observer.on_sent(self, message)
                    data = encode_message(message)
                    around.tape.note(self._clock.now_ms, self.index, "sent to all", data)
                    around.network.broadcast(self.index, data)
                case Send(peer=peer, message=message):
                    self._send(peer, message)
                case ServeBlock(peer=peer, height=height, page=page):
                    served = self.disk.page(height, page)
                    if served is not None:
                        self._send(peer, served)
                case SetTimer(timer=timer, delay_ms=delay_ms):
                    self._set_timer(timer, delay_ms)
                case Penalise(peer=peer, code=code):
                    around.observer.on_blamed(self, peer, code)
                case Notify(notice=notice):
                    around.observer.on_notice(self, notice)
                case _:
                    assert_never(effect)

    def _send(self, peer: bytes, message: Message) -> None:
        around = self._around
        around.observer.on_sent(self, message)
        if isinstance(message, GetBlock) and message.page == 0:
            self._assembler.ask(peer, message.height)
        receiver = self._index_of[peer]
        data = encode_message(message)
        around.tape.note(self._clock.now_ms, self.index, f"sent to {receiver}", data)
        around.network.send(self.index, receiver, data)

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        self._timer_number += 1
        self._timers[timer] = self._timer_number
        self._clock.after(delay_ms, self._on_timer, timer, self._timer_number, self._life)

    def _on_timer(self, timer: Timer, number: int, life: int) -> None:
        if self._is_held(self._on_timer, timer, number, life):
            return
        if life == self._life and self._timers.get(timer) == number:
            del self._timers[timer]
            self._step(TimerFired(timer))

    def _on_page(self, received: PageReceived) -> None:
        replica = self.replica
        peer, height = received.peer, received.page.height
        if replica is None:
            return
        try:
            following = self._assembler.add(peer, received.page)
            if following is None:
                return
            if isinstance(following, NextPage):
                self._send(peer, GetBlock(following.height, following.page))
                return
            event: Event = judge_block(
                following.data,
                height=height,
                peer=peer,
                chain_id=self._around.genesis.chain_id,
                lookup=replica.view,
                verifier=self._around.verifier,
                find_verified=replica.view.find_verified,
            )
        except Rejected as fault:
            self._around.observer.on_blamed(self, peer, fault.code)
            event = BlockFetchFailed(peer, height)
        except Unavailable:
            event = BlockFetchFailed(peer, height)
        self._step(event)

    def _poll_batcher(self, life: int) -> None:
        """Close a batch if it is time, or look again when it will be [B1]."""
        if life != self._life or self.replica is None:
            return
        if self._is_held(self._poll_batcher, life):
            return
        now_ms = self._clock.now_ms
        due_ms = self._batcher.due_ms(now_ms)
        if due_ms is None:
            return
        if due_ms:
            self._clock.after(due_ms, self._poll_batcher, life)
            return
        batch, _ = make_batch(
            self._batcher.take(now_ms),
            chain_id=self._around.genesis.chain_id,
            verifier=self._around.verifier,
        )
        if batch is not None:
            self._around.observer.on_batch(batch.batch_id, batch.txids)
            self._step(BatchReceived(None, batch))
        self._poll_batcher(life)


def _is_late(replica: Replica, proposal: Proposal) -> bool:
    """Tell whether a proposal is of a round below the replica's own."""
    height = replica._core.height  # noqa: SLF001  # No answer of the view is so cheap.
    if height.driver is None or proposal.height != height.height:
        return False
    return proposal.round < height.driver.state.round


def _records(effects: Sequence[Effect]) -> list[Record]:
    return [effect.record for effect in effects if isinstance(effect, Persist)]


def _is_free(effect: Effect) -> bool:
    return isinstance(effect, Broadcast) and effect.is_free
