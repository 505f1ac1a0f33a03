"""The store keeps what it was given, in order, and refuses what is not its own [D1-D4, T8]."""

import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lockstep.errors import Fatal, LockstepError, Misuse
from lockstep.ledger.coins import CoinDelta
from lockstep.primitives.codec import encode
from lockstep.primitives.evidence import evidence_subject
from lockstep.replica.effects import (
    AmnesiaEnded,
    AmnesiaNoted,
    EvidenceHeld,
    OwnFreeze,
    Record,
)
from lockstep.storage.crashpoints import listen
from lockstep.storage.creation import UNFINISHED_DIRECTORY
from lockstep.storage.directory import LOCK_FILE
from lockstep.storage.faults import (
    AlreadyCreated,
    CorruptedRecord,
    DirectoryLocked,
    DiskFull,
    ForeignKey,
    MissingChain,
    NewerSchema,
    OlderSchema,
    StorageFailed,
    WrongChain,
)
from lockstep.storage.flusher import FlushLimits
from lockstep.storage.schema import SCHEMA_KEY, SCHEMA_VERSION
from lockstep.storage.store import Store
from lockstep.storage.tables import Table
from unit.storage.journal_model import JournalModel, essence
from unit.storage.made_chain import MadeChain, make_genesis

KEY = bytes(range(32))
GENESIS = make_genesis(50)
EAGER = FlushLimits(changes=0, is_concurrent=False)


