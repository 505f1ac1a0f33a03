"""Readers answer as a plain model does, page by page and after any number of blocks [T8, T9]."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.ledger.coins import CoinOverlay
from lockstep.primitives.block import make_block_id
from lockstep.primitives.codec import encode
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.storage.coin_cache import ENTRY_BYTES
from lockstep.storage.store import Store
from unit.storage.made_chain import MadeChain, make_genesis

GENESIS = make_genesis(60)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path, GENESIS, voting_key=None)
    yield store
    store.close()


def test_chain_is_read_as_it_was_written(store: Store) -> None:
    chain = MadeChain(GENESIS, seed=4)
    store.commit([chain.decide(20) for _ in range(6)])
    readers = store.readers()
    assert readers.state() == chain.state
    assert readers.decided(0) is None
    assert readers.decided(7) is None
    for height, record in enumerate(chain.blocks, 1):
        assert readers.decided(height) == record.decided
        assert readers.height_of_block(make_block_id(record.decided.block.header)) == height
    for txid, place in chain.places.items():
        assert readers.transaction(txid) == place
        assert readers.height_of(txid) == place[1]
    assert readers.transaction(bytes(32)) is None
    assert readers.height_of(bytes(32)) is None
    assert readers.height_of_block(bytes(32)) is None


def test_large_block_is_read_in_pages(store: Store) -> None:
    """[T9]: pages join to the encoded block, and none is longer than a message may be."""
    chain = MadeChain(make_genesis(60), seed=5)
    store.commit([chain.decide(60, witnesses=100)])
    readers = store.readers()
    data = encode(chain.blocks[0].decided)
    assert readers.decided_bytes(1) == data
    count = -(-len(data) // PAGE_BYTES_MAX)
    assert count > 3
    pages = [readers.decided_page(1, page) for page in range(count)]
    assert b"".join(page[0] for page in pages if page) == data
    assert {page[1] for page in pages if page} == {count}
    for txid, place in chain.places.items():
        assert readers.transaction(txid) == place
    assert readers.decided_page(1, count) is None
    assert readers.decided_page(2, 0) is None


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_coins_of_an_address_are_paged(store: Store, limit: int) -> None:
    chain = MadeChain(GENESIS, seed=6)
    store.commit([chain.decide(30), chain.decide(30)])
    readers = store.readers()
    for lock in (*chain.locks, bytes(32)):
        found: list[tuple[bytes, object]] = []
        after: bytes | None = None
        while page := readers.coins_of_lock(lock, after, limit=limit):
            assert len(page) <= limit
            found += page
            after = page[-1][0]
        assert found == sorted((o, c) for o, c in chain.coins.items() if c.lock == lock)


ACTIONS = st.lists(
    st.sampled_from(["block", "read", "commit", "persisted", "persisted late"]), max_size=60
)


@settings(max_examples=40)
@given(actions=ACTIONS, entries=st.sampled_from([2, 7, 40, 10_000]))
def test_cache_and_overlay_never_serve_a_spent_coin(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str], entries: int
) -> None:
    """[T8]: with any delay between decision, commit, renewal and `Persisted`, reads are exact."""
    store = Store.open(tmp_path_factory.mktemp("cache"), GENESIS, voting_key=None)
    chain = MadeChain(GENESIS, seed=len(actions))
    readers = store.readers(size_bytes=lambda: entries * ENTRY_BYTES)
    overlay = CoinOverlay(readers)
    ever = dict.fromkeys(chain.coins)
    waiting, committed = [], 0
    for action in [*actions, "read"]:
        if action == "block":
            record = chain.decide(4)
            overlay.apply(record.delta)
            waiting.append(record)
            ever.update(dict.fromkeys(chain.coins))
        elif action == "commit" and waiting:
            store.commit(waiting)
            committed += len(waiting)
            waiting = []
        elif action == "persisted":
            readers.renew()
            overlay.forget(committed)
        elif action == "persisted late":
            readers.renew()
            overlay.forget(committed - 1)
        elif action == "read":
            outpoints = sorted(ever)
            assert overlay.coins_of(outpoints) == [chain.coins.get(o) for o in outpoints]
    assert readers._cache is not None
    assert len(readers._cache) <= readers._cache.entries_max
    store.close()
