"""Heights by kind, the times of blocks, the set of an epoch, coins over the database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from building import DictCoins, make_genesis
from lockstep.errors import Misuse
from lockstep.ledger.blocks import (
    is_closing_height,
    kind_index,
)
from lockstep.ledger.carried import median_time
from lockstep.ledger.coins import Coin, CoinDelta, CoinOverlay
from lockstep.ledger.masternodes import committee_of_epoch, next_set_hash
from lockstep.primitives.block import (
    CommitCertificate,
    CommitSignature,
)
from lockstep.primitives.committee import Committee, Member
from unit.ledger.planting import (
    FOREIGN,
    chain_at,
)


@given(closing_every=st.integers(2, 12), height=st.integers(1, 200))
def test_heights_are_counted_by_kind(closing_every: int, height: int) -> None:
    """[T1, M4]."""
    same = [
        h
        for h in range(1, height)
        if (h % closing_every == 0) == is_closing_height(height, closing_every)
    ]
    assert kind_index(height, closing_every) == len(same)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=9))
def test_time_is_the_weighted_median(entries: list[tuple[int, int]]) -> None:
    """[T3] The least t such that entries with time <= t have at least half the weight."""
    members = [
        Member(i.to_bytes(32, "big"), bytes(32), bytes(32), weight, 1, bytes(32))
        for i, (_, weight) in enumerate(entries)
    ]
    signatures = tuple(
        CommitSignature(member.member_id, time_ms, bytes(64))
        for member, (time_ms, _) in zip(members, entries, strict=True)
    )
    certificate = CommitCertificate(1, 0, bytes(32), signatures)
    total = sum(weight for _, weight in entries)
    expected = min(
        t
        for t in range(21)
        if 2 * sum(weight for time_ms, weight in entries if time_ms <= t) >= total
    )
    assert median_time(certificate, Committee(members)) == expected


def test_times_of_a_chain() -> None:
    """[T3] Height 1: genesis + 1; then the median, but at least the parent's time + 1."""
    chain = chain_at(1)
    start = chain.state.time_ms
    chain.add(chain.assemble(), late_ms=700)
    assert chain.state.time_ms == start + 1
    chain.add(chain.assemble(), late_ms=-5_000)
    assert chain.state.time_ms == start + 701
    chain.add(chain.assemble())
    assert chain.state.time_ms == start + 702


def test_no_entry_of_a_member_gives_no_time() -> None:
    chain = chain_at(2)
    assert chain.certificate is not None
    foreign = replace(chain.certificate, signatures=(CommitSignature(FOREIGN, 5, bytes(64)),))
    with pytest.raises(Misuse):
        median_time(foreign, chain.committee)


def test_set_of_an_epoch_is_the_genesis_set_for_now() -> None:
    """[M1, M4]."""
    genesis = make_genesis((4, 3, 2, 2))
    assert committee_of_epoch(genesis, 0) is committee_of_epoch(genesis, 7)
    assert next_set_hash(genesis, 3) == genesis.committee.set_hash
    with pytest.raises(Misuse):
        committee_of_epoch(genesis, -1)


@given(st.data())
def test_overlay_reads_like_the_base_with_all_deltas_applied(data: st.DataObject) -> None:
    """[T8] However far the base has come, and whatever of it was forgotten already."""
    base_coins = {bytes([i]) * 36: Coin(i + 1, bytes(32), 0) for i in range(4)}
    live = dict(base_coins)
    deltas = []
    for height in range(1, 6):
        spent = data.draw(st.lists(st.sampled_from(sorted(live)), unique=True, max_size=2))
        created = {bytes([10 * height + i]) * 36: Coin(height, bytes(32), height) for i in range(2)}
        deltas.append(
            CoinDelta(
                height,
                tuple(created.items()),
                tuple((o, live[o]) for o in spent),
                (bytes([height]) * 32,),
            )
        )
        for outpoint in spent:
            del live[outpoint]
        live.update(created)
    written = data.draw(st.integers(0, 5))
    forgotten = data.draw(st.integers(0, written))
    base = DictCoins(base_coins)
    for delta in deltas[:written]:
        base.apply(delta)
    overlay = CoinOverlay(base)
    for delta in deltas:
        overlay.apply(delta)
    overlay.forget(forgotten)
    asked = sorted({*base_coins, *(o for d in deltas for o, _ in d.created), b"\xff" * 36})
    assert overlay.coins_of(asked) == [live.get(outpoint) for outpoint in asked]
    assert [overlay.height_of(bytes([h]) * 32) for h in range(1, 7)] == [1, 2, 3, 4, 5, None]
