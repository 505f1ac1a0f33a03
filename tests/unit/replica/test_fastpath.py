"""From a payment to finality: locks, certificates, Confirms, and what each of them waits for."""

import pytest

from building import RICH
from lockstep.primitives.messages import (
    BatchBody,
    GetVotes,
    ProposalMessage,
)
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica import locking
from lockstep.replica.effects import (
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.replica.events import BatchReceived, PeerConnected, VotesReceived
from unit.replica.cluster import FEE, Cluster, Node, said, txid_of
from unit.replica.gates import overhear, refuse


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (4, 3, 2, 2), (1,) * 7, (9, 1, 1, 1)])
def test_a_payment_is_final_everywhere_after_three_delays(weights: tuple[int, ...]) -> None:
    """Relay, Vote, Confirm; no block is needed [F1, F2, F3, F4]."""
    cluster = Cluster(weights, delay_max_ms=1)
    payments = [cluster.pay_coin(i) for i in range(10)]
    cluster.submit(0, *payments)
    cluster.run_until(lambda: cluster.all_final(*payments), limit_ms=5)
    assert all(node.core.state.height == 0 for node in cluster.nodes)
    for node in cluster.nodes:
        assert sorted(cluster.told_final(node.index)) == sorted(map(txid_of, payments))


def test_nothing_is_final_below_the_quorum() -> None:
    """Two of four can do nothing, and nothing is lost when the others come [F4, T10]."""
    cluster = Cluster(absent=[2, 3])
    payments = [cluster.pay_coin(i) for i in range(4)]
    cluster.submit(0, *payments[:2])
    cluster.submit(1, *payments[2:])
    cluster.run(20_000)
    assert not cluster.watch.final
    assert not cluster.watch.decided
    cluster.start(2)
    cluster.start(3)
    cluster.run_until(lambda: cluster.all_final(*payments), limit_ms=3_000)
    cluster.run_to_height(2)


def test_locks_are_for_the_epoch_and_a_second_spender_gets_no_vote() -> None:
    """Not by a later batch, and not when the first one can never be certified [F1]."""
    cluster = Cluster(absent=[2, 3])
    first = cluster.pay((cluster.coin(0), RICH, 0), (cluster.coin(1), RICH, 1))
    second = cluster.pay_coin(1, memo=b"again")
    cluster.submit(0, first)
    batch = cluster.batch(second)
    cluster.step(0, BatchReceived(cluster.peers[1], batch))
    cluster.run(10_000)
    node = cluster.nodes[0]
    assert said(node, VoteKind.VOTE, first)
    assert not said(node, VoteKind.VOTE, second)
    for outpoint in (cluster.coin(0), cluster.coin(1)):
        assert node.core.finality.holder_of(outpoint) == txid_of(first)
    entry = node.core.pool.get(txid_of(second))
    assert entry is not None
    assert entry.waiting == "conflict"
    # All inputs or none: its other coin stays free for others.
    third = cluster.pay((cluster.coin(1), RICH, 1), (cluster.coin(2), RICH, 2), memo=b"both")
    cluster.step(0, BatchReceived(cluster.peers[1], cluster.batch(third)))
    assert node.core.finality.holder_of(cluster.coin(2)) is None


def test_our_own_people_are_told_of_a_conflict_at_once() -> None:
    """A second spend submitted here is refused with its reason; a repetition is the same [F1]."""
    cluster = Cluster()
    first, second = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"again")
    cluster.submit(0, first)
    cluster.submit(0, second)
    refused = [n for n in cluster.nodes[0].notices if isinstance(n, TransactionsRefused)]
    assert [r.refusals[0][:2] for r in refused] == [(txid_of(second), "tx.conflict")]
    accepted = [n for n in cluster.nodes[0].notices if isinstance(n, TransactionsAccepted)]
    cluster.submit(0, first)
    again = [n for n in cluster.nodes[0].notices if isinstance(n, TransactionsAccepted)]
    assert accepted[0].txids == again[-1].txids == (txid_of(first),)
    assert len(again) == 2
    assert len(cluster.nodes[0].core.batches) == 1


def test_an_orphan_waits_and_is_voted_for_once_its_parent_is_certified() -> None:
    """Never refused for ever, and not voted for on the strength of a mere vote [F1]."""
    cluster = Cluster()
    parent = cluster.pay_coin(0)
    child = cluster.child_of(parent)
    orphan, origin = cluster.batch(child), cluster.batch(parent)
    for node in cluster.nodes:
        cluster.step(node.index, BatchReceived(cluster.peers[(node.index + 1) % 4], orphan))
    cluster.run(100)
    assert not any(said(node, VoteKind.VOTE, child) for node in cluster.nodes)
    hold = refuse(Vote, kind=VoteKind.VOTE)
    cluster.gates.append(hold)
    cluster.step(0, BatchReceived(None, origin))
    cluster.run(100)
    assert said(cluster.nodes[1], VoteKind.VOTE, parent)
    assert not any(said(node, VoteKind.VOTE, child) for node in cluster.nodes)
    cluster.gates.remove(hold)
    cluster.reconnect(0, 1)
    cluster.reconnect(0, 2)
    cluster.reconnect(1, 2)
    cluster.run(50)
    assert cluster.is_final(0, parent)
    assert cluster.is_final(0, child)


