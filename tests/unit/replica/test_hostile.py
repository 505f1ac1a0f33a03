"""One member lies in well-signed words: nobody falls over, nobody's honest word is spoilt by it.

Node 3 is the liar: its replica is absent and the test speaks with its keys. What a proposal or a
FREEZE says is signed only in part (block id, digest); what stands beside it may be anything.
"""

import pytest
from msgspec.structs import replace

from lockstep.ledger.blocks import assemble_block
from lockstep.primitives import codec
from lockstep.primitives.block import BallotKind, CompactBlock, InlinePart, NamedPart
from lockstep.primitives.messages import BatchBody, Message, ProposalMessage
from lockstep.primitives.transaction import Batch, Transaction, make_txid
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica import locking
from lockstep.replica.events import PeerConnected
from lockstep.replica.ingress import prepare_batch
from lockstep.replica.proposing import arrange, certified_entries
from unit.replica.cluster import FEE, VERIFIER, Cluster, said

LIAR = 3


def with_liar() -> Cluster:
    """Return three honest nodes that are connected to the liar as well."""
    cluster = Cluster(absent=[LIAR])
    for node in cluster.up():
        cluster.step(node.index, PeerConnected(cluster.peers[LIAR]))
    return cluster


def first_proposal(cluster: Cluster, height: int) -> tuple[int, ProposalMessage]:
    """Run until an honest node proposes for this height; nobody else hears of it yet."""
    heard: list[tuple[int, ProposalMessage]] = []

    def hold(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, ProposalMessage) and message.proposal.height == height:
            heard.append((sender, message))
            return False
        return True

    cluster.gates.append(hold)
    cluster.run_until(lambda: bool(heard))
    cluster.gates.remove(hold)
    return heard[0]


def test_prevotes_of_another_height_beside_a_proposal_stop_nobody() -> None:
    """A POLC is Q prevotes for the proposal's value and valid round, or it is junk [T10]."""
    cluster = with_liar()
    cluster.run_to_height(1)
    proposer, message = first_proposal(cluster, 2)
    victim = next(n.index for n in cluster.up() if n.index != proposer)
    for height in (1, 2, 5):
        # The victim's own key is not among them: a word of it would make it silent [D3].
        polc = tuple(
            cluster.ballot(i, BallotKind.PREVOTE, height, 0, b"\x01" * 32)
            for i in range(4)
            if i != victim
        )
        cluster.say(LIAR, victim, replace(message, polc=polc))
    assert cluster.nodes[victim].penalties
    assert {peer for peer, _ in cluster.nodes[victim].penalties} == {cluster.peers[LIAR]}
    cluster.say(proposer, victim, message)
    assert not victim_voted_nil(cluster, victim, 2)


def victim_voted_nil(cluster: Cluster, victim: int, height: int) -> bool:
    said = cluster.watch.said.get((cluster.ids[victim], height, 0, BallotKind.PREVOTE))
    assert said is not None, "it has not prevoted at all"
    return said.block_id is None  # type: ignore[attr-defined]  # The watch keeps words of all kinds.


@pytest.mark.parametrize("known", [True, False])
def test_a_wrong_body_beside_a_signed_header_is_no_verdict_on_the_block(known: bool) -> None:
    """valid() is a function of the block id: parts that do not make up the header are junk [T2]."""
    cluster = with_liar()
    cluster.run_to_height(1)
    payments = [cluster.pay_coin(i) for i in range(3)]
    batch = cluster.submit(0, *payments)
    proposer, message = first_proposal(cluster, 2)
    assert [part for part in message.block.parts if isinstance(part, NamedPart)]
    victim = next(n.index for n in cluster.up() if n.index != proposer)
    batch_id = batch.batch_id if known else b"\x55" * 32
    parts = {
        "none": (),
        "fewer": (NamedPart(batch_id, b"\x01"),),
        "reversed": (NamedPart(batch_id, b"\x04"), NamedPart(batch_id, b"\x03")),
        "odd": (NamedPart(batch_id, b"\x01" * 40),),
        "inline": (InlinePart((cluster.pay_coin(9),)),),
    }
    for wrong in parts.values():
        cluster.say(LIAR, victim, replace(message, block=replace(message.block, parts=wrong)))
    for field in ("previous_commit", "justification"):
        wrong_field = {"previous_commit": None, "justification": ()}[field]
        body: CompactBlock = replace(message.block, **{field: wrong_field})
        cluster.say(LIAR, victim, replace(message, block=body))
    cluster.say(proposer, victim, message)
    cluster.run(100)
    assert not victim_voted_nil(cluster, victim, 2)
    assert {peer for peer, _ in cluster.nodes[victim].penalties} <= {cluster.peers[LIAR]}


