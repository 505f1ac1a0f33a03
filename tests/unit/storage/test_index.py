"""The index follows the chain in bulk, and no reader can tell where it stands [T8, D2]."""

import resource
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.ledger.coins import Coin, CoinOverlay
from lockstep.replica.effects import Record
from lockstep.storage import coin_cache
from lockstep.storage.coin_cache import ENTRY_BYTES
from lockstep.storage.crashpoints import listen
from lockstep.storage.faults import CorruptedRecord, DiskFull
from lockstep.storage.flusher import BACKLOG_MAX, FlushLimits
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store
from lockstep.storage.tables import LmdbTransaction, Table
from unit.storage.made_chain import MadeChain, make_genesis

GENESIS = make_genesis(60)
NEVER = FlushLimits(changes=10**9, age_s=1e9, is_concurrent=False)


@contextmanager
def opened(directory: Path, limits: FlushLimits = NEVER) -> Iterator[Store]:
    store = Store.open(directory, GENESIS, voting_key=None, limits=limits)
    try:
        yield store
    finally:
        store.close()


def indexed_height(store: Store) -> int:
    with store._index.env.begin() as txn:
        return store._index.load_mark(txn).height


def assert_reads(readers: Readers, chain: MadeChain, ever: list[bytes], limit: int = 7) -> None:
    """Hold everything that is read against the model."""
    assert readers.state() == chain.state
    assert readers.coins_of(ever) == [chain.coins.get(outpoint) for outpoint in ever]
    assert dict(readers.all_coins()) == chain.coins
    for txid, place in chain.places.items():
        assert readers.transaction(txid) == place
        assert readers.height_of(txid) == place[1]
    for lock in chain.locks:
        found: list[tuple[bytes, object]] = []
        while page := readers.coins_of_lock(lock, found[-1][0] if found else None, limit=limit):
            found += page
        assert found == sorted((o, c) for o, c in chain.coins.items() if c.lock == lock)
    assert [delta.height for delta in readers.deltas()] == list(range(1, chain.state.height + 1))
    assert readers.deltas() == [record.delta for record in chain.blocks]


ACTIONS = st.lists(
    st.sampled_from(["block", "commit", "flush", "renew", "read", "crash", "reopen"]), max_size=40
)


@settings(max_examples=40)
@given(actions=ACTIONS, entries=st.sampled_from([2, 40, 10_000]))
def test_reads_are_exact_wherever_the_index_stands(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str], entries: int
) -> None:
    """With any blocks in the index, in layers or in flight, and after a crash at any of them."""
    directory = tmp_path_factory.mktemp("index")
    chain = MadeChain(GENESIS, seed=len(actions))
    store = Store.open(directory, GENESIS, voting_key=None, limits=NEVER)

    def read() -> Readers:
        return store.readers(size_bytes=lambda: entries * ENTRY_BYTES)

    readers = read()
    overlay = CoinOverlay(readers)
    ever = dict.fromkeys(chain.coins)
    waiting = []
    for action in [*actions, "block", "commit", "renew", "read"]:
        if action == "block":
            record = chain.decide(4)
            overlay.apply(record.delta)
            waiting.append(record)
            ever.update(dict.fromkeys(chain.coins))
        elif action == "commit":
            store.commit(waiting)
            waiting = []
        elif action == "flush":
            store.flush()
        elif action == "renew":
            readers.renew()
            overlay.forget(readers.state().height)
        elif action in {"crash", "reopen"} and not waiting:
            left = tmp_path_factory.mktemp("left") / "node"
            shutil.copytree(directory, left)
            readers.close()
            store.close()
            directory = left if action == "crash" else directory
            store = Store.open(directory, GENESIS, voting_key=None, limits=NEVER)
            readers = read()
            overlay = CoinOverlay(readers)
        outpoints = sorted(ever)
        assert overlay.coins_of(outpoints) == [chain.coins.get(o) for o in outpoints]
        if action == "read" and not waiting:
            readers.renew()
            overlay.forget(chain.state.height)
            assert_reads(readers, chain, outpoints)
    readers.close()
    store.close()
    with opened(directory) as store:
        assert indexed_height(store) == chain.state.height


