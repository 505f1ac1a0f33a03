"""Decisions about peers: pauses, faults that are forgotten, room for newcomers, duplicates."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.net.peers import (
    COOLING_MAX_S,
    FAULTS_FORGOTTEN_S,
    Arrivals,
    Backoff,
    Conduct,
    Link,
    stays,
)

A, B = b"a" * 32, b"b" * 32


def test_pauses_double_up_to_the_bound_and_start_again() -> None:
    backoff = Backoff(1.0, 5.0, jitter=lambda: 0.0)
    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next_s() == 1
    assert Backoff(8.0, 8.0, jitter=lambda: 1.0).next_s() == 4


def test_faults_keep_a_peer_away_longer_each_time_but_never_for_ever() -> None:
    conduct = Conduct()
    assert conduct.cooling_s(A, 0.0) == 0
    pauses = []
    for _ in range(12):
        conduct.add_fault(A, 0.0)
        pauses.append(conduct.cooling_s(A, 0.0))
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == COOLING_MAX_S
    assert conduct.cooling_s(A, COOLING_MAX_S) == 0
    assert conduct.cooling_s(B, 0.0) == 0
    assert conduct.faults(A, FAULTS_FORGOTTEN_S) == 12
    assert conduct.faults(A, FAULTS_FORGOTTEN_S + 1) == 0
    conduct.add_fault(A, FAULTS_FORGOTTEN_S + 1)
    assert conduct.cooling_s(A, FAULTS_FORGOTTEN_S + 1) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from("xyz"))))
def test_arrivals_are_bounded_and_the_newest_always_gets_in(
    turns: list[tuple[bool, int, str]],
) -> None:
    arrivals: Arrivals[int] = Arrivals(total_max=5, per_ip_max=3)
    inside: list[tuple[int, str]] = []
    for turn, (leaves, pick, ip) in enumerate(turns):
        if leaves:
            if inside:
                arrivals.remove(inside.pop(pick % len(inside))[0])
            continue
        victim = arrivals.add(turn, ip)
        same = [arrival for arrival in inside if arrival[1] == ip]
        full = same if len(same) == 3 else inside if len(inside) == 5 else []
        assert victim == (full[0][0] if full else None)
        if full:
            inside.remove(full[0])
        inside.append((turn, ip))


@given(
    first_by_a=st.booleans(),
    second_by_a=st.booleans(),
    same_process=st.booleans(),
)
def test_both_ends_agree_which_connection_stays(
    first_by_a: bool, second_by_a: bool, same_process: bool
) -> None:
    instances = (b"1", b"1" if same_process else b"2")
    seen_by_a, seen_by_b = (
        stays(Link(first, instances[0]), Link(second, instances[1]), own_key=own, peer_key=peer)
        for own, peer, first, second in (
            (A, B, first_by_a, second_by_a),
            (B, A, not first_by_a, not second_by_a),
        )
    )
    assert seen_by_a == seen_by_b
    if first_by_a != second_by_a and same_process:
        assert seen_by_a == first_by_a, "the lower key's connection stays, whichever came first"
    else:
        assert not seen_by_a, "what the peer gave up does not keep its new connection out"