def test_a_false_list_beside_a_signed_freeze_does_not_spoil_it() -> None:
    """Only the digest of a FREEZE is signed; another list is its sender's fault [T5]."""
    cluster = with_liar()
    payment = cluster.pay_coin(0)
    held: list[tuple[int, int, Freeze]] = []

    def hold(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, Freeze) and message.epoch == 0:
            held.append((sender, receiver, message))
            return False
        return True

    cluster.gates.append(hold)
    cluster.run_to_height(2)
    # Certified by the liar's help and confirmed by all, too late for an ordinary block.
    cluster.run_until(lambda: all(n.core.height.height == 3 for n in cluster.up()))
    batch = cluster.submit(0, payment)
    cluster.run_until(lambda: len({sender for sender, _, _ in held}) == 3)
    cluster.gates.remove(hold)
    lies = [
        ((b"\x66" * 32, b"\x01"),),
        ((batch.batch_id, b"\x01" * 30),),
        ((batch.batch_id, b"\x01"), (b"\x77" * 32, b"\x01")),
    ]
    for _, receiver, freeze in held:
        for lie in lies:
            copy = cluster.freeze(LIAR, *lie)
            cluster.say(LIAR, receiver, replace(freeze, entries=copy.entries))
    for sender, receiver, freeze in held:
        cluster.say(sender, receiver, freeze)
    cluster.run_to_height(4, limit_ms=5_000)
    for node in cluster.up():
        assert {peer for peer, _ in node.penalties} <= {cluster.peers[LIAR]}


def spoil(payment: Transaction) -> Transaction:
    """Return the payment with a bad witness: the same txid, another leaf."""
    witness = payment.witnesses[0]
    return replace(payment, witnesses=(replace(witness, signatures=(bytes(64),)),))


def test_a_copy_with_a_bad_witness_does_not_spoil_the_payment() -> None:
    """A vote names the good copy, and blocks and FREEZEs do too [B4, B5]."""
    cluster = with_liar()
    payment, other = cluster.pay_coin(0), cluster.pay_coin(1)
    poison = codec.encode(Batch((spoil(payment), other)))
    cluster.watch.learn(prepare_batch(poison, chain_id=cluster.chain_id, verifier=VERIFIER))
    for node in cluster.up():
        cluster.say(LIAR, node.index, BatchBody(poison))
    batch = cluster.submit(1, payment)
    assert cluster.nodes[0].core.finality.place_of(batch.txids[0])[0].batch_id != batch.batch_id
    cluster.run_until(lambda: cluster.all_final(payment), limit_ms=500)
    cluster.run_until(
        lambda: all(n.disk.height_of(make_txid(payment.body)) for n in cluster.up()),
        limit_ms=3_000,
    )
    assert cluster.watch.included[batch.txids[0]] < 4
    assert cluster.nodes[0].core.spoilt == {batch.txids[0]: (batch.batch_id, 0)}
    cluster.run_to_height(9)


