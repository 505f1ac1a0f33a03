"""Claim: 50 % more throughput of consensus without a global round lock.

A member of 31 takes part in heights that a quorum of the others decides: for each a proposal, 30
prevotes and 30 precommits come in, one message each, and it signs a prevote and a precommit of its
own. No word of its own leaves before its record is synced to a real disk. Rules, records and
signatures are the product's: `consensus.Driver` with its `VoteKeeper`, and `storage.Store`.

The naive variant has one `asyncio.Lock` around the round: each message is a task that takes it,
and who signs keeps it until the record is on the disk and the word is sent, because nobody may see
a round half-way. Between the two stands a variant whose lock is given back before the sync, and
which commits as ours does: what then remains is the price of tasks and the lock alone.

Ours is what the replica and its runtime do: a message is a step that nothing can interrupt, its
records go to the storage thread, one commit at a time taking all that wait, and only the words wait
for the disk. Counting goes on.

Measured: messages counted a second of time that passes, until every height is decided and every
word has left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from msgspec import Struct

from lockstep.bench.claims.contest import Claim, Clock, Contest, Sample, run_on_loop, time_on_loop
from lockstep.bench.made_payments import make_genesis, make_key
from lockstep.consensus.driver import Driver
from lockstep.consensus.rounds import Decide, SendPrecommit, SendPrevote
from lockstep.crypto.hashing import tagged_hash
from lockstep.primitives.block import Ballot, BallotKind, Proposal, make_ballot_digest
from lockstep.primitives.committee import Committee, make_member_id
from lockstep.primitives.genesis import Genesis, genesis_committee
from lockstep.replica.effects import RoundSigned
from lockstep.storage.store import Store

MEMBERS: Final = 31
OWN: Final = 0
SHORT_LOCK: Final = "a lock that is given back before the sync"
_TURN: Final = 64
"""Messages that a turn of the loop handles, in both variants."""

Message = Proposal | Ballot
Commit = Callable[[list[RoundSigned]], None]


class Scene(Struct, frozen=True):
    """A committee, and the messages of each height in the order they come."""

    genesis: Genesis
    committee: Committee
    heights: list[list[Message]]


class Signer:
    """Our member: its height's driver, what it signs, and what has left."""

    def __init__(self, scene: Scene) -> None:
        """Begin at height 1."""
        self.decided: list[bytes] = []
        self.sent: list[Ballot] = []
        self._scene = scene
        self._key = make_key("member", OWN)
        self._id = make_member_id(self._key.public_key)
        self._driver = self._make_driver(1)

    def take(self, message: Message) -> tuple[list[Ballot], list[RoundSigned]]:
        """Count a message; return what we sign and the records to sync before it leaves."""
        if message.height <= len(self.decided):
            return [], []
        if isinstance(message, Proposal):
            outputs = self._driver.on_proposal(message, valid=True)
        else:
            outputs = self._driver.on_vote(message)
        signed: list[Ballot] = []
        records: list[RoundSigned] = []
        while outputs:
            output = outputs.pop(0)
            match output:
                case SendPrevote() | SendPrecommit():
                    ballot = self._sign(output)
                    signed.append(ballot)
                    records.append(self._record(ballot))
                    outputs += self._driver.on_vote(ballot)
                case Decide(value=value):
                    self.decided.append(value)
                    self._driver = self._make_driver(len(self.decided) + 1)
                    return signed, records
                case _:
                    pass
        return signed, records

    def _make_driver(self, height: int) -> Driver:
        committee = self._scene.committee
        return Driver(
            height=height,
            weights=committee,
            own=self._id,
            proposer=lambda number: committee.proposer(height - 1, number).member_id,
        )

    def _sign(self, output: SendPrevote | SendPrecommit) -> Ballot:
        is_prevote = isinstance(output, SendPrevote)
        kind = BallotKind.PREVOTE if is_prevote else BallotKind.PRECOMMIT
        height = self._driver.state.height
        digest = make_ballot_digest(
            chain_id=self._scene.genesis.chain_id,
            kind=kind,
            height=height,
            round_number=output.round,
            block_id=output.value,
            time_ms=0,
        )
        signature = self._key.sign(digest)
        return Ballot(kind, height, output.round, output.value, 0, self._id, signature)

    def _record(self, ballot: Ballot) -> RoundSigned:
        state = self._driver.state
        return RoundSigned(
            height=state.height,
            round=ballot.round,
            proposal=None,
            ballot=ballot,
            locked_round=state.locked_round,
            locked_value=state.locked_value,
            valid_round=state.valid_round,
            valid_value=state.valid_value,
            block=None,
            polc=(),
        )