def test_a_coin_made_and_spent_between_two_flushes_touches_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = MadeChain(GENESIS, seed=1)
    written: list[bytes] = []
    really_insert = Table.insert

    def insert(table: Table, txn: LmdbTransaction, rows: Iterable[tuple[bytes, bytes]]) -> None:
        known = list(rows)
        written.extend(key for key, _ in known if table.name == "coins")
        really_insert(table, txn, known)

    with opened(tmp_path) as store:
        for _ in range(4):
            store.commit([chain.decide(60)])
        monkeypatch.setattr(Table, "insert", insert)
        store.flush()
    assert set(written) == {o for o, coin in chain.coins.items() if coin.height}
    assert len(written) < sum(len(record.delta.created) for record in chain.blocks)


def test_the_thread_keeps_up_and_nobody_sees_it(tmp_path: Path) -> None:
    chain = MadeChain(GENESIS, seed=3)
    limits = FlushLimits(changes=100)
    with opened(tmp_path, limits) as store:
        readers = store.readers()
        ever = dict.fromkeys(chain.coins)
        for _ in range(60):
            store.commit([chain.decide(10)])
            ever.update(dict.fromkeys(chain.coins))
            readers.renew()
            assert readers.coins_of(list(ever)) == [chain.coins.get(o) for o in ever]
            assert store._layers.changes < (BACKLOG_MAX + 1) * limits.changes
        assert indexed_height(store) > 0
        assert_reads(readers, chain, sorted(ever))
    with opened(tmp_path) as store:
        assert indexed_height(store) == chain.state.height


def test_a_block_flushed_between_two_moments_is_not_missed(tmp_path: Path) -> None:
    """A layer that comes while the flush begins is of the generation of those that it writes."""
    chain = MadeChain(GENESIS, seed=6)
    with opened(tmp_path) as store:
        store.commit([chain.decide(6)])
        readers = store.readers()
        ever = list(chain.coins)
        assert None not in readers.coins_of(ever)
        store.commit([chain.decide(len(ever))])

        def flush(site: str) -> None:
            if site == "commit.sync.before":
                store.flush()

        forget = listen(flush)
        store.commit([chain.decide(6)])
        forget()
        readers.renew()
        assert indexed_height(store) == 2
        assert readers.coins_of(ever) == [None] * len(ever)


def test_a_coin_made_by_a_recent_block_is_not_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = MadeChain(GENESIS, seed=7)
    monkeypatch.setattr(coin_cache, "RECENT_MAX", 60)
    with opened(tmp_path) as store:
        readers = store.readers()
        readers.coins_of([])
        made: list[dict[bytes, Coin]] = []
        for _ in range(3):
            record = chain.decide(10)
            made.append(dict(record.delta.created))
            store.commit([record])
            readers.renew()
            store.flush()
            readers.renew()
        assert not readers._newest_first
        monkeypatch.setattr(Table, "get_many", lambda *_: pytest.fail("the index is read"))
        for coins in made[1:]:
            expected = [chain.coins.get(outpoint) for outpoint in coins]
            assert readers.coins_of(list(coins)) == expected
        with pytest.raises(pytest.fail.Exception):
            readers.coins_of(list(made[0]))


def test_a_commit_waits_where_the_index_is_far_behind(tmp_path: Path) -> None:
    chain = MadeChain(GENESIS, seed=4)
    limits = FlushLimits(changes=50)
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def hold(site: str) -> None:
        if site == "flush.begin.before":
            begun.set()
            assert go_on.wait(30)

    forget = listen(hold)
    try:
        with opened(tmp_path, limits) as store:
            while store._layers.changes < BACKLOG_MAX * limits.changes:
                store.commit([chain.decide(10)])
            assert begun.wait(30)
            record = chain.decide(10)

            def commit() -> None:
                store.commit([record])
                done.set()

            thread = threading.Thread(target=commit)
            thread.start()
            assert not done.wait(0.05)
            go_on.set()
            assert done.wait(30)
            thread.join()
            assert dict(store.readers().all_coins()) == chain.coins
    finally:
        go_on.set()
        forget()