def test_the_good_copy_is_found_when_it_had_no_room_in_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Certified by the others, it is held and confirmed in spite of the spoilt copy [B5, F3]."""
    cluster = Cluster(absent=[1, 2, 3])
    payment, other = cluster.pay_coin(0), cluster.pay_coin(1, fee=10 * FEE)
    poison = codec.encode(Batch((spoil(payment), other)))
    cluster.watch.learn(prepare_batch(poison, chain_id=cluster.chain_id, verifier=VERIFIER))
    cluster.say(LIAR, 0, BatchBody(poison))
    node = cluster.nodes[0]
    node.core.pool.transactions_max = 0
    # What can be voted for at once needs no room there.
    monkeypatch.setattr(locking, "VOTED_BYTES_MAX", 0)
    good = cluster.batch(payment)
    for liar in (1, 2, 3):
        cluster.say(liar, 0, cluster.vote(liar, VoteKind.VOTE, (good.batch_id, b"\x01")))
    cluster.say(1, 0, BatchBody(good.body))
    assert not said(node, VoteKind.VOTE, payment)
    assert said(node, VoteKind.CONFIRM, payment)
    entry = node.core.pool.get(good.txids[0])
    assert entry is not None
    assert (entry.batch_id, entry.position) == (good.batch_id, 0)


def test_a_bad_entry_of_a_vote_counts_for_nothing_and_the_rest_counts() -> None:
    """Order and grouping mean nothing, whether the batch came before the vote or after [B2, B4]."""
    cluster = with_liar()
    one, two = cluster.pay_coin(0), cluster.pay_coin(1)
    # Each of the honest nodes counts the liar's vote in another order of arrival.
    first, second = cluster.batch(one), cluster.batch(two)
    vote = cluster.vote(
        LIAR, VoteKind.VOTE, (first.batch_id, b"\x01"), (second.batch_id, b"\x01" * 9)
    )
    cluster.say(LIAR, 0, vote)
    cluster.say(LIAR, 0, BatchBody(first.body))
    cluster.say(LIAR, 0, BatchBody(second.body))
    cluster.say(LIAR, 1, BatchBody(first.body))
    cluster.say(LIAR, 1, vote)
    cluster.say(LIAR, 1, BatchBody(second.body))
    cluster.say(LIAR, 2, BatchBody(first.body))
    cluster.say(LIAR, 2, BatchBody(second.body))
    cluster.say(LIAR, 2, vote)
    cluster.run(300)
    member = cluster.genesis.committee.index_of(cluster.ids[LIAR])
    assert member is not None
    for node in cluster.up():
        tally = node.core.finality.batches[first.batch_id]
        assert tally._seen[VoteKind.VOTE, member] == 1
        assert (VoteKind.VOTE, member) not in node.core.finality.batches[second.batch_id]._seen


def test_only_the_liar_is_blamed_for_its_vote() -> None:
    """An honest node that passes a vote on, as part of a certificate, did nothing wrong [B4]."""
    cluster = with_liar()
    first, second = cluster.batch(cluster.pay_coin(0)), cluster.batch(cluster.pay_coin(1))
    vote: Vote = cluster.vote(
        LIAR, VoteKind.VOTE, (first.batch_id, b"\x01"), (second.batch_id, b"\x01" * 9)
    )
    for node in cluster.up():
        cluster.say(LIAR, node.index, BatchBody(first.body))
        cluster.say(LIAR, node.index, BatchBody(second.body))
    cluster.say(0, 1, vote)
    assert cluster.nodes[1].penalties == []
    cluster.say(LIAR, 2, vote)
    assert [peer for peer, _ in cluster.nodes[2].penalties] == [cluster.peers[LIAR]]


def test_a_certificate_with_a_bad_entry_does_not_keep_a_node_from_starting() -> None:
    """What was journalled when a batch was unknown must be read again when it is known [D2]."""
    cluster = with_liar()
    first, second = cluster.batch(cluster.pay_coin(0)), cluster.batch(cluster.pay_coin(1))
    vote = cluster.vote(
        LIAR, VoteKind.VOTE, (first.batch_id, b"\x01"), (second.batch_id, b"\x01" * 9)
    )
    for node in cluster.up():
        cluster.say(LIAR, node.index, vote)
        cluster.say(LIAR, node.index, BatchBody(first.body))
    cluster.run(50)
    for node in cluster.up():
        assert node.core.finality.batches[first.batch_id].own_confirmed
        cluster.say(LIAR, node.index, BatchBody(second.body))
    for index in range(3):
        cluster.crash(index)
        cluster.start(index)
    cluster.run_to_height(2)


def test_a_second_block_of_one_round_survives_a_crash_with_the_prevote_for_it() -> None:
    """The block behind a precommit is in the journal, whichever of two it was [2.6, D2]."""
    cluster = with_liar()
    height = next(h for h in (1, 2, 3, 5, 6, 7) if cluster.proposer_of(h, 0) == LIAR)
    cluster.run_to_height(height - 1)
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run(50)
    first, second = two_blocks(cluster)
    said = [cluster.proposal(LIAR, block, 0) for block in (first, second)]
    cluster.gates.append(lambda s, r, m: not isinstance(m, ProposalMessage))
    for node in cluster.up():
        for message in said if node.index == 0 else said[::-1]:
            cluster.say(LIAR, node.index, message)
    cluster.gates.append(lambda s, r, m: getattr(m, "kind", None) is not BallotKind.PRECOMMIT)
    block_id = said[1].proposal.block_id
    cluster.say(LIAR, 0, cluster.ballot(LIAR, BallotKind.PREVOTE, height, 0, block_id))
    cluster.run(100)
    driver = cluster.nodes[0].core.height.driver
    assert driver is not None
    assert driver.state.locked_value == block_id
    cluster.crash(0)
    cluster.start(0)
    assert block_id in cluster.nodes[0].core.height.candidates
    cluster.gates.clear()
    cluster.run_to_height(height)
    assert cluster.watch.decided[height] == block_id


def two_blocks(cluster: Cluster) -> tuple[CompactBlock, CompactBlock]:
    """Make two valid blocks of the liar for the next height, one of them empty."""
    core = cluster.nodes[0].core
    blocks = []
    for entries in ([], certified_entries(core)):
        parts, payments = arrange(core, entries, capacity_bytes=10**6, listed={})
        assembled = assemble_block(
            genesis=core.genesis,
            state=core.state,
            committee=core.committee,
            previous_committee=core.previous_committee,
            previous_commit=core.tip_certificate,
            payments=[entry.verified for entry in payments],
            fees=sum(entry.fee or 0 for entry in payments),
            freezes=(),
            proposer=cluster.ids[LIAR],
            coins_sum=core.settled_sum,
        )
        named = tuple(NamedPart(batch_id, bytes([bits])) for batch_id, bits in parts)
        header, carried = assembled.header, assembled.previous_commit
        blocks.append(CompactBlock(header, carried, named, (), ()))
    return blocks[0], blocks[1]
