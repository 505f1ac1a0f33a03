"""Refusals are remembered by leaf, bounded, the oldest dropped first [B1]."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.mempool.refusals import Refusal, Refusals
from lockstep.primitives.params import REFUSED_MAX


def refusal(leaf: int, txid: int, at_ms: int = 0) -> Refusal:
    return Refusal(bytes([leaf]) * 32, bytes([txid]) * 32, "tx.fee", "too low", at_ms)


def test_a_bad_witness_does_not_refuse_the_good_copy() -> None:
    """[B1] Two copies of one payment are two leaves."""
    refusals = Refusals()
    bad = refusal(1, 7)
    refusals.remember(bad)
    assert refusals.find(bad.leaf) == bad
    assert refusals.find(bytes([2]) * 32) is None
    assert refusals.find_txid(bad.txid) == bad


def test_a_thousand_are_kept() -> None:
    """[B1, 2.11]."""
    assert REFUSED_MAX == 1_000
    refusals = Refusals()
    for i in range(1_005):
        leaf = i.to_bytes(32, "big")
        refusals.remember(Refusal(leaf, leaf, "tx.fee", "too low", i))
    assert len(refusals) == 1_000
    assert refusals.find((4).to_bytes(32, "big")) is None
    assert refusals.find((5).to_bytes(32, "big")) is not None


@given(st.lists(st.tuples(st.sampled_from(["remember", "forget"]), st.integers(0, 7)), max_size=60))
def test_against_a_list(steps: list[tuple[str, int]]) -> None:
    """[B1] A list of the newest five, searched from its end."""
    refusals = Refusals(capacity=5)
    model: list[Refusal] = []
    for now, (what, leaf) in enumerate(steps):
        item = refusal(leaf, leaf % 3, now)
        model = [old for old in model if old.leaf != item.leaf]
        if what == "remember":
            refusals.remember(item)
            model = [*model, item][-5:]
        else:
            refusals.forget(item.leaf)
        assert len(refusals) == len(model)
        for i in range(8):
            expected = [old for old in model if old.leaf == bytes([i]) * 32]
            assert refusals.find(bytes([i]) * 32) == (expected[-1] if expected else None)
            copies = [old for old in model if old.txid == bytes([i]) * 32]
            assert refusals.find_txid(bytes([i]) * 32) == (copies[-1] if copies else None)
