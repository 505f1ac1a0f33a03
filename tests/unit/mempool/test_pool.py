"""The pool against a plain model: limits, eviction, indices and numbers never drift [F6]."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from building import lock_of, make_body, verified
from lockstep.errors import Misuse
from lockstep.mempool.pool import Entry, Pool, PoolFull
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.params import POOL_BYTES_MAX, POOL_TRANSACTIONS_MAX
from lockstep.primitives.transaction import Transaction, VerifiedTransaction

ROOTS: Final = [make_outpoint(bytes([i]) * 32, 0) for i in range(5)]
COUNT_MAX: Final = 4
BYTES_MAX: Final = 900


def payment(number: int, inputs: Iterable[bytes], *, memo_bytes: int = 0) -> VerifiedTransaction:
    """Make a payment that differs from all others by its amount; nobody signed it."""
    memo = bytes(memo_bytes)
    return verified(Transaction(make_body(inputs, [(1000 + number, lock_of(1))], memo=memo), ()))


def entry(
    number: int,
    *,
    fee: int | None,
    inputs: Sequence[bytes] = (),
    voted: bool = False,
    memo_bytes: int = 0,
) -> Entry:
    """Make an entry of which nothing is in the chain yet."""
    made = payment(number, inputs, memo_bytes=memo_bytes)
    parents = tuple(dict.fromkeys(outpoint[:32] for outpoint in inputs))
    return Entry(made, bytes(32), 0, fee, number, voted=voted, parents=parents)


@dataclass
class Held:
    """What the model knows of an entry."""

    entry: Entry
    fee: int | None
    age: int
    voted: bool = False

    @property
    def size(self) -> int:
        return self.entry.verified.size_bytes

    @property
    def worth(self) -> tuple[Fraction, int]:
        """Order by exact fee rate, then by age: the least goes first."""
        scaled = 0 if self.fee is None else (self.fee << 32) // self.size
        return (Fraction(scaled), -self.age)


@dataclass
class Model:
    """The pool as a list that is sorted again at every question."""

    held: dict[bytes, Held] = field(default_factory=dict)
    admitted: int = 0

    def waiting(self) -> list[Held]:
        return sorted((h for h in self.held.values() if not h.voted), key=lambda h: h.worth)

    def fits(self, others: list[Held], new: Held) -> bool:
        return len(others) < COUNT_MAX and sum(h.size for h in others) + new.size <= BYTES_MAX

    def victims(self, new: Held) -> list[Held] | None:
        """Return what must go for `new`, or None where `new` itself is the least."""
        staying = self.waiting()
        gone: list[Held] = []
        while not self.fits(staying, new):
            if not staying or staying[0].worth[0] >= new.worth[0]:
                return None
            gone.append(staying.pop(0))
        return gone


class PoolAgainstModel(RuleBasedStateMachine):
    """Random admissions, votes, removals and epochs, compared after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool(transactions_max=COUNT_MAX, bytes_max=BYTES_MAX)
        self.model = Model()
        self.number = 0

    @rule(
        fee=st.none() | st.integers(0, 3) | st.integers(0, 10**6),
        memo_bytes=st.integers(0, 300),
        spend=st.lists(st.integers(0, 8), max_size=3, unique=True),
        voted=st.integers(0, 5).map(lambda n: n == 0),
    )
    def admit(self, fee: int | None, memo_bytes: int, spend: list[int], voted: bool) -> None:
        outputs = [make_outpoint(txid, 0) for txid in self.model.held]
        inputs = [coin for i, coin in enumerate([*ROOTS, *outputs]) if i in spend]
        self.number += 1
        item = entry(self.number, fee=fee, inputs=inputs, voted=voted, memo_bytes=memo_bytes)
        new = Held(item, fee, self.number, voted)
        gone = [] if voted else self.model.victims(new)
        if gone is None:
            with pytest.raises(PoolFull):
                self.pool.admit(item)
            return
        assert self.pool.admit(item) == [h.entry for h in gone]
        for h in gone:
            del self.model.held[h.entry.verified.txid]
        self.model.held[item.verified.txid] = new
        if not voted:
            waiting = self.model.waiting()
            assert len(waiting) <= COUNT_MAX
            assert sum(h.size for h in waiting) <= BYTES_MAX

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def mark_voted(self, data: st.DataObject) -> None:
        txid = data.draw(st.sampled_from(list(self.model.held)))
        self.pool.mark_voted(txid)
        self.model.held[txid].voted = True

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), fee=st.none() | st.integers(0, 10**6))
    def set_fee(self, data: st.DataObject, fee: int | None) -> None:
        txid = data.draw(st.sampled_from(list(self.model.held)))
        self.pool.set_fee(txid, fee)
        self.model.held[txid].fee = fee

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        txid = data.draw(st.sampled_from(list(self.model.held)))
        assert self.pool.remove(txid) is self.model.held.pop(txid).entry
        assert self.pool.remove(txid) is None

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), foreign=st.booleans())
    def include_in_a_block(self, data: st.DataObject, foreign: bool) -> None:
        """Payments of which no two spend one coin, perhaps one among them that is not held."""
        block: list[VerifiedTransaction] = []
        taken: list[bytes] = []
        names = data.draw(st.lists(st.sampled_from(list(self.model.held)), unique=True))
        drawn = [self.model.held[txid].entry.verified for txid in names]
        stranger = payment(10**6 + self.number, ROOTS[:1])
        for verified_payment in [stranger, *drawn] if foreign else drawn:
            inputs = verified_payment.transaction.body.inputs
            if not any(outpoint in taken for outpoint in inputs):
                block.append(verified_payment)
                taken += inputs
        txids = [each.txid for each in block]
        rivals = [
            txid
            for txid, held in self.model.held.items()
            if txid not in txids
            and any(outpoint in taken for outpoint in held.entry.verified.transaction.body.inputs)
        ]
        assert sorted(self.pool.take_included(block)) == sorted(rivals)
        for txid in txids:
            self.model.held.pop(txid, None)

    @rule()
    def clear_votes(self) -> None:
        self.pool.clear_votes()
        for held in self.model.held.values():
            held.voted = False

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def admit_twice(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from(list(self.model.held.values())))
        with pytest.raises(Misuse):
            self.pool.admit(held.entry)

    @invariant()
    def numbers_are_those_of_the_model(self) -> None:
        pool, held = self.pool, list(self.model.held.values())
        assert len(pool) == len(held)
        assert pool.waiting_count == sum(not h.voted for h in held)
        assert pool.voted_count == sum(h.voted for h in held)
        assert pool.waiting_bytes == sum(h.size for h in held if not h.voted)
        assert pool.voted_bytes == sum(h.size for h in held if h.voted)

    @invariant()
    def orders_are_those_of_the_model(self) -> None:
        waiting = [h.entry for h in self.model.waiting()]
        assert self.pool.waiting() == waiting[::-1]
        assert list(self.pool) == [h.entry for h in self.model.held.values()]

    @invariant()
    def indices_are_those_of_the_model(self) -> None:
        held = self.model.held
        spends = {txid: h.entry.verified.transaction.body.inputs for txid, h in held.items()}
        outpoints = {*ROOTS, *(o for inputs in spends.values() for o in inputs)}
        for outpoint in sorted(outpoints):
            expected = tuple(txid for txid, inputs in spends.items() if outpoint in inputs)
            assert self.pool.spenders(outpoint) == expected
            parent = outpoint[:32]
            children = tuple(
                t for t, inputs in spends.items() if any(o[:32] == parent for o in inputs)
            )
            assert self.pool.children_of(parent) == children
        assert len(self.pool._spenders) == len({o for inputs in spends.values() for o in inputs})

    @invariant()
    def pages_cover_all_in_order(self) -> None:
        found: list[bytes] = []
        while page := self.pool.page(found[-1] if found else None, 2):
            found += [item.verified.txid for item in page]
        assert found == sorted(self.model.held)


PoolAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestPoolAgainstModel = PoolAgainstModel.TestCase


def test_limits_are_those_of_the_protocol() -> None:
    """[2.11] 10,000 payments and 300 MB of what is not voted for."""
    pool = Pool()
    assert (pool.transactions_max, pool.bytes_max) == (POOL_TRANSACTIONS_MAX, POOL_BYTES_MAX)
    assert (POOL_TRANSACTIONS_MAX, POOL_BYTES_MAX) == (10_000, 300_000_000)


def test_lowest_rate_goes_first_and_of_equals_the_youngest() -> None:
    """[F6]."""
    pool = Pool(transactions_max=3)
    items = [entry(i, fee=fee) for i, fee in enumerate([500, 400, 400])]
    for item in items:
        pool.admit(item)
    assert pool.admit(entry(3, fee=450)) == [items[2]]
    with pytest.raises(PoolFull):
        pool.admit(entry(4, fee=400))
    assert pool.admit(entry(5, fee=10_000)) == [items[1]]


def test_what_was_voted_for_is_never_evicted() -> None:
    """[F6] And makes no room necessary."""
    pool = Pool(transactions_max=1)
    voted = [entry(i, fee=0) for i in range(5)]
    for item in voted:
        pool.admit(item)
        pool.mark_voted(item.verified.txid)
    rich = entry(10, fee=10**6)
    assert pool.admit(rich) == []
    assert pool.admit(entry(11, fee=10**7)) == [rich]
    assert all(item.verified.txid in pool for item in voted)


