"""The swarm with limits so small that it lives at them: full pools, throttles, pages, queues.

At their true size the standard swarm never comes near these limits, and what happens at a limit is
where such code is wrong. Each case is a limit made small in every module that reads it.

Stories: pages, seed 33, a node behind a slow link began a block anew at each request and never
had it; throttle, seeds 2 and 3, orphans took the room of a closing block in vain, so that contested
coins were never freed; pool, seed 2, a batch evicted its own payments and the vote on them stopped
the node.
"""

from importlib import import_module

import pytest

from lockstep.sim.outcome import Verdict
from lockstep.sim.swarm import run_seed

Limits = dict[str, dict[str, int]]

CASES: dict[str, tuple[Limits, range]] = {
    "blocks of many pages": (
        {
            "replica.blockpages": {"PAGE_BYTES_MAX": 600, "PAGES_MAX": 100_000},
            "sim.disk": {"PAGE_BYTES_MAX": 600},
        },
        range(32, 35),
    ),
    "votes for few unknown batches": (
        {"consensus.finality": {"UNKNOWN_ENTRIES_MAX": 3}},
        range(1, 4),
    ),
    "few early messages": (
        {"replica.early": {"HEIGHT_EVENTS_MAX": 2, "EPOCH_VOTES_MAX": 2}},
        range(3, 6),
    ),
    "small requests and votes": (
        {"replica.fetching": {"BATCH_IDS_MAX": 2}, "replica.saying": {"ENTRIES_MAX": 2}},
        range(3, 6),
    ),
    "coins folded in small pieces, and late": (
        {
            "replica.summing": {"FOLD_SLICE": 2, "FOLD_PAUSE_MS": 700},
            "ledger.folding": {"GATHERED_MAX": 3},
        },
        range(3, 6),
    ),
    "one block of sync at a time": ({"replica.catchup": {"WINDOW_BLOCKS": 1}}, range(8, 11)),
    "small throttle and blocks": (
        {
            "replica.locking": {"VOTED_BYTES_MAX": 4_000},
            "replica.proposing": {
                "CLOSING_BLOCK_BYTES_MAX": 13_000,
                "ORDINARY_BLOCK_BYTES_MAX": 5_000,
            },
            "ledger.blocks": {"CLOSING_BLOCK_BYTES_MAX": 13_000, "ORDINARY_BLOCK_BYTES_MAX": 5_000},
            "sim.world": {"HEALING_LIMIT_MS": 300_000},
        },
        range(2, 5),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(CASES))
def test_swarm_lives_at_a_small_limit(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limits, seeds = CASES[case]
    for module, names in limits.items():
        for name, value in names.items():
            monkeypatch.setattr(import_module(f"lockstep.{module}"), name, value)
    expect_passes(seeds)


@pytest.mark.slow
def test_swarm_lives_with_a_small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is evicted is told to its client, who submits it again."""
    pool = import_module("lockstep.mempool.pool").Pool
    defaults = {**pool.__init__.__kwdefaults__, "transactions_max": 15}
    monkeypatch.setattr(pool.__init__, "__kwdefaults__", defaults)
    expect_passes(range(3))


def expect_passes(seeds: range) -> None:
    for seed in seeds:
        outcome = run_seed(seed)
        assert (seed, outcome.verdict, outcome.sentence) == (seed, Verdict.PASS, "")
