"""A batch taken in at once leaves what payment by payment would have left [B5, F1, F6]."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.primitives.transaction import Transaction, VerifiedBatch
from lockstep.replica import admission
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
    made: list[tuple[bool, VerifiedBatch]], cluster: Cluster
) -> tuple[list[list[Effect]], object]:
    """Let a lone node take the batches; return its effects and what it holds then."""
    node = cluster.nodes[0]
    assert node.replica is not None
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


@settings(max_examples=60)
@given(batches)
def test_at_once_or_one_by_one(drawn: list[tuple[bool, list[tuple[int, int, bytes]]]]) -> None:
    cluster, alone = Cluster(absent=[1, 2, 3]), Cluster(absent=[1, 2, 3])

    def pay(coin: int, fee: int, memo: bytes) -> Transaction:
        return cluster.pay_coin(coin, fee=fee, memo=memo)

    made = [(own, cluster.batch(*[pay(*each) for each in group])) for own, group in drawn]
    for _, batch in made:
        alone.watch.learn(batch)
    together = outcome(made, cluster)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "_admit_together", lambda *_: [])
        assert outcome(made, alone) == together


def test_a_plain_batch_is_taken_in_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above compares one way with itself."""
    cluster = Cluster(absent=[1, 2, 3])
    monkeypatch.setattr(admission, "_admit", lambda *_, **__: pytest.fail("one by one"))
    cluster.submit(0, cluster.pay_coin(0), cluster.pay_coin(1))
    assert cluster.nodes[0].core.pool.voted_count == 2