def test_new_epoch_counts_all_again_and_the_next_admission_evicts_the_surplus() -> None:
    """[T8]."""
    pool = Pool(transactions_max=3)
    old = [entry(i, fee=100 * i, voted=True) for i in range(6)]
    for item in old:
        pool.admit(item)
    pool.clear_votes()
    assert (len(pool), pool.waiting_count) == (6, 6)
    assert pool.admit(entry(10, fee=10_000)) == old[:4]
    assert pool.waiting_count == 3


def test_an_entry_that_was_voted_for_in_an_old_epoch_counts_once() -> None:
    """[T8] Its rank is the one it had before; it must not make room twice."""
    first, second = entry(1, fee=1), entry(2, fee=2)
    size = first.verified.size_bytes
    pool = Pool(bytes_max=3 * size)
    for item in (first, second):
        pool.admit(item)
    for _ in range(3):
        pool.mark_voted(first.verified.txid)
        pool.clear_votes()
    large = Entry(payment(3, (), memo_bytes=2 * size), bytes(32), 0, 10**6, 0)
    assert 2 * size < large.verified.size_bytes <= 3 * size + 10
    pool.bytes_max = large.verified.size_bytes
    assert pool.admit(large) == [first, second]
    assert pool.waiting_bytes == large.verified.size_bytes


def test_a_refused_admission_changes_nothing() -> None:
    """Where some of what pays less would not make room enough, none of it goes."""
    pool = Pool(transactions_max=10, bytes_max=620)
    small, large = entry(1, fee=1), Entry(payment(2, (), memo_bytes=500), bytes(32), 0, 10**6, 0)
    pool.admit(small)
    pool.admit(large)
    for _ in range(3):
        middle = Entry(payment(3, (), memo_bytes=300), bytes(32), 0, 1000, 0)
        with pytest.raises(PoolFull):
            pool.admit(middle)
    assert len(pool) == 2
    better = Entry(payment(4, (), memo_bytes=10), bytes(32), 0, 1000, 0)
    assert pool.admit(better) == [small]


def test_stale_ranks_are_swept_out() -> None:
    """The heap stays within a constant of what waits, however often entries come and go."""
    pool = Pool()
    item = entry(1, fee=1)
    for i in range(10_000):
        pool.admit(item) if i % 2 == 0 else pool.remove(item.verified.txid)
    assert len(pool._heap) < 1_100


@pytest.mark.parametrize("action", [Pool.mark_voted, lambda pool, txid: pool.set_fee(txid, 1)])
def test_unknown_payments_are_the_callers_fault(action: object) -> None:
    assert callable(action)
    with pytest.raises(Misuse):
        action(Pool(), bytes(32))
