"""What a proposer takes: parents first, best payers first, no coin spent twice [T2, T6]."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from building import lock_of, make_body, verified
from lockstep.mempool.pool import Entry
from lockstep.mempool.selection import select_closing, select_in_order
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import Transaction

CHAIN: Final = [bytes([i]) * 32 for i in range(1, 7)]


def in_chain(txid: bytes) -> bool:
    return txid in CHAIN


def spend(number: int, *parents: bytes, fee: int = 1000, index: int = 0) -> Entry:
    """Make an entry that spends output `index` of each parent."""
    body = make_body([make_outpoint(p, index) for p in parents], [(1000 + number, lock_of(1))])
    return Entry(verified(Transaction(body, ())), bytes(32), 0, fee, number)


def names(entries: list[Entry]) -> list[bytes]:
    return [entry.verified.txid for entry in entries]


def test_best_payers_first_but_parents_before_children() -> None:
    """[T2]."""
    poor = spend(1, CHAIN[0], fee=10)
    child = spend(2, poor.verified.txid, fee=10**6)
    middle = spend(3, CHAIN[1], fee=500)
    orphan = spend(4, b"\xee" * 32, fee=10**7)
    taken = select_in_order([child, orphan, poor, middle], capacity_bytes=10**6, available=in_chain)
    assert taken == [middle, poor, child]


def test_equal_rates_keep_the_order_given() -> None:
    entries = [spend(i, CHAIN[i], fee=700) for i in range(5)]
    assert select_in_order(entries, capacity_bytes=10**6, available=in_chain) == entries


def test_closing_takes_lists_then_certified_then_an_eighth_of_waiting() -> None:
    """[T6] The listed first whatever they pay; waiting ones oldest first, skipping conflicts."""
    listed = [spend(1, CHAIN[0], fee=1), spend(2, CHAIN[1], fee=2)]
    certified = [spend(3, CHAIN[2], fee=5), spend(4, listed[0].verified.txid, fee=900)]
    rival = spend(5, CHAIN[0], fee=10**9)
    waiting = [rival, *(spend(10 + i, CHAIN[3], fee=1000 - i, index=i) for i in range(5))]
    size = waiting[1].verified.size_bytes
    taken = select_closing(
        listed=listed,
        certified=certified,
        waiting=waiting,
        capacity_bytes=8 * 3 * size,
        available=in_chain,
    )
    assert taken == [listed[1], listed[0], certified[1], certified[0], *waiting[1:4]]


def test_the_oldest_of_two_conflicting_waiting_ones_is_taken() -> None:
    """[T6] Contested coins go to whoever came first."""
    first, second = spend(1, CHAIN[0], fee=1), spend(2, CHAIN[0], fee=10**6)
    taken = select_closing(
        listed=[], certified=[], waiting=[first, second], capacity_bytes=10**6, available=in_chain
    )
    assert taken == [first]


def test_one_that_stands_in_two_lists_is_taken_once() -> None:
    entry = spend(1, CHAIN[0])
    taken = select_closing(
        listed=[entry],
        certified=[entry],
        waiting=[entry],
        capacity_bytes=10**6,
        available=in_chain,
    )
    assert taken == [entry]


@given(data=st.data(), count=st.integers(1, 14), capacity=st.integers(0, 2_000))
def test_what_is_taken_can_stand_in_a_block(data: st.DataObject, count: int, capacity: int) -> None:
    """[T2, T6] In topological order, within capacity, no coin twice; nothing left would fit."""
    entries: list[Entry] = []
    for number in range(count):
        known = [*CHAIN[:3], b"\xee" * 32, *names(entries)]
        parents = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=2, unique=True))
        fee = data.draw(st.integers(0, 5))
        entries.append(spend(number, *parents, fee=fee, index=data.draw(st.integers(0, 1))))
    given_order = data.draw(st.permutations(entries))
    taken = select_in_order(given_order, capacity_bytes=capacity, available=in_chain)
    assert sum(entry.verified.size_bytes for entry in taken) <= capacity
    seen = set(CHAIN)
    spent: set[bytes] = set()
    for entry in taken:
        inputs = entry.verified.transaction.body.inputs
        assert {outpoint[:32] for outpoint in inputs} <= seen
        assert not spent & set(inputs)
        spent |= set(inputs)
        seen.add(entry.verified.txid)
    free = capacity - sum(entry.verified.size_bytes for entry in taken)
    for entry in given_order:
        wanted = set(entry.verified.transaction.body.inputs)
        fits = entry.verified.size_bytes <= free and not wanted & spent
        assert entry in taken or not (fits and {o[:32] for o in wanted} <= seen)