@pytest.mark.parametrize("is_concurrent", [False, True])
def test_a_full_disk_stops_the_index_then_the_chain_and_neither_loses_anything(
    tmp_path: Path, *, is_concurrent: bool
) -> None:
    """The index, which is the larger file here, finds no room; in the end a commit says so."""
    genesis = make_genesis(20_000)
    chain = MadeChain(genesis)
    limits = FlushLimits(changes=100, is_concurrent=is_concurrent)
    store = Store.open(tmp_path, genesis, voting_key=None, limits=limits)
    size = (tmp_path / "chain" / "index" / "data.mdb").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
    try:
        refused = chain.decide(10)
        while is_taken(store, refused):
            refused = chain.decide(10)
        assert refused.state.height > BACKLOG_MAX
        assert not is_taken(store, refused)
        assert store.load_state().height == refused.state.height - 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    # The flusher looks for room once a second.
    while not is_taken(store, refused):
        pass
    store.close()
    store = Store.open(tmp_path, genesis, voting_key=None, limits=NEVER)
    assert indexed_height(store) == chain.state.height
    assert dict(store.readers().all_coins()) == chain.coins
    store.close()


def is_taken(store: Store, record: Record) -> bool:
    """Offer a record; tell whether there was room."""
    try:
        store.commit([record])
    except DiskFull:
        return False
    return True


def test_an_older_index_is_brought_up_to_the_chain(tmp_path: Path) -> None:
    """Its mark says from where; nothing but the blocks is needed."""
    chain = MadeChain(GENESIS, seed=5)
    place = tmp_path / "node"
    place.mkdir()
    with opened(place) as store:
        store.commit([chain.decide(10) for _ in range(3)])
    shutil.copytree(place / "chain" / "index", tmp_path / "older")
    with opened(place) as store:
        store.commit([chain.decide(10) for _ in range(3)])
    shutil.rmtree(place / "chain" / "index")
    (tmp_path / "older").rename(place / "chain" / "index")
    with opened(place) as store:
        assert indexed_height(store) == 3
        assert_reads(store.readers(), chain, sorted(chain.coins))


@pytest.mark.parametrize("fault", ["another chain", "ahead", "another block"])
def test_an_index_that_does_not_fit_the_chain_is_refused(tmp_path: Path, fault: str) -> None:
    places = [tmp_path / "one", tmp_path / "other"]
    for number, place in enumerate(places):
        place.mkdir()
        genesis = make_genesis(60, salt=1) if fault == "another chain" and number else GENESIS
        store = Store.open(place, genesis, voting_key=None, limits=NEVER)
        chain = MadeChain(genesis, seed=number)
        heights = 3 if fault == "ahead" and number else 2
        store.commit([chain.decide(2) for _ in range(heights)])
        store.close()
    shutil.rmtree(places[0] / "chain" / "index")
    shutil.copytree(places[1] / "chain" / "index", places[0] / "chain" / "index")
    with pytest.raises(CorruptedRecord, match=r"the index is at|is another"):
        Store.open(places[0], GENESIS, voting_key=None)


def test_what_no_moment_shows_any_more_is_freed_a_little_with_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[T8] What landed is let go in pieces, faster than it comes, and never while it is shown."""
    monkeypatch.setattr("lockstep.storage.readers.FREED_MIN", 3)
    monkeypatch.setattr("lockstep.storage.coin_cache.RECENT_MAX", 40)
    chain = MadeChain(GENESIS, seed=9)
    with opened(tmp_path) as store:
        readers = store.readers()
        ever = sorted(chain.coins)
        left = [0]
        for number in range(40):
            brought = 6 if number < 30 else 0
            record = chain.decide(brought)
            ever += [outpoint for outpoint, _ in record.delta.created]
            store.commit([record])
            if number % 5 == 4:
                store.flush()
            readers.renew()
            assert readers.coins_of(ever) == [chain.coins.get(outpoint) for outpoint in ever]
            left.append(sum(map(len, readers._outlived)))
            freed = 3 + 2 * (3 * brought + brought)
            assert left[-1] >= left[-2] - freed
        assert max(left) > 20
        assert left[-1] == 0
