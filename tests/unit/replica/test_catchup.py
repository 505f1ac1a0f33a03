"""Whom a node asks for blocks it lacks, when, and when again [T9]."""

from itertools import pairwise

import pytest

from lockstep.replica.catchup import ANSWER_TIMEOUT_MS, GRACE_MS, CatchUp

ALICE, BOB = b"\x0a" * 32, b"\x0b" * 32
TIPS = {ALICE: 1, BOB: 1}


def test_each_height_has_its_own_grace() -> None:
    """A busy network is always a block ahead of a node that is a message behind it."""
    catchup = CatchUp()
    assert catchup.grace_left_ms(7, 1_000) == GRACE_MS
    assert catchup.grace_left_ms(7, 1_000 + GRACE_MS - 1) == 1
    assert catchup.grace_left_ms(8, 1_000 + GRACE_MS) == GRACE_MS
    assert catchup.grace_left_ms(8, 1_000 + 2 * GRACE_MS) == 0


def test_a_clock_set_back_ends_the_grace() -> None:
    catchup = CatchUp()
    catchup.grace_left_ms(7, 10_000)
    assert catchup.grace_left_ms(7, 9_000) == 0


def test_each_try_asks_another_and_waits_longer() -> None:
    """Where all are slow, asking again and again makes them slower."""
    catchup = CatchUp()
    asked: list[tuple[int, bytes]] = []
    for time_ms in range(0, 60 * ANSWER_TIMEOUT_MS, ANSWER_TIMEOUT_MS):
        asked += [(time_ms, peer) for peer, _ in catchup.next_requests(0, TIPS, time_ms)]
    pauses = [(later - time) // ANSWER_TIMEOUT_MS for (time, _), (later, _) in pairwise(asked)]
    # Everybody once, then everybody again with twice the time: a liar buys no time for the next.
    assert pauses[:8] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert all(one != other for (_, one), (_, other) in pairwise(asked))


def test_who_is_gone_is_not_waited_for() -> None:
    catchup = CatchUp()
    [(first, _)] = catchup.next_requests(0, TIPS, 0)
    left = {peer: tip for peer, tip in TIPS.items() if peer != first}
    assert catchup.next_requests(0, TIPS, 1) == []
    assert catchup.next_requests(0, left, 1) == [(next(iter(left)), 1)]


@pytest.mark.parametrize("tip", [0, 5])
def test_nobody_is_asked_for_what_is_here(tip: int) -> None:
    catchup = CatchUp()
    assert catchup.next_requests(tip, {ALICE: tip}, 0) == []


def test_looking_for_a_block_that_is_not_here_yet_leaves_its_request_alone() -> None:
    """Else each block of a chain that is followed would come, and be verified, twice."""
    catchup = CatchUp()
    assert len(catchup.next_requests(0, {ALICE: 2}, 0)) == 2
    assert catchup.take(2) is None
    assert catchup.next_requests(1, {ALICE: 2}, 1) == []