def test_what_is_voted_for_and_not_in_the_chain_is_throttled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At most M bytes at any moment; the rest waits and is served by fee rate [F6]."""
    cluster = Cluster()
    sizes = [v.size_bytes for v in cluster.batch(cluster.pay_coin(0)).transactions if v is not None]
    limit = 3 * sizes[0] + 10
    monkeypatch.setattr(locking, "VOTED_BYTES_MAX", limit)
    payments = [cluster.pay_coin(i, fee=FEE + (100 if i == 7 else i)) for i in range(8)]
    cluster.on_step = lambda node, event, effects: check_throttle(node, limit)
    cluster.submit(0, *payments)
    cluster.run(30)
    node = cluster.nodes[0]
    voted = [i for i, payment in enumerate(payments) if said(node, VoteKind.VOTE, payment)]
    assert voted == [0, 1, 2]
    assert {entry.waiting for entry in node.core.pool.waiting()} == {"throttle"}
    cluster.run_to_height(1)
    voted = [i for i, payment in enumerate(payments) if said(node, VoteKind.VOTE, payment)]
    assert voted == [0, 1, 2, 5, 6, 7]
    cluster.run_until(lambda: cluster.all_final(*payments))


def check_throttle(node: Node, limit: int) -> None:
    assert node.core.pool.voted_bytes <= limit


def test_a_frozen_node_neither_votes_nor_confirms() -> None:
    """From the write that decides the block below to the end of the epoch [T5, F1, F3]."""
    cluster = Cluster()
    cluster.gates.append(lambda s, r, m: type(m).__name__ != "Freeze")
    cluster.run_to_height(3)
    late = cluster.pay_coin(0)
    cluster.submit(0, late)
    cluster.run(3_000)
    assert all(node.core.finality.frozen for node in cluster.nodes)
    assert not any(said(node, VoteKind.VOTE, late) for node in cluster.nodes)
    cluster.gates.clear()
    cluster.run_until(lambda: cluster.all_final(late))


def test_a_frozen_node_does_not_confirm_what_is_certified_late() -> None:
    """The last word was said; a late certificate is harmless [T5]."""
    cluster = Cluster()
    hold = refuse(Vote, kind=VoteKind.VOTE)
    cluster.gates += [hold, lambda s, r, m: type(m).__name__ != "Freeze"]
    cluster.run_to_height(2)
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run_to_height(3)
    cluster.gates.remove(hold)
    cluster.reconnect(0, 1)
    cluster.reconnect(1, 2)
    cluster.reconnect(0, 2)
    cluster.run(100)
    assert cluster.nodes[0].core.finality.is_certified(txid_of(payment))
    assert not any(said(node, VoteKind.CONFIRM, payment) for node in cluster.nodes)
    cluster.gates.clear()
    cluster.run_until(lambda: cluster.all_final(payment))


def test_a_certificate_is_pulled_from_who_confirmed() -> None:
    """The liar voted to two nodes only: the third asks those whose Confirms say it exists [F2]."""
    cluster = Cluster(absent=[3])
    for index in range(3):
        cluster.step(index, PeerConnected(cluster.peers[3]))
    # Node 2 votes for a rival first, so the certificate needs the liar's vote.
    payment, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    cluster.step(2, BatchReceived(cluster.peers[3], cluster.batch(rival)))
    asked: list[int] = []
    cluster.gates += [
        lambda s, r, m: not isinstance(m, ProposalMessage),
        overhear(asked, GetVotes, sender=2),
    ]
    batch = cluster.submit(0, payment)
    vote = cluster.vote(3, VoteKind.VOTE, (batch.batch_id, b"\x01"))
    for index in (0, 1):
        cluster.say(3, index, vote)
    cluster.run(190)
    assert not asked, "it is mostly on its way"
    cluster.run_until(lambda: cluster.all_final(payment), limit_ms=300)
    assert set(asked) <= {0, 1}
    assert not said(cluster.nodes[2], VoteKind.VOTE, payment)


def test_the_confirm_of_a_child_waits_for_the_confirmable_parent() -> None:
    """Certificate, body and unincluded ancestors are held before a Confirm [F3]."""
    cluster = Cluster()
    parent = cluster.pay_coin(0)
    child = cluster.child_of(parent)
    origin, orphan = cluster.batch(parent), cluster.batch(child)
    # Node 3 hears nothing of the parent.
    keep = [
        lambda s, r, m: not (r == 3 and isinstance(m, BatchBody) and m.body == origin.body),
        lambda s, r, m: (
            not (
                r == 3
                and isinstance(m, Vote)
                and any(e.batch_id == origin.batch_id for e in m.entries)
            )
        ),
    ]
    cluster.gates += keep
    cluster.step(0, BatchReceived(None, origin))
    cluster.step(1, BatchReceived(None, origin))
    cluster.run(20)
    cluster.step(0, BatchReceived(None, orphan))
    cluster.run(100)
    assert cluster.all_final(parent, child) is False
    assert cluster.is_final(0, child)
    lagging = cluster.nodes[3]
    assert lagging.core.finality.is_certified(txid_of(child))
    assert not said(lagging, VoteKind.CONFIRM, child)
    cluster.gates.clear()
    cluster.reconnect(3, 0)
    cluster.reconnect(3, 1)
    cluster.reconnect(3, 2)
    cluster.run_until(lambda: said(lagging, VoteKind.CONFIRM, child), limit_ms=600)
    assert said(lagging, VoteKind.CONFIRM, parent)


def test_a_rival_of_what_was_confirmed_is_never_confirmed_and_raises_an_alarm() -> None:
    """Two certificates that conflict show that more than a third lies, and who [F2, F3, N4]."""
    cluster = Cluster(absent=[1, 2, 3])
    payment, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    one, two = cluster.batch(payment), cluster.batch(rival)
    for batch in (one, two):
        cluster.step(0, BatchReceived(cluster.peers[1], batch))
        for liar in (1, 2, 3):
            cluster.say(liar, 0, cluster.vote(liar, VoteKind.VOTE, (batch.batch_id, b"\x01")))
    node = cluster.nodes[0]
    assert said(node, VoteKind.CONFIRM, payment)
    assert not said(node, VoteKind.CONFIRM, rival)
    codes = sorted(alarm.code for alarm in cluster.watch.alarms)
    assert codes == [*["consensus.equivocation"] * 3, "finality.two_certificates"]


def test_an_evicted_payment_that_is_certified_is_held_again() -> None:
    """Others counted on it: it is confirmed, and proposed, as if it had never gone [F3, F6]."""
    cluster = Cluster(absent=[3])
    cluster.step(0, PeerConnected(cluster.peers[3]))
    payment, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival", fee=FEE + 9)
    first, second = cluster.batch(rival), cluster.batch(payment)
    node = cluster.nodes[0]
    cluster.step(0, BatchReceived(cluster.peers[3], first))
    cluster.step(0, BatchReceived(cluster.peers[3], second))
    node.core.pool.transactions_max = 1
    richer = cluster.batch(cluster.pay_coin(0, fee=FEE * 2))
    cluster.step(0, BatchReceived(cluster.peers[3], richer))
    dropped = [n for n in node.notices if isinstance(n, TransactionsDropped)]
    assert [(n.txids, n.code) for n in dropped] == [((txid_of(payment),), "pool.evicted")]
    for voter in (1, 2, 3):
        cluster.say(voter, 0, cluster.vote(voter, VoteKind.VOTE, (second.batch_id, b"\x01")))
    assert txid_of(payment) in node.core.pool
    assert said(node, VoteKind.CONFIRM, payment)


def test_a_final_notice_carries_the_confirms_for_a_recount() -> None:
    """Whoever asks can count the quorum himself [F4]."""
    cluster = Cluster((4, 3, 2, 2))
    payments = [cluster.pay_coin(i) for i in range(3)]
    batch = cluster.submit(1, *payments)
    cluster.run_until(lambda: cluster.all_final(*payments), limit_ms=100)
    for node in cluster.nodes:
        covered = dict.fromkeys(batch.txids, 0)
        for notice in node.notices:
            if isinstance(notice, TransactionsFinal):
                for confirm in notice.confirms:
                    weight = cluster.genesis.committee.weight_of(confirm.voter)
                    for txid in cluster.watch.txids_of(confirm):
                        covered[txid] += weight
                assert notice.weight >= cluster.genesis.committee.quorum
        assert all(weight >= cluster.genesis.committee.quorum for weight in covered.values())
        assert node.replica is not None
        assert len(node.replica.view.confirms_of(batch.txids[0])) >= 2


def test_votes_of_the_next_epoch_wait_for_it() -> None:
    """Newer ones are kept within a bound, older ones dropped [M4]."""
    cluster = Cluster(absent=[3])
    payment = cluster.pay_coin(0)
    batch = cluster.batch(payment)
    early = cluster.vote(3, VoteKind.VOTE, (batch.batch_id, b"\x01"), epoch=1)
    cluster.step(0, VotesReceived(cluster.peers[3], (early,)))
    assert not cluster.nodes[0].core.finality.is_named(batch.batch_id)
    cluster.run_to_height(4)
    assert cluster.nodes[0].core.finality.is_named(batch.batch_id)
    old = cluster.vote(3, VoteKind.VOTE, (batch.batch_id, b"\x01"), epoch=0)
    cluster.step(1, VotesReceived(cluster.peers[3], (old,)))
    assert not cluster.nodes[1].core.finality.is_named(batch.batch_id)
