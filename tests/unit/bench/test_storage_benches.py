"""The benchmarks of storage measure what they say, on stores that hold what was made."""

from pathlib import Path

import pytest

from lockstep.bench import recovery
from lockstep.bench.coin_read import BATCH, BYTES_MAX, fill, make_variants, measure_cached_bytes
from lockstep.bench.journal import BATCH_SIZES, measure_blocks
from lockstep.bench.journal import make_variants as make_commits
from lockstep.bench.made_chain import ChainMaker
from lockstep.errors import Misuse
from lockstep.replica.replica import Replica
from lockstep.storage.store import Store


def test_every_commit_of_a_batch_adds_to_the_journal(tmp_path: Path) -> None:
    store = Store.open(tmp_path, ChainMaker().genesis, voting_key=None)
    variants = make_commits(store)
    assert {f"vote.{size}" for size in BATCH_SIZES} < set(variants)
    for variant in variants.values():
        before = len(store.load_journal())
        variant.work()
        variant.work()
        assert len(store.load_journal()) - before in {2, 4}
    store.close()


def test_blocks_and_both_kinds_of_flush_are_measured() -> None:
    figures = measure_blocks(2, blocks=3, payments=5)
    assert set(figures) == {"block.5", "index.fresh", "index.old"}
    assert figures["block.5"].samples == 4
    assert all(figure.cpu > 0 for figure in figures.values())


def test_coins_are_read_from_where_the_benchmark_says(tmp_path: Path) -> None:
    maker = ChainMaker()
    store = Store.open(tmp_path, maker.genesis, voting_key=None)
    settled, fresh = fill(store, maker, coins=500)
    variants = make_variants(store, settled, fresh)
    for name, variant in variants.items():
        coins = variant.work()
        assert isinstance(coins, list)
        assert len(coins) == BATCH
        assert [coin is None for coin in coins] == [name == "unknown"] * BATCH
    for readers in store._readers:
        readers.close()
    store.close()


def test_a_cached_coin_takes_no_more_than_is_allowed() -> None:
    assert 100 < measure_cached_bytes(20_000) <= BYTES_MAX


def test_a_start_is_measured_only_if_it_brings_everything_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = recovery.measure_recovery(1, payments=900, block_payments=10)
    assert set(figures) == set(recovery.PARTS)
    monkeypatch.setattr(Replica, "recover", lambda *_: None)
    with pytest.raises(Misuse, match="does not hold the payments"):
        recovery.measure_recovery(1, payments=10, block_payments=1)
