"""The load's books: a payment is final once, at its own node, however the notices arrive."""

from array import array

from lockstep.load.payments import SignedPayment
from lockstep.load.tally import LoadTally, describe_times


def payment(name: str) -> SignedPayment:
    return SignedPayment(name, b"")


def test_final_when_the_own_node_says_so_and_only_once() -> None:
    tally = LoadTally()
    tally.send([payment("a"), payment("b")], node=1, now_s=10.0)
    assert tally.on_final(0, ["a", "b", "stranger"], now_s=10.1) == []
    assert [p.txid for p in tally.on_final(1, ["a"], now_s=10.2)] == ["a"]
    assert tally.on_final(1, ["a"], now_s=10.9) == []
    assert (tally.books.submitted, tally.books.final) == (2, 1)
    assert list(tally.times_us) == [199_999]


def test_sent_elsewhere_counts_from_the_first_send() -> None:
    tally = LoadTally()
    tally.send([payment("a"), payment("b")], node=1, now_s=10.0)
    tally.on_final(2, ["a"], now_s=10.5)
    a, b = tally.lost_at(1)
    # Node 2 had reported it before it was asked, so its word is already there.
    assert tally.send_again(a, node=2, now_s=12.0) == a.payment
    assert tally.send_again(b, node=2, now_s=12.0) is None
    assert tally.lost_at(1) == []
    tally.on_final(2, ["b"], now_s=13.0)
    assert list(tally.times_us) == [2_000_000, 3_000_000]
    assert (tally.books.submitted, tally.books.final, tally.books.resubmitted) == (2, 2, 2)
    assert not tally.under_way


def test_without_quorum_counts_what_was_sent_and_called_final_meanwhile() -> None:
    tally = LoadTally()
    tally.send([payment("before")], node=0, now_s=1.0)
    tally.lose_quorum(2.0)
    tally.send([payment("a"), payment("b"), payment("c")], node=0, now_s=3.0)
    tally.on_final(0, ["before", "a"], now_s=4.0)
    tally.on_final(1, ["a", "b"], now_s=4.0)
    tally.regain_quorum()
    tally.on_final(0, ["c"], now_s=6.0)
    assert tally.books.final_without_quorum == 2


def test_conflicts_stand_apart() -> None:
    tally = LoadTally()
    for names in (("a", "b"), ("c", "d"), ("e", "f")):
        tally.send_conflict((payment(names[0]), payment(names[1])), [0, 1])
    tally.on_final(2, ["a"], now_s=1.0)
    tally.on_final(3, ["c", "d"], now_s=1.0)
    assert tally.books.submitted == 0
    assert tally.both_final() == 1
    assert [conflict.payments[0].txid for conflict in tally.unresolved()] == ["e"]


def test_times_by_nearest_rank() -> None:
    times = array("Q", [1000 * i for i in range(100, 0, -1)])
    assert describe_times(times) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert describe_times([]) == {"p50": None, "p95": None, "p99": None, "max": None}
