"""What a closing block pays: every base unit is accounted for, whoever took part [N3]."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from building import GENESIS_TIME_MS, make_genesis
from lockstep.errors import Misuse
from lockstep.ledger.rewards import issuance, make_coinbase
from lockstep.ledger.state import ChainState, initial_state
from lockstep.primitives import codec
from lockstep.primitives.bitmap import iterate_bits
from lockstep.primitives.committee import Committee, Member
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.params import COIN, DUST, SUPPLY_MAX
from lockstep.primitives.transaction import TransactionBody, TransactionOutput, make_txid

GENESIS: Final = make_genesis()
NOMINAL_MS: Final = 4_000
BELOW: Final = initial_state(GENESIS)


def make_committee(rewards: list[int], *, locks: list[int] | None = None) -> Committee:
    """Make members with these reward weights; equal numbers in `locks` share a payout lock."""
    places = locks or list(range(len(rewards)))
    return Committee(
        Member(
            member_id=i.to_bytes(32, "big"),
            voting_key=bytes(32),
            node_key=bytes(32),
            weight=1,
            reward_weight=weight,
            payout_lock=(1_000_000 + place).to_bytes(32, "big"),
        )
        for i, (weight, place) in enumerate(zip(rewards, places, strict=True))
    )


def coinbase(
    committee: Committee,
    *,
    participants: int,
    proposer: int = 0,
    elapsed_ms: int = 600,
    fees: int = 0,
    state: ChainState = BELOW,
    genesis: Genesis = GENESIS,
) -> tuple[TransactionBody, int, int]:
    transaction, issued, burnt = make_coinbase(
        genesis=genesis,
        height=4,
        time_ms=state.closing_time_ms + elapsed_ms,
        state=state,
        committee=committee,
        participants=participants,
        proposer=committee.members[proposer].member_id,
        fees=fees,
    )
    assert transaction.witnesses == ()
    assert transaction.body.inputs == ()
    return transaction.body, issued, burnt


@pytest.mark.parametrize(
    ("elapsed_ms", "issued"),
    [
        (0, 0),
        (1, 100 * COIN // 600_000),
        (7, 7 * 100 * COIN // 600_000),
        (NOMINAL_MS, 100 * COIN * 4 // 600),
        (2 * NOMINAL_MS, 100 * COIN * 8 // 600),
        (2 * NOMINAL_MS + 1, 100 * COIN * 8 // 600),
        (10**9, 100 * COIN * 8 // 600),
    ],
)
def test_issuance_follows_block_time_up_to_two_nominal_epochs(elapsed_ms: int, issued: int) -> None:
    """[N3]."""
    assert issuance(GENESIS, BELOW, time_ms=GENESIS_TIME_MS + elapsed_ms) == issued


def test_issuance_ends_at_the_greatest_supply() -> None:
    """[N3, L6] Fees not yet paid out are part of the supply."""
    time_ms = GENESIS_TIME_MS + NOMINAL_MS
    full = replace(BELOW, coin_sum=SUPPLY_MAX - 700, fees_pending=690)
    assert issuance(GENESIS, full, time_ms=time_ms) == 10
    assert issuance(GENESIS, replace(full, fees_pending=700), time_ms=time_ms) == 0


def test_shares_follow_reward_weight_and_the_rest_goes_to_the_proposer() -> None:
    """[N3]."""
    committee = make_committee([10, 20, 30, 40])
    body, issued, burnt = coinbase(committee, participants=0b1011, proposer=1, fees=7)
    pot = issued + 7
    locks = [member.payout_lock for member in committee.members]
    first, last = pot * 10 // 70, pot * 40 // 70
    assert body.outputs == (
        TransactionOutput(first, locks[0]),
        TransactionOutput(pot - first - last, locks[1]),
        TransactionOutput(last, locks[3]),
    )
    assert burnt == 0


def test_a_proposer_that_took_no_part_gets_the_remainder_if_it_is_more_than_dust() -> None:
    """[N3]."""
    committee = make_committee([1000] * 999 + [1])
    everybody_else = (1 << 999) - 1
    fees = 999 * 1000 * DUST + DUST
    pair = make_committee([1, 1, 1])
    body, _, burnt = coinbase(pair, participants=0b011, proposer=2, elapsed_ms=0, fees=2001)
    assert ([output.amount for output in body.outputs], burnt) == ([1000, 1000], 1)
    body, _, burnt = coinbase(
        committee, participants=everybody_else, proposer=999, elapsed_ms=0, fees=fees
    )
    assert body.outputs[-1].lock == committee.members[999].payout_lock
    assert sum(output.amount for output in body.outputs) == fees


def test_shares_below_dust_go_to_the_proposer() -> None:
    """[N3]."""
    committee = make_committee([1, 1, 1000])
    body, issued, burnt = coinbase(
        committee, participants=0b111, proposer=2, elapsed_ms=0, fees=DUST * 1001
    )
    assert (issued, burnt) == (0, 0)
    assert body.outputs == (TransactionOutput(DUST * 1001, committee.members[2].payout_lock),)


def test_a_share_of_exactly_dust_is_paid() -> None:
    """[N3]."""
    pair = make_committee([1, 1])
    body, _, _ = coinbase(pair, participants=0b11, elapsed_ms=0, fees=2 * DUST)
    assert [output.amount for output in body.outputs] == [DUST, DUST]


def test_what_does_not_even_reach_dust_is_burnt() -> None:
    """[N3, L6]."""
    body, issued, burnt = coinbase(
        make_committee([1]), participants=0b1, elapsed_ms=0, fees=DUST - 1
    )
    assert (body.outputs, issued, burnt) == ((), 0, DUST - 1)


def test_pending_fees_of_the_epoch_are_paid_with_those_of_the_block() -> None:
    """[N3]."""
    body, _, _ = coinbase(
        make_committee([1]),
        participants=0b1,
        elapsed_ms=0,
        fees=1_000,
        state=replace(BELOW, fees_pending=5_000),
    )
    assert [output.amount for output in body.outputs] == [6_000]


def test_memo_is_the_height_so_no_two_coinbases_share_a_txid() -> None:
    """[N3]."""
    bodies = [
        make_coinbase(
            genesis=GENESIS,
            height=height,
            time_ms=GENESIS_TIME_MS + 600,
            state=BELOW,
            committee=GENESIS.committee,
            participants=0b1111,
            proposer=GENESIS.committee.members[0].member_id,
            fees=0,
        )[0].body
        for height in (4, 8, 400)
    ]
    assert [codec.decode(int, body.memo, size_max=9) for body in bodies] == [4, 8, 400]
    assert len({make_txid(body) for body in bodies}) == 3


def test_a_stranger_cannot_propose() -> None:
    with pytest.raises(Misuse):
        make_coinbase(
            genesis=GENESIS,
            height=4,
            time_ms=GENESIS_TIME_MS + 600,
            state=BELOW,
            committee=GENESIS.committee,
            participants=0b1111,
            proposer=bytes(32),
            fees=0,
        )


def test_more_locks_than_outputs_are_served_in_turn() -> None:
    """[N3] Of 600 members each gets its share in at least every third epoch."""
    committee = make_committee([1] * 600)
    everybody = (1 << 600) - 1
    served: dict[bytes, int] = {}
    for epoch in range(12):
        body, issued, burnt = coinbase(
            committee,
            participants=everybody,
            elapsed_ms=NOMINAL_MS,
            state=replace(BELOW, epoch=epoch),
        )
        assert len(body.outputs) == 256
        assert sum(output.amount for output in body.outputs) == issued - burnt
        for output in body.outputs:
            served[output.lock] = served.get(output.lock, 0) + 1
    assert len(served) == 600
    assert min(served.values()) >= 4


@given(
    rewards=st.lists(st.integers(1, 10**12), min_size=1, max_size=40),
    data=st.data(),
    elapsed_ms=st.integers(0, 20_000),
    fees=st.integers(0, 10**13),
)
def test_every_base_unit_is_paid_or_burnt(
    rewards: list[int], data: st.DataObject, elapsed_ms: int, fees: int
) -> None:
    """[N3, L6] Nobody gets more than the share, but the proposer; no output is dust."""
    count = len(rewards)
    places = data.draw(st.lists(st.integers(0, count), min_size=count, max_size=count))
    committee = make_committee(rewards, locks=places)
    participants = data.draw(st.integers(0, (1 << count) - 1))
    proposer = data.draw(st.integers(0, count - 1))
    body, issued, burnt = coinbase(
        committee,
        participants=participants,
        proposer=proposer,
        elapsed_ms=elapsed_ms,
        fees=fees,
    )
    pot = issued + fees
    paid = {output.lock: output.amount for output in body.outputs}
    assert len(paid) == len(body.outputs)
    assert sum(paid.values()) + burnt == pot
    assert burnt < DUST
    assert all(amount >= DUST for amount in paid.values())
    members = [committee.members[i] for i in iterate_bits(participants)]
    total = sum(member.reward_weight for member in members)
    own = committee.members[proposer].payout_lock
    for lock in {member.payout_lock for member in members} - {own}:
        due = sum(pot * m.reward_weight // total for m in members if m.payout_lock == lock)
        assert paid.get(lock, 0) == (due if due >= DUST else 0)
