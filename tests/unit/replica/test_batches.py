"""Batches: fetched, voted on in order, counted by txid whichever of them names it."""

from building import RICH
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.messages import (
    BatchBody,
    GetBatches,
    GetVotes,
)
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.effects import (
    Broadcast,
)
from lockstep.replica.events import BatchReceived, PeerConnected
from unit.replica.cluster import Cluster, txid_of
from unit.replica.gates import overhear


def test_a_child_in_the_batch_of_its_parent_gets_its_bit_in_a_later_vote() -> None:
    """In order, and neither refused nor voted for together with its parent [B5]."""
    cluster = Cluster(delay_max_ms=1)
    parent = cluster.pay_coin(0)
    child = cluster.child_of(parent)
    grandchild = cluster.child_of(child)
    votes: list[Vote] = []
    cluster.on_step = lambda node, event, effects: votes.extend(
        effect.message
        for effect in effects
        if isinstance(effect, Broadcast)
        and isinstance(effect.message, Vote)
        and (node.index, effect.message.kind) == (0, VoteKind.VOTE)
    )
    cluster.submit(0, parent, child, grandchild)
    cluster.run_until(lambda: cluster.all_final(parent, child, grandchild), limit_ms=100)
    assert [vote.entries[0].bitmap for vote in votes] == [b"\x01", b"\x02", b"\x04"]


def test_an_invalid_payment_leaves_its_bit_unset_and_the_rest_is_voted_for() -> None:
    """A bad fee, a spent coin and a bad witness cost their own bits alone [B5, L4]."""
    cluster = Cluster()
    good = cluster.pay_coin(0)
    cheap = cluster.pay_coin(1, fee=10)
    unknown = cluster.pay((make_outpoint(b"\x01" * 32, 0), RICH, 3))
    batch = cluster.batch(cheap, good, unknown)
    cluster.step(0, BatchReceived(cluster.peers[1], batch))
    tally = cluster.nodes[0].core.finality.batches[batch.batch_id]
    assert tally.own_voted == 0b010
    refusal = cluster.nodes[0].core.refusals.find_txid(txid_of(cheap))
    assert refusal is not None
    assert refusal.code == "tx.fee"


def test_a_batch_named_by_a_vote_is_fetched_from_the_voter_then_from_others() -> None:
    """Whoever names a batch serves it; where it does not, the next one is asked [B3]."""
    cluster = Cluster()
    payment = cluster.pay_coin(0)
    cluster.gates.append(lambda s, r, m: not (isinstance(m, BatchBody) and r == 2 and s == 0))
    requests: list[int] = []
    cluster.gates.append(overhear(requests, GetBatches, sender=2))
    cluster.submit(0, payment)
    cluster.run_until(lambda: cluster.is_final(2, payment), limit_ms=1_000)
    assert requests[-1] != 0


def test_a_payment_in_several_batches_is_voted_for_once_and_counted_as_one() -> None:
    """The batch only names it; each node votes where it met it first [B4]."""
    cluster = Cluster()
    payment = cluster.pay_coin(0)
    others = [cluster.pay_coin(1 + i) for i in range(4)]
    batches = [cluster.batch(others[i], payment) for i in range(4)]
    for index, batch in enumerate(batches):
        cluster.step(index, BatchReceived(None, batch))
    cluster.run_until(lambda: cluster.all_final(payment, *others), limit_ms=500)
    named = {
        entry.batch_id
        for node in cluster.nodes
        for batch in batches
        for vote in node.core.finality.batches[batch.batch_id].all_messages()
        if vote.kind is VoteKind.VOTE
        for entry in vote.entries
        if int.from_bytes(entry.bitmap, "little") & 2
    }
    assert len(named) == 4
    cluster.run_to_height(5)
    assert all(cluster.told_final(i).count(txid_of(payment)) == 1 for i in range(4))


def test_votes_dropped_for_want_of_room_are_asked_for_when_their_batch_comes() -> None:
    """What a flood pushed out is asked for again [B3]."""
    cluster = Cluster(absent=[3])
    cluster.step(0, PeerConnected(cluster.peers[3]))
    payment = cluster.pay_coin(0)
    batch = cluster.batch(payment)
    cluster.gates.append(lambda s, r, m: False)
    cluster.say(3, 0, cluster.vote(3, VoteKind.VOTE, (batch.batch_id, b"\x01")))
    for start in range(0, 1_000, 500):
        rows = [(i.to_bytes(32, "big"), b"\x01") for i in range(start, start + 500)]
        cluster.say(3, 0, cluster.vote(3, VoteKind.VOTE, *rows))
    assert batch.batch_id in cluster.nodes[0].core.finality.missed
    requests: list[int] = []
    cluster.gates[:] = [overhear(requests, GetVotes, sender=0)]
    cluster.step(0, BatchReceived(cluster.peers[3], batch))
    cluster.run(100)
    assert requests
