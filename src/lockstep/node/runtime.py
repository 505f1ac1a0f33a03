"""The runtime: event in, step, effects out, by stage and in one total order [F5, D1].

Records go to the one storage thread, one commit at a time, each taking all that waits. While a
commit is in flight steps go on; what they send or tell queues behind the commit that covers their
own records and every earlier one. A step without records, while nothing waits, is carried out at
once.

When the disk is nearly full no event is taken, so the node signs nothing, and all it knows is on
the disk and may be read. A commit that finds no room is tried again; nothing leaves before it ends.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

from lockstep.errors import Fatal
from lockstep.node.inbox import Inbox
from lockstep.node.ports import BlockReader, Core, Observer, Peers, Requests, Store
from lockstep.node.storagethread import StorageThread
from lockstep.primitives.messages import BlockPage, GetBlock
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
)
from lockstep.replica.events import Persisted, Timer, TimerFired
from lockstep.rpc.faults import NoRoom
from lockstep.storage.crashpoints import reach
from lockstep.storage.faults import DiskFull

TURN_EVENTS_MAX: Final = 64
"""Events handled before sockets and threads get their turn."""
TURN_S_MAX: Final = 0.003
"""The same in seconds."""
RECORDS_WAITING_MAX: Final = 256
"""Records that wait for the disk; with more, no event is taken."""
LAG_INTERVAL_S: Final = 0.25
ROOM_INTERVAL_S: Final = 1.0
"""How often a node with a full disk looks whether there is room again."""

logger: Final = logging.getLogger(__name__)


class _Group:
    """What one commit covers: its records, and what may leave after it, step by step."""

    __slots__ = ("height", "records", "released", "settlers")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.released: list[Effect] = []
        self.settlers: list[asyncio.Future[None]] = []
        self.height: int | None = None


class Runtime:
    """Drives one replica; owned by the loop's thread, with one storage thread beside it."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        core: Core,
        store: Store,
        reader: BlockReader,
        peers: Peers,
        publish: Callable[[Notice], None],
        requests: Requests,
        observer: Observer,
    ) -> None:
        """Put the parts together; nothing happens before `run`."""
        self._inbox = inbox
        self._core = core
        self._store = store
        self._reader = reader
        self._peers = peers
        self._publish = publish
        self._requests = requests
        self._observer = observer
        self._waiting = _Group()
        self._flying: _Group | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._over = asyncio.Event()
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._failure: BaseException | None = None
        self._stopping = False
        self._shortage: str | None = None
        self._refusal: DiskFull | None = None
        self._room_timer: asyncio.TimerHandle | None = None
        self._commit_watchers: list[Callable[[bool], None]] = []
        self._disk = StorageThread()

    def watch_commits(self, watcher: Callable[[bool], None]) -> None:
        """Call the watcher with True when a commit starts and with False when it has ended [B1]."""
        self._commit_watchers.append(watcher)

    async def run(self) -> None:
        """Handle events until `stop`; then make durable and send what waits.

        Raises:
            Fatal: If the core, the disk or an invariant is gone; nothing more was sent.
        """
        try:
            self._inbox.serve(self._on_events)
            await self._over.wait()
            await self._idle.wait()
            self._raise_failure()
        finally:
            self._stopping = True
            if self._room_timer is not None:
                self._room_timer.cancel()
            for handle in self._timers.values():
                handle.cancel()
            self._timers.clear()
            # A commit in flight ends before the database may be closed.
            self._disk.close()

    def stop(self) -> None:
        """Take no more events; `run` returns when what waits is durable and sent."""
        self._stopping = True
        if self._refusal is not None:
            self._fail(self._refusal)
        self._over.set()

    def fail(self, failure: Fatal) -> None:
        """Stop with this failure, met outside of a step."""
        self._fail(failure)

    async def settled(self) -> None:
        """Wait until everything the core did so far is synced, told, and seen by the readers.

        Raises:
            NoRoom: If the disk has no room for it.
        """
        if self._refusal is not None:
            raise NoRoom(str(self._refusal))
        group = self._waiting if self._waiting.records else self._flying
        if group is None:
            return
        settled = asyncio.get_running_loop().create_future()
        group.settlers.append(settled)
        await settled

    def shortage(self) -> str | None:
        """Return in one sentence that the disk is full, or nearly, and None while it is not."""
        return self._shortage

    async def watch_lag(self) -> None:
        """Measure for ever how late the loop runs what is due."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._observer.on_lag(max(0.0, loop.time() - due))

    def _on_events(self) -> None:
        """Handle events that wait; more of them after sockets and threads had their turn."""
        if self._stopping or self._failure is not None:
            return
        # No event is taken while too many records wait for the disk, or it is nearly full.
        if self._shortage is not None or len(self._waiting.records) >= RECORDS_WAITING_MAX:
            return
        try:
            self._turn()
        except Exception as fault:  # noqa: BLE001  # Any failure here must stop the node; `run` raises it.
            self._fail(fault)
        self._inbox.wake()

    def _turn(self) -> None:
        started = time.perf_counter()
        for _ in range(TURN_EVENTS_MAX):
            event = self._inbox.pop()
            if event is None:
                break
            # CPU time, so that what other threads and processes take is not blamed on the core.
            before = time.thread_time()
            effects = self._core.step(event, time_ms=_now_ms(), is_gathering=True)
            self._observer.on_step(event, effects, time.thread_time() - before)
            self._take(effects)
            if time.perf_counter() - started > TURN_S_MAX:
                break
        self._start_commit()
        if self._flying is not None:
            self._peers.flush()

    def _take(self, effects: list[Effect]) -> None:
        """Sort the effects of one step: records to the next commit, the rest behind its cover."""
        rest: list[Effect] = []
        waiting = self._waiting
        for effect in effects:
            if not isinstance(effect, Persist):
                if isinstance(effect, Broadcast) and effect.is_free:
                    self._peers.broadcast(effect.message)
                else:
                    rest.append(effect)
                continue
            waiting.records.append(effect.record)
            if isinstance(effect.record, BlockDecided):
                waiting.height = effect.record.state.height
        if waiting.records:
            waiting.released.extend(rest)
        elif self._flying is not None:
            self._flying.released.extend(rest)
        else:
            self._release(rest)

    def _start_commit(self) -> None:
        """Write what waits, with one message for all that was promised since the last commit."""
        if self._flying is not None:
            return
        spoken = self._core.speak(time_ms=_now_ms())
        if spoken:
            self._observer.on_spoken(spoken)
            self._take(spoken)
        if not self._waiting.records:
            return
        group = self._flying = self._waiting
        self._waiting = _Group()
        self._idle.clear()
        for watcher in self._commit_watchers:
            watcher(True)
        self._write(group)

    def _write(self, group: _Group) -> None:
        self._disk.do(partial(self._commit, group.records), self._ended)

    def _commit(self, records: list[Record]) -> tuple[float, str | None]:
        started = time.perf_counter()
        self._store.commit(records)
        return time.perf_counter() - started, self._store.shortage()

    def _ended(self, outcome: tuple[float, str | None] | BaseException) -> None:
        """Let out what the commit covers, and start the next; try it again if it found no room."""
        if isinstance(outcome, DiskFull):
            self._wait_for_room(outcome)
        elif isinstance(outcome, BaseException):
            self._fail(outcome)
        else:
            try:
                self._land(*outcome)
            except Exception as fault:  # noqa: BLE001  # The same: `run` raises it.
                self._fail(fault)

    def _land(self, seconds: float, shortage: str | None) -> None:
        self._refusal = None
        self._note_room(shortage)
        group = self._flying
        if group is None:
            return
        reach("release.commit.landed")
        self._flying = None
        self._inbox.wake()
        self._observer.on_commit(len(group.records), seconds)
        if group.height is not None:
            self._reader.renew()
            self._inbox.put_now(Persisted(height=group.height))
            reach("release.readers.renewed")
        # The disk works on while the covered messages leave.
        self._start_commit()
        self._release(group.released)
        # While the storage thread encodes, the loop would wait for its next turn.
        self._peers.flush()
        for settler in group.settlers:
            if not settler.done():
                settler.set_result(None)
        for watcher in self._commit_watchers:
            watcher(False)
        if self._flying is None:
            self._idle.set()

    def _wait_for_room(self, fault: DiskFull) -> None:
        """Keep the commit in flight, to try it again; who waits for it is told."""
        if self._stopping:
            self._fail(fault)
            return
        self._refusal = fault
        for group in (self._waiting, self._flying):
            for settler in () if group is None else group.settlers:
                if not settler.done():
                    settler.set_exception(NoRoom(str(fault)))
            if group is not None:
                group.settlers.clear()
        self._note_room(str(fault))

    def _note_room(self, shortage: str | None) -> None:
        """Say once that the disk is full and once that it is not; look again while it is."""
        if shortage is not None and self._shortage is None:
            logger.error("disk full: the node signs nothing", extra={"why": shortage})
        if shortage is None and self._shortage is not None:
            logger.info("the disk has room again: the node goes on")
        self._shortage = shortage
        if self._room_timer is not None:
            self._room_timer.cancel()
        if shortage is None:
            self._inbox.wake()
        elif not self._stopping:
            loop = asyncio.get_running_loop()
            self._room_timer = loop.call_later(ROOM_INTERVAL_S, self._look_for_room)

    def _look_for_room(self) -> None:
        """Try the commit that found no room again, or ask the disk where none did."""
        if self._flying is not None:
            if self._refusal is not None:
                self._write(self._flying)
            return
        self._disk.do(self._store.shortage, self._looked)

    def _looked(self, outcome: str | BaseException | None) -> None:
        if isinstance(outcome, BaseException):
            self._fail(outcome)
        else:
            self._note_room(outcome)

    def _release(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Broadcast(message=message):
                    self._peers.broadcast(message)
                    reach("release.broadcast.after")
                case Send(peer=peer, message=message):
                    if isinstance(message, GetBlock):
                        self._requests.ask(peer, message.height)
                    self._peers.send(peer, message)
                case ServeBlock():
                    self._serve(effect)
                case SetTimer(timer=timer, delay_ms=delay_ms):
                    self._set_timer(timer, delay_ms)
                case Penalise(peer=peer, code=code):
                    self._peers.penalise(peer, code)
                case Notify(notice=notice):
                    self._publish(notice)
                    reach("release.notice.after")
                case Persist():
                    raise AssertionError("a record is never released")
                case _:
                    assert_never(effect)

    def _serve(self, wanted: ServeBlock) -> None:
        found = self._reader.decided_page(wanted.height, wanted.page)
        if found is not None:
            data, pages = found
            page = BlockPage(height=wanted.height, page=wanted.page, pages=pages, data=data)
            self._peers.send(wanted.peer, page)

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        if self._stopping:
            return
        previous = self._timers.pop(timer, None)
        if previous is not None:
            previous.cancel()
        loop = asyncio.get_running_loop()
        self._timers[timer] = loop.call_later(delay_ms / 1000, self._fire, timer)

    def _fire(self, timer: Timer) -> None:
        del self._timers[timer]
        self._inbox.put_now(TimerFired(timer=timer))

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure
        self._idle.set()
        self._over.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