def make_scene(heights: int) -> Scene:
    """Make the messages of so many heights, all decided in round 0."""
    genesis = make_genesis([1] * MEMBERS, coins=1)
    committee = genesis_committee(genesis)
    own = make_member_id(make_key("member", OWN).public_key)
    others = [member.member_id for member in committee.members if member.member_id != own]
    found: list[list[Message]] = []
    for height in range(1, heights + 1):
        value = tagged_hash("block", height.to_bytes(4, "big"))
        proposer = committee.proposer(height - 1, 0).member_id
        messages: list[Message] = [Proposal(height, 0, value, -1, proposer, bytes(64))]
        messages += [
            Ballot(kind, height, 0, value, 0, voter, bytes(64))
            for kind in BallotKind
            for voter in others
        ]
        found.append(messages)
    return Scene(genesis=genesis, committee=committee, heights=found)


class Committer:
    """The storage thread as the runtime uses it: one commit at a time, which takes all that waits.

    Words leave when the commit of their records has landed.
    """

    def __init__(self, commit: Commit, leave: Callable[[list[Ballot]], None]) -> None:
        """Start the thread."""
        self._commit = commit
        self._leave = leave
        self._records: list[RoundSigned] = []
        self._words: list[Ballot] = []
        self._landed = asyncio.Event()
        self._landed.set()
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1)

    def add(self, words: list[Ballot], records: list[RoundSigned]) -> None:
        """Let words wait behind their records."""
        self._records += records
        self._words += words

    def start(self) -> None:
        """Commit what waits, if nothing is under way."""
        if not self._records or not self._landed.is_set():
            return
        self._landed.clear()
        words, self._words = self._words, []
        records, self._records = self._records, []

        def land(done: "asyncio.Future[None]") -> None:
            done.result()
            self._landed.set()
            self._leave(words)
            self.start()

        self._loop.run_in_executor(self._disk, self._commit, records).add_done_callback(land)

    async def close(self) -> None:
        """Wait until everything has left."""
        while self._records or not self._landed.is_set():
            await self._landed.wait()
            await asyncio.sleep(0)
        self._disk.shutdown()


async def run_naive(scene: Scene, signer: Signer, commit: Commit) -> None:
    """Handle every message in a task, under the round's lock, which is kept over the sync."""
    loop = asyncio.get_running_loop()
    lock = asyncio.Lock()

    async def handle(message: Message) -> None:
        async with lock:
            signed, records = signer.take(message)
            if records:
                await loop.run_in_executor(disk, commit, records)
                signer.sent += signed

    with ThreadPoolExecutor(1) as disk:
        for turn in _turns(scene):
            async with asyncio.TaskGroup() as group:
                for message in turn:
                    group.create_task(handle(message))


async def run_short_lock(scene: Scene, signer: Signer, commit: Commit) -> None:
    """Handle every message in a task, under a lock that is given back before the sync."""
    lock = asyncio.Lock()
    committer = Committer(commit, signer.sent.extend)

    async def handle(message: Message) -> None:
        async with lock:
            committer.add(*signer.take(message))

    for turn in _turns(scene):
        async with asyncio.TaskGroup() as group:
            for message in turn:
                group.create_task(handle(message))
        committer.start()
    await committer.close()


async def run_ours(scene: Scene, signer: Signer, commit: Commit) -> None:
    """Handle a turn's messages in steps; only the words wait for the disk."""
    committer = Committer(commit, signer.sent.extend)
    for turn in _turns(scene):
        for message in turn:
            committer.add(*signer.take(message))
        committer.start()
        await asyncio.sleep(0)
    await committer.close()


def _turns(scene: Scene) -> list[list[Message]]:
    messages = [message for height in scene.heights for message in height]
    return [messages[start : start + _TURN] for start in range(0, len(messages), _TURN)]


Run = Callable[[Scene, Signer, Commit], Awaitable[None]]


def prepare(size: int) -> Contest:
    """Make a contest over `size` heights."""
    scene = make_scene(size)
    messages = sum(map(len, scene.heights))
    public_key = make_key("member", OWN).public_key

    def run(variant: Run) -> Sample:
        signer = Signer(scene)

        async def work() -> tuple[int, object]:
            await variant(scene, signer, store.commit)
            return messages, None

        with TemporaryDirectory(prefix="lockstep-claims-") as place:
            directory = Path(place, "data")
            directory.mkdir()
            Store.create(directory, scene.genesis, voting_key=public_key)
            store = Store.open(directory, scene.genesis, voting_key=public_key)
            try:
                timed = run_on_loop(lambda: time_on_loop(work))
                journal = _ballots(store)
            finally:
                store.close()
        return Sample(
            timed.items, timed.cpu_s, timed.wall_s, (signer.decided, signer.sent, journal)
        )

    return Contest(
        naive=partial(run, run_naive),
        ours=partial(run, run_ours),
        others={SHORT_LOCK: partial(run, run_short_lock)},
    )


def _ballots(store: Store) -> list[Ballot | None]:
    return [record.ballot for record in store.load_journal() if isinstance(record, RoundSigned)]


CLAIM: Final = Claim(
    name="consensus",
    claimed=1.5,
    unit="messages a second",
    what="proposals and ballots of 31 members counted, own ballots synced before they leave: a "
    "round lock that is kept until the disk has answered, against steps that do not wait",
    why_missed="",
    size=40,
    prepare=prepare,
    clock=Clock.WALL,
)
