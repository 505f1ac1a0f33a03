"""Claim: 40 % more throughput with storage off the event loop.

A member of four hands in batches of 20 payments, all at once, so that it never waits for work; its
three peers answer its words at once. Each batch is held, voted on, confirmed and called final, so
it takes three synced commits, and no word leaves before its record is on the disk. Core, store,
records and directory are those of a node, on a real disk.

The naive variant commits in the loop, as the predecessor did: each message is handled, what it
brought is written and synced, what it says is sent, and everything else stands still meanwhile.
Between the two stands a variant that commits in the loop as well, but once for all that a turn of
it brought: what then remains is the gain of the thread alone.

Ours is the product's `Runtime` with its storage thread: the loop takes further events while a
commit is under way, and the next commit takes all that came meanwhile.

Measured: payments made final a second of time that passes. It depends on the disk: where a sync
takes no time, in memory, nothing can be gained, and the report says how long it takes here.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

from lockstep.bench.claims.contest import Claim, Clock, Contest, Sample, run_on_loop, time_on_loop
from lockstep.bench.claims.played_network import PlayedNetwork, Timeless
from lockstep.node.inbox import Inbox
from lockstep.node.runtime import TURN_EVENTS_MAX, TURN_S_MAX, Runtime
from lockstep.primitives.messages import Message
from lockstep.primitives.votes import Vote
from lockstep.replica.blockpages import BlockAssembler
from lockstep.replica.effects import (
    BatchHeld,
    Broadcast,
    Effect,
    Notice,
    Notify,
    OwnConfirm,
    OwnVote,
    Persist,
    Record,
    Send,
    TransactionsFinal,
    VotingChanged,
)
from lockstep.replica.events import Event
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store

PAYMENTS: Final = 20
"""Payments of a batch: what four nodes gather at some hundred payments a second."""
GROUPED: Final = "a naive variant that commits once a turn"


class Driver(Protocol):
    """Whatever runs a core over a store."""

    async def run(self) -> None:
        """Handle events until `stop`."""
        ...

    def stop(self) -> None:
        """Let `run` return."""
        ...


class BlockingRuntime:
    """The naive variant: the loop itself writes, and waits for the disk."""

    def __init__(
        self, *, inbox: Inbox, core: Timeless, store: Store, around: "Around", group_max: int
    ) -> None:
        """Put the parts together."""
        self._inbox = inbox
        self._core = core
        self._store = store
        self._around = around
        self._group_max = group_max
        self._filled = asyncio.Event()
        self._stopping = False

    async def run(self) -> None:
        """Handle events turn by turn, each turn's records with one commit."""
        self._inbox.serve(self._filled.set)
        while not self._stopping:
            await self._filled.wait()
            self._filled.clear()
            records: list[Record] = []
            rest: list[Effect] = []
            started = time.perf_counter()
            for _ in range(self._group_max):
                event = self._inbox.pop()
                if event is None:
                    break
                for effect in self._core.step(event, time_ms=time.time_ns() // 1_000_000):
                    if isinstance(effect, Persist):
                        records.append(effect.record)
                    else:
                        rest.append(effect)
                if time.perf_counter() - started > TURN_S_MAX:
                    break
            if records:
                self._store.commit(records)
                self._store.shortage()
            for effect in rest:
                self._around.carry_out(effect)
            self._inbox.wake()
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping = True
        self._filled.set()


class Around:
    """What stands around either runtime: the played peers, the listeners, the next batch."""

    def __init__(self, network: PlayedNetwork, inbox: Inbox) -> None:
        """Nothing is submitted before the member may vote."""
        self.final: list[bytes] = []
        self.voting = asyncio.Event()
        self.done = asyncio.Event()
        self._network = network
        self._inbox = inbox

    def start(self) -> None:
        """Hand in all batches."""
        for number in range(len(self._network.batches)):
            self._inbox.put_now(self._network.submit(number))

    def carry_out(self, effect: Effect) -> None:
        """Do what a runtime would ask its peers and listeners to do."""
        match effect:
            case Broadcast(message=message):
                self.broadcast(message)
            case Send(peer=peer, message=message):
                self.send(peer, message)
            case Notify(notice=notice):
                self.publish(notice)
            case _:
                pass

    def broadcast(self, message: Message) -> None:
        """Let the peers answer."""
        for event in self._network.answers(message):
            self._inbox.put_now(event)

    def send(self, peer: bytes, message: Message) -> None:
        """Let one peer answer."""
        answer = self._network.answer_to(peer, message)
        if answer is not None:
            self._inbox.put_now(answer)

    def flush(self) -> None:
        """Do nothing: nothing is queued."""

    def penalise(self, peer: bytes, code: str) -> None:
        """Peers that are played do no wrong."""
        raise AssertionError(f"{peer.hex()} is blamed for {code}")

    def publish(self, notice: Notice) -> None:
        """Count what is final."""
        if isinstance(notice, VotingChanged):
            self.voting.set()
        if isinstance(notice, TransactionsFinal):
            self.final += notice.txids
            if len(self.final) == self._network.payments:
                self.done.set()


class _Silent:
    """Counts nothing."""

    def on_step(self, event: Event, effects: object, seconds: float) -> None:
        """Look away."""

    def on_spoken(self, effects: object) -> None:
        """Look away."""

    def on_commit(self, records: int, seconds: float) -> None:
        """Look away."""

    def on_lag(self, seconds: float) -> None:
        """Look away."""


def _run_blocking(
    inbox: Inbox, core: Timeless, store: Store, readers: Readers, around: Around
) -> Driver:
    del readers
    return BlockingRuntime(inbox=inbox, core=core, store=store, around=around, group_max=1)


def _run_grouped(
    inbox: Inbox, core: Timeless, store: Store, readers: Readers, around: Around
) -> Driver:
    del readers
    limit = TURN_EVENTS_MAX
    return BlockingRuntime(inbox=inbox, core=core, store=store, around=around, group_max=limit)


def _run_ours(
    inbox: Inbox, core: Timeless, store: Store, readers: Readers, around: Around
) -> Driver:
    return Runtime(
        inbox=inbox,
        core=core,
        store=store,
        reader=readers,
        peers=around,
        publish=around.publish,
        requests=BlockAssembler(),
        observer=_Silent(),
    )


Maker = Callable[[Inbox, Timeless, Store, Readers, Around], Driver]


async def _make_final(network: PlayedNetwork, store: Store, make: Maker) -> Sample:
    readers = store.readers()
    inbox = Inbox()
    around = Around(network, inbox)
    replica = network.make_replica(store.load_state(), readers, has_amnesia=store.has_amnesia)
    driver = make(inbox, Timeless(replica), store, readers, around)
    for event in network.beginning():
        inbox.put_now(event)
    async with asyncio.TaskGroup() as group:
        group.create_task(driver.run())
        await around.voting.wait()

        async def work() -> tuple[int, object]:
            around.start()
            await around.done.wait()
            return len(around.final), None

        timed = await time_on_loop(work)
        driver.stop()
    return Sample(timed.items, timed.cpu_s, timed.wall_s, frozenset(around.final))


def read_promises(store: Store) -> frozenset[tuple[str, bytes, bytes]]:
    """Return all that the journal holds of batches: held, voted for, confirmed."""
    found: list[tuple[str, bytes, bytes]] = []
    for record in store.load_journal():
        match record:
            case BatchHeld(batch_id=batch_id):
                found.append(("held", batch_id, b""))
            case OwnVote(vote=vote):
                found += _entries("voted", vote)
            case OwnConfirm(confirm=vote):
                found += _entries("confirmed", vote)
            case _:
                pass
    return frozenset(found)


def _entries(word: str, vote: Vote) -> list[tuple[str, bytes, bytes]]:
    return [(word, entry.batch_id, entry.bitmap) for entry in vote.entries]


def prepare(size: int) -> Contest:
    """Make a contest over `size` batches."""
    network = PlayedNetwork(batches=size, payments=PAYMENTS)

    def run(make: Maker) -> Sample:
        with TemporaryDirectory(prefix="lockstep-claims-") as place:
            store = network.open_store(Path(place, "data"))
            try:
                timed = run_on_loop(lambda: _make_final(network, store, make))
                outcome = (timed.outcome, read_promises(store))
            finally:
                store.close()
        return Sample(timed.items, timed.cpu_s, timed.wall_s, outcome)

    return Contest(
        naive=lambda: run(_run_blocking),
        ours=lambda: run(_run_ours),
        others={GROUPED: lambda: run(_run_grouped)},
    )


CLAIM: Final = Claim(
    name="storage",
    claimed=1.4,
    unit="payments final a second",
    what="a member of four makes batches of 20 payments final, three synced commits each: the "
    "loop waits for the disk at each message, against a storage thread",
    why_missed="where a synced write takes next to nothing there is nothing to wait for; see "
    "disk_sync_us",
    size=50,
    prepare=prepare,
    clock=Clock.WALL,
)
