"""A batch taken in or confirmed at once is as if payment by payment [B5, F1, F3, F6]."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.primitives.transaction import Transaction, VerifiedBatch
from lockstep.replica import admission, voting
from lockstep.replica.core import Core
from lockstep.replica.effects import Effect
from lockstep.replica.events import BatchReceived
from unit.replica.cluster import FEE, Cluster

TIME_MS = 1_700_000_001_000
COINS = 6

# (coin, fee, memo): equal coins are rivals, a fee of 1 is too low, memos make payments differ.
payments = st.tuples(
    st.integers(0, COINS - 1), st.sampled_from([FEE, FEE, FEE, 1]), st.sampled_from([b"", b"m"])
)
batches = st.lists(
    st.tuples(st.booleans(), st.lists(payments, min_size=1, max_size=4, unique=True)),
    min_size=1,
    max_size=5,
)


def outcome(
    made: list[tuple[bool, VerifiedBatch]], cluster: Cluster, *, is_frozen: bool, room: int
) -> tuple[list[list[Effect]], object]:
    """Let a lone node take the batches; return its effects and what it holds then."""
    node = cluster.nodes[0]
    assert node.replica is not None
    node.core.finality.frozen = is_frozen
    node.core.pool.transactions_max = room
    effects = [
        node.replica.step(BatchReceived(None if own else b"\x01" * 32, batch), time_ms=TIME_MS)
        for own, batch in made
    ]
    return effects, describe(node.core)


def describe(core: Core) -> object:
    pool, finality = core.pool, core.finality
    return (
        [(e.verified.txid, e.fee, e.voted, e.waiting, e.parents, e.age) for e in pool],
        [e.verified.txid for e in pool.waiting()],
        (pool.voted_count, pool.voted_bytes, pool.waiting_count, pool.waiting_bytes),
        {coin: pool.spenders(coin) for coin in pool._spenders},
        finality._locks,
        {batch_id: tally.own_voted for batch_id, tally in finality.batches.items()},
    )


@settings(max_examples=80)
@given(batches, st.booleans(), st.sampled_from([3, 5, 100]))
def test_at_once_or_one_by_one(
    drawn: list[tuple[bool, list[tuple[int, int, bytes]]]], is_frozen: bool, room: int
) -> None:
    """At a closing height [T5] and before, with room for what waits and with little."""
    cluster, alone = Cluster(absent=[1, 2, 3]), Cluster(absent=[1, 2, 3])

    def pay(coin: int, fee: int, memo: bytes) -> Transaction:
        return cluster.pay_coin(coin, fee=fee, memo=memo)

    made = [(own, cluster.batch(*[pay(*each) for each in group])) for own, group in drawn]
    for _, batch in made:
        alone.watch.learn(batch)
    together = outcome(made, cluster, is_frozen=is_frozen, room=room)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "_admit_together", lambda *_: [])
        assert outcome(made, alone, is_frozen=is_frozen, room=room) == together


def test_a_plain_batch_is_taken_in_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above compares one way with itself."""
    cluster = Cluster(absent=[1, 2, 3])
    monkeypatch.setattr(admission, "_admit", lambda *_, **__: pytest.fail("one by one"))
    pool = cluster.nodes[0].core.pool
    cluster.submit(0, cluster.pay_coin(0), cluster.pay_coin(1))
    assert (pool.voted_count, pool.waiting_count) == (2, 0)
    cluster.nodes[0].core.finality.frozen = True
    cluster.submit(0, cluster.pay_coin(2), cluster.pay_coin(3))
    assert (pool.voted_count, pool.waiting_count) == (2, 2)


def everything(drawn: list[tuple[bool, list[tuple[int, int, bytes]]]]) -> list[object]:
    """Let a network make payments final, of which some are rivals; return all that happens."""
    cluster = Cluster()
    happened: list[object] = []
    cluster.on_step = lambda node, _event, effects: happened.extend(
        (node.index, e) for e in effects
    )
    for number, (_, group) in enumerate(drawn):
        payments = [cluster.pay_coin(coin, fee=fee, memo=memo) for coin, fee, memo in group]
        cluster.submit(number % 4, *payments)
        cluster.run(3)
    cluster.run(1_500)
    return happened


@settings(max_examples=15)
@given(batches)
def test_confirmed_at_once_or_one_by_one(
    drawn: list[tuple[bool, list[tuple[int, int, bytes]]]],
) -> None:
    """[F3]."""
    together = everything(drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voting, "_checked_before", lambda *_: 0)
        assert everything(drawn) == together


def test_what_was_voted_for_is_confirmed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above compares one way with itself."""
    cluster = Cluster()
    monkeypatch.setattr(voting, "_checked_now", lambda *_: pytest.fail("one by one"))
    first, second = cluster.pay_coin(0), cluster.pay_coin(1)
    cluster.submit(0, first, second)
    cluster.run_until(lambda: cluster.all_final(first, second), limit_ms=200)
