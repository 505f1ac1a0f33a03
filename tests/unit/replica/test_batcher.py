"""When a batch is closed, and what goes into it [B1]."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from building import make_body, sign
from lockstep.primitives.codec import encode
from lockstep.primitives.params import (
    BATCH_GATHER_MS,
    BATCH_LARGE_SET_MS,
    BATCH_LOAD_MS,
    BATCH_PACE_MS,
)
from lockstep.primitives.transaction import (
    BATCH_BYTES_MAX,
    BATCH_TRANSACTIONS_MAX,
    Batch,
    Transaction,
)
from lockstep.replica.batcher import READY_TRANSACTIONS, Batcher

SMALL = sign(make_body([bytes(36)], [(1000, bytes(32))]), [1], chain_id=bytes(32))


def fill(
    batcher: Batcher[Transaction], names: Sequence[int], *, size_bytes: int = 200, at: int = 0
) -> None:
    for name in names:
        txid = name.to_bytes(32, "big")
        batcher.add(SMALL, txid, size_bytes=size_bytes, time_ms=at)


def test_a_lone_payment_on_an_idle_node_leaves_at_once() -> None:
    """Idle, at once [B1]."""
    batcher: Batcher[Transaction] = Batcher(members=4)
    assert batcher.due_ms(0) is None
    fill(batcher, [1], at=100)
    assert batcher.due_ms(100) == 0
    assert batcher.take(100) == [SMALL]
    assert batcher.due_ms(100) is None
    assert batcher.take(100) == []


def test_many_that_came_together_leave_an_idle_node_at_once() -> None:
    """Company would bring them nothing; one less waits, and so do they while a commit runs [B1]."""
    batcher: Batcher[Transaction] = Batcher(members=4)
    fill(batcher, range(READY_TRANSACTIONS - 1), at=100)
    assert batcher.due_ms(100) == BATCH_GATHER_MS
    fill(batcher, [READY_TRANSACTIONS], at=100)
    assert batcher.due_ms(100) == 0
    batcher.commit_started()
    assert batcher.due_ms(100) == BATCH_LOAD_MS


def test_several_gather_three_milliseconds_from_the_first() -> None:
    """Three milliseconds since the first, while no commit is in flight [B1]."""
    batcher: Batcher[Transaction] = Batcher(members=4)
    fill(batcher, [1], at=100)
    fill(batcher, [2], at=102)
    assert batcher.due_ms(102) == BATCH_GATHER_MS - 2
    assert batcher.due_ms(103) == 0


def test_under_load_a_batch_waits_for_the_commit_within_a_bound() -> None:
    """At most 25 ms, 50 in a large set; the end of the commit lets it go [B1]."""
    for members, bound_ms in ((4, BATCH_LOAD_MS), (32, BATCH_LARGE_SET_MS)):
        batcher = Batcher[Transaction](members=members)
        batcher.commit_started()
        fill(batcher, [1], at=100)
        fill(batcher, [2], at=110)
        assert batcher.due_ms(110) == bound_ms - 10
        assert batcher.due_ms(100 + bound_ms) == 0
        batcher.commit_ended()
        assert batcher.due_ms(110) == 0


def test_a_batch_waits_for_the_one_before_it_within_a_bound() -> None:
    """Neither company nor an idle disk lets it go sooner; being full does."""
    batcher: Batcher[Transaction] = Batcher(members=4)
    batcher.batch_left(100)
    assert batcher.due_ms(100) is None
    fill(batcher, range(READY_TRANSACTIONS), at=120)
    assert batcher.due_ms(120) == BATCH_PACE_MS - 20
    assert batcher.due_ms(100 + BATCH_PACE_MS) == 0
    batcher.batch_ended()
    assert batcher.due_ms(120) == 0
    batcher.batch_left(100)
    fill(batcher, range(BATCH_TRANSACTIONS_MAX), at=120)
    assert batcher.due_ms(120) == 0


def test_a_full_batch_leaves_whatever_the_disk_does() -> None:
    """400 payments or 1 MiB close it [B1]."""
    for count, size_bytes in ((BATCH_TRANSACTIONS_MAX, 200), (11, 100_000)):
        batcher: Batcher[Transaction] = Batcher(members=4)
        batcher.commit_started()
        fill(batcher, range(count - 1), size_bytes=size_bytes)
        assert batcher.due_ms(0) == BATCH_LOAD_MS
        fill(batcher, [count], size_bytes=size_bytes)
        assert batcher.due_ms(0) == 0


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(100, 100_000)), max_size=300))
def test_all_leave_once_in_order_in_batches_within_the_limits(rows: list[tuple[int, int]]) -> None:
    """Each txid once, oldest first, never above a batch's limits [B1]."""
    batcher: Batcher[Transaction] = Batcher(members=4)
    due: dict[int, int] = {}
    tagged: dict[int, Transaction] = {}
    for name, size_bytes in rows:
        tagged.setdefault(name, sign(make_body([], [], memo=b"%d" % name), [], chain_id=bytes(32)))
        txid = name.to_bytes(32, "big")
        batcher.add(tagged[name], txid, size_bytes=size_bytes, time_ms=0)
        due.setdefault(name, size_bytes)
    left: list[int] = []
    while batch := batcher.take(0):
        names = [int(transaction.body.memo) for transaction in batch]
        assert len(names) <= BATCH_TRANSACTIONS_MAX
        assert sum(due[name] for name in names) <= BATCH_BYTES_MAX
        left += names
    assert left == list(due)
    assert len(batcher) == 0


def test_the_room_kept_for_framing_suffices() -> None:
    """A batch of the largest number of payments encodes to its payments and a few bytes [B1]."""
    size = len(encode(SMALL))
    batch = encode(Batch((SMALL,) * BATCH_TRANSACTIONS_MAX))
    assert len(batch) - size * BATCH_TRANSACTIONS_MAX <= 16


ROWS = st.lists(
    st.dictionaries(st.integers(0, 9), st.sampled_from([200, 90_000, 300_000]), max_size=6),
    max_size=8,
)


@given(ROWS)
def test_what_is_added_together_is_what_is_added_one_by_one(rows: list[dict[int, int]]) -> None:
    """[B1]."""
    together, apart = Batcher[int](members=4), Batcher[int](members=4)
    for time_ms, row in enumerate(rows):
        named = {name.to_bytes(32): (name, size_bytes) for name, size_bytes in row.items()}
        together.add_all(named, time_ms=time_ms)
        for txid, (name, size_bytes) in named.items():
            apart.add(name, txid, size_bytes=size_bytes, time_ms=time_ms)
        assert together.due_ms(time_ms) == apart.due_ms(time_ms)
    while len(apart):
        assert together.take(99) == apart.take(99)
        assert together.due_ms(100) == apart.due_ms(100)
    assert together.take(100) == []
