"""What people are told along a payment's life, and of what was refused [F4]."""

import pytest

from building import RICH, lock_of
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.answers import CoinState, PaymentState
from lockstep.replica.events import BatchReceived
from lockstep.replica.view import ReplicaView
from unit.replica.cluster import FEE, Cluster, txid_of
from unit.replica.gates import refuse


def view_of(cluster: Cluster, index: int = 0) -> ReplicaView:
    replica = cluster.nodes[index].replica
    assert replica is not None
    return replica.view


def test_the_states_of_coin_and_payment_along_its_life() -> None:
    """Unspent, Locked, SpentPending, SpentFinalized, Confirmed; final only with a quorum [F4]."""
    cluster = Cluster()
    view = view_of(cluster)
    coin, payment = cluster.coin(0), cluster.pay_coin(0)
    txid, made = txid_of(payment), make_outpoint(txid_of(payment), 0)
    answer = view.coin(coin)
    assert answer is not None
    assert (answer.state, answer.amount, answer.height) == (CoinState.UNSPENT, RICH, 0)
    assert view.coin(made) is None

    cluster.gates += [refuse(Vote)]
    cluster.submit(0, payment)
    cluster.run(10)
    assert states(view, coin, txid) == (CoinState.LOCKED, PaymentState.VOTED)
    assert not view.is_final(txid)

    cluster.gates[:] = [refuse(Vote, kind=VoteKind.CONFIRM)]
    for one in range(4):
        for other in range(one):
            cluster.reconnect(one, other)
    cluster.run(10)
    assert states(view, coin, txid) == (CoinState.SPENT_PENDING, PaymentState.CERTIFIED)
    assert not view.is_final(txid)
    assert view.confirms_of(txid) == ()

    cluster.gates.clear()
    for one in range(4):
        for other in range(one):
            cluster.reconnect(one, other)
    cluster.run(10)
    assert states(view, coin, txid) == (CoinState.SPENT_FINALIZED, PaymentState.FINAL)
    assert view.is_final(txid)
    assert {confirm.kind for confirm in view.confirms_of(txid)} == {VoteKind.CONFIRM}
    pending = view.pending(txid)
    assert pending is not None
    assert pending.vote_weight >= 3
    assert len(pending.confirmers) == pending.confirm_weight >= 3
    assert view.pending_outputs_of(lock_of(0)) == [(made, RICH - FEE, PaymentState.FINAL)]
    assert view.pending_spends([coin, cluster.coin(1)]) == [txid, None]
    new = view.coin(made)
    assert new is not None
    assert (new.state, new.height) == (CoinState.UNSPENT, None)

    cluster.run_to_height(1)
    answer = view.coin(coin)
    assert answer is not None
    assert answer.state is CoinState.CONFIRMED
    assert view.pending(txid) is None
    assert view.is_final(txid)
    assert view.height_of(txid) == 1
    new = view.coin(made)
    assert new is not None
    assert (new.state, new.height) == (CoinState.UNSPENT, 1)
    assert view.coins_of([coin])[0] is None


def states(view: ReplicaView, coin: bytes, txid: bytes) -> tuple[CoinState, PaymentState]:
    answer, pending = view.coin(coin), view.pending(txid)
    assert answer is not None
    assert pending is not None
    assert answer.spender == txid
    return answer.state, pending.state


@pytest.mark.parametrize("count", [0, 1, 7])
def test_pages_of_pending_payments_cover_each_once(count: int) -> None:
    cluster = Cluster()
    cluster.gates.append(refuse(Vote))
    payments = [cluster.pay_coin(i) for i in range(count)]
    if payments:
        cluster.submit(0, *payments)
    seen: list[bytes] = []
    cursor: bytes | None = None
    while page := view_of(cluster).pending_page(cursor, 3):
        seen += [pending.txid for pending in page]
        cursor = seen[-1]
    assert seen == sorted(map(txid_of, payments))
    pool = view_of(cluster).pool()
    assert (pool.voted, pool.waiting, pool.final) == (count, 0, 0)


def test_a_refusal_is_told_with_code_sentence_and_age() -> None:
    """Remembered by leaf, told by txid [B1]."""
    cluster = Cluster()
    cheap = cluster.pay_coin(0, fee=1)
    cluster.submit(0, cheap)
    cluster.run(500)
    refusal = view_of(cluster).refusal(txid_of(cheap))
    assert refusal is not None
    assert (refusal.code, refusal.age_ms >= 0) == ("tx.fee", True)
    assert view_of(cluster).refusal(b"\x01" * 32) is None


def test_a_waiting_payment_says_what_it_waits_for() -> None:
    """A rival and an orphan are not refused; they say why they have no vote [F1]."""
    cluster = Cluster(absent=[2, 3])
    first, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    orphan = cluster.pay((b"\x07" * 32 + bytes(4), RICH, 1))
    cluster.submit(0, first)
    cluster.step(0, BatchReceived(cluster.peers[1], cluster.batch(rival, orphan)))
    reasons = {}
    for payment in (first, rival, orphan):
        pending = view_of(cluster).pending(txid_of(payment))
        assert pending is not None
        reasons[payment.body.memo, pending.state] = pending.reason
    assert list(reasons.values()) == ["", "conflict", "orphan"]


def test_consensus_tells_where_the_height_stands() -> None:
    cluster = Cluster((4, 3, 2, 2))
    answer = view_of(cluster).consensus()
    assert (answer.height, answer.epoch, answer.step) == (1, 0, "unstarted")
    assert (answer.total_weight, answer.quorum, answer.members) == (11, 8, 4)
    cluster.run_to_height(3)
    answer = view_of(cluster).consensus()
    assert (answer.height, answer.closing, answer.frozen) == (4, True, True)
    assert view_of(cluster).committee_for_epoch(1) is not None
    assert view_of(cluster).committee_for_epoch(2) is None
    assert view_of(cluster).committee_for_height(0) is None
    assert view_of(cluster).committee_for_height(8) is not None
    assert view_of(cluster).committee_for_height(9) is None
