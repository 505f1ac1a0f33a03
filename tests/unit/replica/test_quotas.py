"""A liar names junk and spreads it: a node keeps a bounded part, and nobody else pays [B3].

Before there was a quota, every batch that one member named was held and journalled until the end
of the epoch.
"""

import pytest
from msgspec.structs import replace

from lockstep.primitives import codec
from lockstep.primitives.messages import BatchBody, GetBatches, Message
from lockstep.primitives.transaction import Batch, VerifiedBatch
from lockstep.primitives.votes import VoteKind
from lockstep.replica import quotas
from lockstep.replica.effects import BatchHeld
from lockstep.replica.events import PeerConnected
from lockstep.replica.ingress import prepare_batch
from unit.replica.cluster import VERIFIER, Cluster

LIAR = 3
QUOTA_BYTES = 4_000


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(quotas, "UNBACKED_BYTES_MAX", QUOTA_BYTES)
    made = Cluster(absent=[LIAR], closing_every=10)
    for node in made.up():
        made.step(node.index, PeerConnected(made.peers[LIAR]))
    return made


def junk(cluster: Cluster, number: int) -> VerifiedBatch:
    """Make a batch of which nothing can ever be valid: its one witness is bad."""
    payment = cluster.pay_coin(0, memo=b"junk %d" % number)
    spoilt = replace(payment.witnesses[0], signatures=(bytes(64),))
    body = codec.encode(Batch((replace(payment, witnesses=(spoilt,)),)))
    return prepare_batch(body, chain_id=cluster.chain_id, verifier=VERIFIER)


def spread(cluster: Cluster, batch: VerifiedBatch, *, speaker: int = LIAR) -> None:
    for node in cluster.up():
        vote = cluster.vote(LIAR, VoteKind.VOTE, (batch.batch_id, b"\x01"))
        cluster.say(LIAR, node.index, vote)
        cluster.say(speaker, node.index, BatchBody(batch.body))


def held_bytes(cluster: Cluster, batches: list[VerifiedBatch]) -> int:
    core = cluster.nodes[0].core
    return sum(len(batch.body) for batch in batches if batch.batch_id in core.batches)


def test_junk_that_one_member_names_is_held_up_to_its_quota(cluster: Cluster) -> None:
    journalled: list[int] = []
    cluster.on_record = lambda node, record: (
        journalled.append(len(record.body)) if isinstance(record, BatchHeld) else None
    )
    batches = [junk(cluster, number) for number in range(60)]
    for batch in batches:
        spread(cluster, batch)
    assert 0 < held_bytes(cluster, batches) <= QUOTA_BYTES
    assert sum(journalled) <= 3 * QUOTA_BYTES
    payment = cluster.pay_coin(5)
    cluster.submit(1, payment)
    cluster.run_until(lambda: cluster.all_final(payment), limit_ms=1_000)


def test_who_passes_junk_on_does_not_pay_for_it(cluster: Cluster) -> None:
    """Node 1 answers requests for what the liar named; its own batches are taken all the same."""
    for number in range(60):
        spread(cluster, junk(cluster, number), speaker=1)
    payment = cluster.pay_coin(5)
    cluster.submit(1, payment)
    cluster.run_until(lambda: cluster.all_final(payment), limit_ms=1_000)


def test_what_is_refused_is_not_asked_for_until_an_honest_member_must_stand_behind_it(
    cluster: Cluster,
) -> None:
    asked: list[bytes] = []

    def listen(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, GetBatches):
            asked.extend(message.batch_ids)
        return True

    cluster.gates.append(listen)
    for number in range(60):
        spread(cluster, junk(cluster, number))
    refused = junk(cluster, 100)
    spread(cluster, refused)
    cluster.run(1_000)
    assert refused.batch_id not in asked
    assert refused.batch_id not in cluster.nodes[0].core.batches
    # The other members speak for it after all, as they would for one that has good payments too.
    for member in (1, 2):
        cluster.say(member, 0, cluster.vote(member, VoteKind.VOTE, (refused.batch_id, b"\x01")))
    cluster.run(500)
    assert refused.batch_id in asked
    cluster.say(LIAR, 0, BatchBody(refused.body))
    assert refused.batch_id in cluster.nodes[0].core.batches


def test_what_is_backed_makes_room_again(cluster: Cluster) -> None:
    """Honest batches over a quota's worth are all taken, for the others speak for them."""
    payments = [cluster.pay_coin(number) for number in range(5, 30)]
    for payment in payments:
        cluster.submit(1, payment)
        cluster.run(60)
    cluster.run_until(lambda: cluster.all_final(*payments), limit_ms=1_000)
    assert cluster.nodes[0].core.quotas.held_bytes() <= QUOTA_BYTES
    assert sum(len(b.body) for b in cluster.nodes[0].core.batches.values()) > QUOTA_BYTES
