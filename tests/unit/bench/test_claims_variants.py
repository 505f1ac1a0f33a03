"""Each claim's variants, run small: they do the same work, and it is what it is said to be."""

from collections.abc import Callable
from typing import Any

import pytest

from lockstep.bench.claims import (
    connections,
    consensus,
    memory,
    pool,
    processor,
    storage,
    utxo,
)
from lockstep.bench.claims.contest import NAIVE, OURS, Contest, Round, judge, play_round
from lockstep.primitives.transaction import VerifiedBatch

pytestmark = pytest.mark.slow


def play(prepare: Callable[[int], Contest], size: int) -> Round:
    """Play two rounds; all variants of both came to one outcome, which the second returns."""
    contest = prepare(size)
    try:
        played = [play_round(contest) for _ in range(2)]
    finally:
        contest.close()
    for each in played:
        assert all(sample.outcome == each[OURS].outcome for sample in each.values())
        assert all(sample.items > 0 and sample.cpu_s > 0 for sample in each.values())
    return played[1]


def outcome_of(played: Round) -> Any:
    return played[OURS].outcome


def test_storage_makes_every_payment_final_and_journals_every_promise() -> None:
    played = play(storage.prepare, 3)
    final, promises = outcome_of(played)
    assert len(final) == 3 * storage.PAYMENTS == played[NAIVE].items
    words = [word for word, _, _ in promises]
    assert {word: words.count(word) for word in words} == dict.fromkeys(
        ("held", "voted", "confirmed"), 3
    )
    assert storage.GROUPED in played


def test_coins_are_locked_once_spent_and_created() -> None:
    played = play(utxo.prepare, 800)
    verdicts, found, left = outcome_of(played)
    # Every rival lost, and so nobody else did.
    assert verdicts.count(False) == 800 // utxo.RIVAL_EVERY
    assert found == 2 * utxo.LOOK_UPS
    paid = verdicts.count(True)
    unspent = 2 * 800 - 2 * paid
    assert sum(coin is not None for coin in left) == unspent + 2 * paid


def test_every_height_is_decided_and_every_word_leaves_after_its_record() -> None:
    played = play(consensus.prepare, 4)
    decided, sent, journal = outcome_of(played)
    assert len(decided) == 4 == len(set(decided))
    assert [(ballot.height, int(ballot.kind)) for ballot in sent] == [
        (height, kind) for height in range(1, 5) for kind in (1, 2)
    ]
    assert journal == sent
    assert played[OURS].items == 4 * (1 + 2 * (consensus.MEMBERS - 1))


def test_the_pool_shows_the_same_with_and_without_clones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "HELD", 600)
    played = play(pool.prepare, 2)
    seen = outcome_of(played)
    best, page = seen[0], seen[1]
    assert (len(best), len(page)) == (400, pool.PAGE)
    assert seen.count((1000, 1000 * 230)) == 2 * pool.NUMBERS_ASKED
    assert all(len(spenders) == 1 for spenders in seen[2 : 2 + pool.COINS_ASKED])


def test_every_node_hears_all_that_the_others_say() -> None:
    played = play(connections.prepare, 12)
    heard = outcome_of(played)
    assert played[NAIVE].items == 12 * connections.NODES * (connections.NODES - 1)
    assert [len(senders) for senders in heard] == [connections.NODES - 1] * connections.NODES
    # What one says is the same at all that hear it.
    by_sender: dict[bytes, set[str]] = {}
    for senders in heard:
        for peer, said in senders:
            by_sender.setdefault(peer, set()).add(said)
    assert [len(said) for said in by_sender.values()] == [1] * connections.NODES


def test_a_flood_grows_the_naive_member_alone_and_payments_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "BATCHES", 4)
    played = play(memory.prepare, 1000)
    assert len(outcome_of(played)) == 1
    row = judge(memory.CLAIM, [played])
    assert row.reached
    assert row.naive > 50 * memory.SHARE_MAX

    # A replica without its bounds would be found out.
    monkeypatch.setattr(memory, "OurMember", memory.Hoarder)
    monkeypatch.setattr(memory, "WARM_UP", 1000)
    crippled = judge(memory.CLAIM, [play(memory.prepare, 1000)])
    assert not crippled.reached


def test_signatures_are_judged_alike_in_the_loop_and_beside_it() -> None:
    played = play(processor.prepare, 2)
    judged: list[VerifiedBatch] = outcome_of(played)
    assert [len(batch.txids) for batch in judged] == [processor.BATCH] * 2
    assert all(None not in batch.transactions for batch in judged)
