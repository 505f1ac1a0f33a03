"""The load's books: a payment is final once, at its own node, however the notices arrive."""

from array import array

import pytest

from lockstep.crypto.keys import SecretKey
from lockstep.devnet.options import (
    DevnetOptions,
    WrongOptions,
    check_options,
    parse_weights,
)
from lockstep.devnet.payments import LOAD_COIN, PaymentMaker, SignedPayment
from lockstep.devnet.tally import LoadTally, describe_times
from lockstep.primitives.codec import decode, encode
from lockstep.primitives.params import FEE_MIN
from lockstep.primitives.transaction import TRANSACTION_BYTES_MAX, Transaction, make_txid
from lockstep.wallet.spend import fee_for


def payment(name: str) -> SignedPayment:
    return SignedPayment(name, b"", (b"", 0))


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


def test_payments_are_valid_and_their_change_is_spent_next() -> None:
    maker = PaymentMaker(SecretKey(bytes(32)), payee_lock=bytes(32), chain_id=bytes(32))
    maker.add_coins([(bytes(36), LOAD_COIN), (bytes([1]) * 36, 1000)])
    [first] = maker.make_payments(5)
    assert maker.make_conflict() is None
    maker.add_coins([first.change])
    [second] = maker.make_payments(5)
    for made, amount in ((first, LOAD_COIN), (second, first.change[1])):
        transaction = decode(Transaction, made.raw, size_max=TRANSACTION_BYTES_MAX)
        assert make_txid(transaction.body).hex() == made.txid
        paid = sum(output.amount for output in transaction.body.outputs)
        assert amount - paid == FEE_MIN >= fee_for(len(encode(transaction)))
    assert decode(Transaction, second.raw, size_max=TRANSACTION_BYTES_MAX).body.inputs == (
        bytes.fromhex(first.txid) + (1).to_bytes(4, "big"),
    )


@pytest.mark.parametrize(
    "options",
    [
        DevnetOptions(nodes=3),
        DevnetOptions(nodes=5, weights=(1, 2, 3, 4)),
        DevnetOptions(seconds=5),
        DevnetOptions(stop_nodes=2),
        DevnetOptions(stop_nodes=4, seconds=30),
        DevnetOptions(stop_nodes=1, kill_every_s=5, seconds=30),
        DevnetOptions(double_spend=3),
    ],
)
def test_contradicting_options_are_refused(options: DevnetOptions) -> None:
    with pytest.raises(WrongOptions):
        check_options(options)


@pytest.mark.parametrize("text", ["", "1,,2", "1,0,2,3", "1,-2", "a", "1.5,2,3,4", "²,1,1,1"])
def test_weights_that_are_none(text: str) -> None:
    with pytest.raises(WrongOptions):
        parse_weights(text)
    assert parse_weights("4, 3,2,2") == (4, 3, 2, 2)
