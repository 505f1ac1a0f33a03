"""The runtime: event in, step, effects out, by stage and in one total order [F5, D1].

Records go to the one storage thread, one commit at a time, each taking all that waits. While a
commit is in flight steps go on; what they send or tell queues behind the commit that covers their
own records and every earlier one. A step without records, while nothing waits, is carried out at
once.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, assert_never

from lockstep.errors import Fatal
from lockstep.node.inbox import Inbox
from lockstep.primitives.messages import BlockPage, GetBlock, Message
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
from lockstep.replica.events import Event, Persisted, Timer, TimerFired
from lockstep.storage.crashpoints import reach

TURN_EVENTS_MAX: Final = 64
"""Events handled before sockets and threads get their turn."""
TURN_S_MAX: Final = 0.003
"""The same in seconds."""
RECORDS_WAITING_MAX: Final = 256
"""Records that wait for the disk; with more, no event is taken."""
LAG_INTERVAL_S: Final = 0.25


class Core(Protocol):
    """The replica, as the runtime drives it."""

    def step(self, event: Event, *, time_ms: int) -> list[Effect]:
        """Handle one event; `time_ms` is the wall clock. Raises nothing but Fatal."""
        ...


class Store(Protocol):
    """Whatever makes records durable; called in the storage thread alone."""

    def commit(self, records: Sequence[Record]) -> None:
        """Write the records in one synced transaction."""
        ...


class BlockReader(Protocol):
    """Whatever reads decided blocks; called on the loop's thread."""

    def renew(self) -> None:
        """See what was committed until now."""
        ...

    def decided_page(self, height: int, page: int) -> tuple[bytes, int] | None:
        """Return a page of an encoded decided block and the number of its pages, or None."""
        ...


class Peers(Protocol):
    """Whatever speaks to peers; queues and returns at once."""

    def broadcast(self, message: Message) -> None:
        """Send to every connected peer."""
        ...

    def send(self, peer: bytes, message: Message) -> None:
        """Send to one peer, if it is connected."""
        ...

    def penalise(self, peer: bytes, code: str) -> None:
        """Note that the peer did what no honest node does."""
        ...


class Requests(Protocol):
    """Whatever must know which decided blocks were asked for."""

    def ask(self, peer: bytes, height: int) -> None:
        """Note that the peer is asked for this block."""
        ...


class Observer(Protocol):
    """Whatever derives numbers from what happens, outside the core."""

    def on_step(self, event: Event, effects: Sequence[Effect], seconds: float) -> None:
        """Look at a step and the CPU time it took."""
        ...

    def on_commit(self, records: int, seconds: float) -> None:
        """Look at a commit of that many records."""
        ...

    def on_lag(self, seconds: float) -> None:
        """Look at how late the loop was."""
        ...


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
        self._landed = asyncio.Event()
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._failure: BaseException | None = None
        self._stopping = False
        self._commit_watchers: list[Callable[[bool], None]] = []
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="storage")

    def watch_commits(self, watcher: Callable[[bool], None]) -> None:
        """Call the watcher with True when a commit starts and with False when it has ended [B1]."""
        self._commit_watchers.append(watcher)

    async def run(self) -> None:
        """Handle events until `stop`; then make durable and send what waits.

        Raises:
            Fatal: If the core, the disk or an invariant is gone; nothing more was sent.
        """
        try:
            while not self._stopping:
                await self._inbox.ready()
                self._raise_failure()
                self._turn()
                # One pass of the loop, so that sockets and threads get their turn.
                await asyncio.sleep(0)
                await self._let_disk_keep_up()
            await self._idle.wait()
            self._raise_failure()
        finally:
            for handle in self._timers.values():
                handle.cancel()
            self._timers.clear()
            # A commit in flight ends before the database may be closed.
            self._disk.shutdown(wait=True)

    def stop(self) -> None:
        """Take no more events; `run` returns when what waits is durable and sent."""
        self._stopping = True
        self._inbox.wake()

    def fail(self, failure: Fatal) -> None:
        """Stop with this failure, met outside of a step."""
        self._fail(failure)

    async def settled(self) -> None:
        """Wait until everything the core did so far is synced, told, and seen by the readers."""
        group = self._waiting if self._waiting.records else self._flying
        if group is None:
            return
        settled = asyncio.get_running_loop().create_future()
        group.settlers.append(settled)
        await settled

    async def watch_lag(self) -> None:
        """Measure for ever how late the loop runs what is due."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._observer.on_lag(max(0.0, loop.time() - due))

    async def _let_disk_keep_up(self) -> None:
        """Take no event while too many records wait for the commit in flight to end."""
        while len(self._waiting.records) >= RECORDS_WAITING_MAX and self._failure is None:
            self._landed.clear()
            await self._landed.wait()

    def _turn(self) -> None:
        started = time.perf_counter()
        for _ in range(TURN_EVENTS_MAX):
            event = self._inbox.pop()
            if event is None:
                break
            # CPU time, so that what other threads and processes take is not blamed on the core.
            before = time.thread_time()
            effects = self._core.step(event, time_ms=time.time_ns() // 1_000_000)
            self._observer.on_step(event, effects, time.thread_time() - before)
            self._take(effects)
            if time.perf_counter() - started > TURN_S_MAX:
                break
        self._start_commit()

    def _take(self, effects: list[Effect]) -> None:
        """Sort the effects of one step: records to the next commit, the rest behind its cover."""
        rest: list[Effect] = []
        waiting = self._waiting
        for effect in effects:
            if not isinstance(effect, Persist):
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
        if self._flying is not None or not self._waiting.records:
            return
        group = self._flying = self._waiting
        self._waiting = _Group()
        self._idle.clear()
        for watcher in self._commit_watchers:
            watcher(True)
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._disk, self._commit, group.records).add_done_callback(self._ended)

    def _commit(self, records: list[Record]) -> float:
        started = time.perf_counter()
        self._store.commit(records)
        return time.perf_counter() - started

    def _ended(self, commit: "asyncio.Future[float]") -> None:
        """Let out what the commit covers, and start the next."""
        try:
            seconds = commit.result()
            group = self._flying
            if group is None:
                return
            reach("release.commit.landed")
            self._flying = None
            self._landed.set()
            self._observer.on_commit(len(group.records), seconds)
            if group.height is not None:
                self._reader.renew()
                self._inbox.put_now(Persisted(height=group.height))
                reach("release.readers.renewed")
            # The disk works on while the covered messages leave.
            self._start_commit()
            self._release(group.released)
            for settler in group.settlers:
                if not settler.done():
                    settler.set_result(None)
            for watcher in self._commit_watchers:
                watcher(False)
            if self._flying is None:
                self._idle.set()
        except (Exception, asyncio.CancelledError) as fault:  # noqa: BLE001  # Any failure here must stop the node; `run` raises it.
            self._fail(fault)

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
        self._landed.set()
        self._inbox.wake()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