@contextmanager
def opened(directory: Path, key: bytes | None = KEY) -> Iterator[Store]:
    store = Store.open(directory, GENESIS, voting_key=key)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a data directory as `init` leaves it."""
    Store.create(tmp_path, GENESIS, voting_key=KEY)
    return tmp_path


def test_fresh_chain_holds_genesis(made: Path) -> None:
    chain = MadeChain(GENESIS)
    with opened(made) as store:
        assert store.load_state() == chain.state
        assert store.load_tip() is None
        assert store.load_journal() == []
        assert dict(store.readers().all_coins()) == chain.coins
        assert not store.has_amnesia


STEPS = st.lists(
    st.sampled_from(
        [
            *("batch", "vote", "confirm", "quorum", "round", "next round", "evidence"),
            *("block", "closing", "commit"),
        ]
    ),
    max_size=40,
)


@settings(max_examples=25)
@given(steps=STEPS, reopen_after=st.integers(0, 8))
def test_journal_is_what_the_model_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], reopen_after: int
) -> None:
    """[D2, N4]: rounds go at their height, words with the epoch, the rest when it is dropped."""
    directory = tmp_path_factory.mktemp("journal")
    Store.create(directory, GENESIS, voting_key=KEY)
    chain, model = MadeChain(GENESIS, seed=len(steps)), JournalModel()
    waiting: list[Record] = []
    store = Store.open(directory, GENESIS, voting_key=KEY)
    for number, step in enumerate([*steps, "commit"]):
        if step == "commit":
            store.commit(waiting)
            model.commit(waiting)
            waiting = []
            if number % (reopen_after + 1) == 0:
                store.close()
                store = Store.open(directory, GENESIS, voting_key=KEY)
            assert [essence(r) for r in store.load_journal()] == model.expected()
        else:
            waiting.append(make_record(chain, model, step))
    assert store.load_state() == chain.state
    assert dict(store.readers().all_coins()) == chain.coins
    store.close()


def make_record(chain: MadeChain, model: JournalModel, step: str) -> Record:
    match step:
        case "batch":
            return chain.batch()
        case "vote":
            return chain.own_vote()
        case "confirm":
            return chain.own_confirm()
        case "quorum":
            return chain.quorum()
        case "evidence":
            return chain.evidence()
        case "round" | "next round":
            return chain.round_signed(chain.state.height + 1 + (step == "next round"))
    dropped = tuple(batch.batch_id for batch in model.batches[::2])
    freeze = chain.freeze() if step == "block" and chain.state.height % 2 else None
    held = [row.evidence for row in model.rows if isinstance(row, EvidenceHeld)]
    return chain.decide(
        3,
        closes_epoch=step == "closing",
        freeze=freeze,
        dropped=dropped,
        dropped_evidence=tuple(evidence_subject(piece) for piece in held[::2]),
    )


def test_own_freeze_comes_back_whichever_way_it_was_written(made: Path) -> None:
    chain = MadeChain(GENESIS)
    freeze = chain.freeze()
    for record in (chain.decide(3, freeze=freeze), OwnFreeze(freeze)):
        with opened(made) as store:
            store.commit([record])
    with opened(made) as store:
        assert store.load_journal() == [OwnFreeze(freeze), OwnFreeze(freeze)]


def test_coin_made_and_spent_in_one_commit_leaves_no_row(made: Path) -> None:
    chain = MadeChain(GENESIS, seed=1)
    blocks = [chain.decide(50) for _ in range(4)]
    with opened(made) as store:
        store.commit(blocks)
        assert dict(store.readers().all_coins()) == chain.coins


def test_second_process_is_refused_and_told_by_whom(made: Path) -> None:
    """[D4]: flock is of the open file, so one process stands for two here."""
    with opened(made), pytest.raises(DirectoryLocked, match=str(os.getpid())):
        Store.open(made, GENESIS, voting_key=KEY)
    with opened(made), pytest.raises(DirectoryLocked):
        Store.inspect(made, GENESIS)
    descriptor = os.open(made / LOCK_FILE, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(DirectoryLocked):
        Store.create(made, GENESIS, voting_key=KEY)
    os.close(descriptor)
    with opened(made):
        pass


@pytest.mark.parametrize("door", [Store.inspect, lambda d, g: Store.open(d, g, voting_key=KEY)])
def test_another_chain_is_refused(made: Path, door: object) -> None:
    assert callable(door)
    with pytest.raises(WrongChain):
        door(made, make_genesis(50, salt=1))
    with opened(made):
        pass


@pytest.mark.parametrize("other", [None, bytes(32)])
def test_journal_of_another_key_is_refused(made: Path, other: bytes | None) -> None:
    """[D3]: without its journal a key must not sign, and this journal is not its."""
    with pytest.raises(ForeignKey):
        Store.open(made, GENESIS, voting_key=other)
    with opened(made):
        pass


def test_key_without_its_journal_has_amnesia_until_told(tmp_path: Path) -> None:
    """[D3]: also after the next start, when the new journal looks like any other."""
    with opened(tmp_path) as store:
        assert store.has_amnesia
        store.commit([MadeChain(GENESIS).decide(1)])
    with opened(tmp_path) as store:
        assert store.has_amnesia


@pytest.mark.parametrize("is_wiped", [False, True])
def test_amnesia_lasts_over_epochs_and_starts_until_it_is_said_to_be_over(
    tmp_path: Path, *, is_wiped: bool
) -> None:
    """[D3]: the newest note counts, and the write that ends it makes the journal whole."""
    if not is_wiped:
        Store.create(tmp_path, GENESIS, voting_key=KEY)
    chain = MadeChain(GENESIS)
    notes = [AmnesiaNoted(None), AmnesiaNoted(3)]
    with opened(tmp_path) as store:
        store.commit([notes[0], chain.own_vote()])
    with opened(tmp_path) as store:
        assert store.has_amnesia
        assert notes[0] in store.load_journal()
        store.commit([notes[1], chain.decide(2, closes_epoch=True)])
        store.commit([chain.decide(2, closes_epoch=True)])
    with opened(tmp_path) as store:
        assert store.has_amnesia
        assert store.load_journal() == [notes[1]]
        vote = chain.own_vote()
        store.commit([AmnesiaEnded(), vote])
    with opened(tmp_path) as store:
        assert not store.has_amnesia
        assert store.load_journal() == [vote]


def test_node_without_key_has_nothing_to_forget(tmp_path: Path) -> None:
    with opened(tmp_path, key=None) as store:
        assert not store.has_amnesia


@pytest.mark.parametrize(
    ("version", "refused"), [(SCHEMA_VERSION - 1, OlderSchema), (SCHEMA_VERSION + 1, NewerSchema)]
)
def test_another_schema_is_refused(made: Path, version: int, refused: type[Fatal]) -> None:
    """One sentence names both versions."""
    with lmdb.open(str(made / "chain"), map_size=1 << 40, max_dbs=16) as env:
        handle = env.open_db(b"meta", create=False)
        row = Table("meta", handle).seal(SCHEMA_KEY, encode(version))
        with env.begin(write=True) as txn:
            txn.put(SCHEMA_KEY, row, db=handle)
    with pytest.raises(refused, match=f"{version}.*{SCHEMA_VERSION}"):
        Store.open(made, GENESIS, voting_key=KEY)


def test_create_never_overwrites(made: Path) -> None:
    with pytest.raises(AlreadyCreated):
        Store.create(made, GENESIS, voting_key=KEY)


def test_creation_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED_DIRECTORY).mkdir()
    (tmp_path / UNFINISHED_DIRECTORY / "data.mdb").write_bytes(b"half")
    Store.create(tmp_path, GENESIS, voting_key=KEY)
    with opened(tmp_path) as store:
        assert store.load_state().height == 0
        assert not (tmp_path / UNFINISHED_DIRECTORY).exists()


def test_inspection_reads_and_never_writes(made: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingChain):
        Store.inspect(tmp_path / "chain", GENESIS)
    chain = MadeChain(GENESIS)
    with opened(made) as store:
        store.commit([chain.own_vote(), chain.decide(5)])
    store = Store.inspect(made, GENESIS)
    assert store.load_tip() == chain.blocks[0].decided
    assert len(store.load_journal()) == 1
    with pytest.raises(Misuse):
        store.commit([chain.own_vote()])
    store.close()


def test_skipped_height_is_misuse_and_leaves_nothing(made: Path) -> None:
    chain = MadeChain(GENESIS)
    vote, _, second = chain.own_vote(), chain.decide(2), chain.decide(2)
    with opened(made) as store:
        with pytest.raises(Misuse):
            store.commit([vote, second])
        with pytest.raises(Misuse):
            store.commit([vote])
    with opened(made) as store:
        assert store.load_journal() == []
        assert store.load_state().height == 0


def test_spending_a_coin_that_is_not_there_is_found(made: Path) -> None:
    """A delta that does not fit the coins is refused whole by the index, and no more is taken."""
    chain = MadeChain(GENESIS)
    spent = min(chain.coins)
    decision = chain.decide(0)
    delta = CoinDelta(1, (), ((bytes(36), MadeChain(GENESIS).coins[spent]),), ())
    wrong = replace(decision, delta=delta)
    store = Store.open(made, GENESIS, voting_key=KEY, limits=EAGER)
    with pytest.raises(CorruptedRecord):
        store.commit([wrong])
    with pytest.raises(Misuse):
        store.commit([chain.own_vote()])
    store.close()
    with opened(made) as store:
        assert dict(store.readers().all_coins()) == MadeChain(GENESIS).coins


@pytest.mark.parametrize("site", ["commit.begin.before", "commit.sync.before", "commit.sync.after"])
def test_crash_points_stand_around_the_commit(made: Path, site: str) -> None:
    chain = MadeChain(GENESIS)

    def crash(reached: str) -> None:
        if reached == site:
            raise KeyboardInterrupt

    store = Store.open(made, GENESIS, voting_key=KEY)
    forget = listen(crash)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.commit([chain.own_vote()])
    finally:
        forget()
    store.close()
    with opened(made) as again:
        assert len(again.load_journal()) == (site == "commit.sync.after")


def test_full_disk_drops_one_commit_whole_and_takes_it_when_there_is_room(made: Path) -> None:
    """A limit on the size of files stands for the full disk: the write fails the same way."""
    chain, model = MadeChain(GENESIS), JournalModel()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(made) as store:
        first: list[Record] = [chain.batch(), chain.own_vote()]
        store.commit(first)
        model.commit(first)
        size = (made / "chain" / "data.mdb").stat().st_size
        dropped = (model.batches[0].batch_id,)
        too_much: list[Record] = [
            chain.own_confirm(),
            chain.decide(5, closes_epoch=True, dropped=dropped),
            chain.batch(1_000_000),
            AmnesiaNoted(3),
        ]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
        try:
            for _ in range(3):
                with pytest.raises(DiskFull):
                    store.commit(too_much)
                assert [essence(row) for row in store.load_journal()] == model.expected()
                assert store.load_state().height == 0
                assert not store.has_amnesia
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        store.commit(too_much)
        model.commit(too_much)
        assert [essence(row) for row in store.load_journal()] == model.expected()
    with opened(made) as store:
        assert [essence(row) for row in store.load_journal()] == model.expected()
        assert store.load_state() == chain.state
        assert store.has_amnesia


def test_directory_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        Store.open(tmp_path / "file", GENESIS, voting_key=KEY)
    with pytest.raises(LockstepError):
        Store.open(tmp_path / "missing", GENESIS, voting_key=KEY)


def test_cache_that_is_made_late_missed_no_commit(made: Path) -> None:
    chain = MadeChain(GENESIS, seed=2)
    with opened(made) as store:
        readers = store.readers()
        ever = sorted(chain.coins)
        store.commit([chain.decide(10)])
        readers.coins_of(ever)
        readers.renew()
        assert readers.coins_of(ever) == [chain.coins.get(o) for o in ever]


def test_commits_of_another_thread_are_seen_after_renewal(made: Path) -> None:
    chain = MadeChain(GENESIS, seed=2)
    with opened(made) as store:
        readers = store.readers()
        readers.coins_of(sorted(chain.coins))
        for _ in range(5):
            before = dict(chain.coins)
            thread = threading.Thread(target=store.commit, args=([chain.decide(10)],))
            thread.start()
            thread.join()
            assert readers.state().height == chain.state.height - 1
            assert readers.coins_of(sorted(before)) == [before[o] for o in sorted(before)]
            readers.renew()
            everything = sorted({*before, *chain.coins})
            assert readers.coins_of(everything) == [chain.coins.get(o) for o in everything]
