"""Ordinary blocks: certified payments alone, waited for and judged once [T2, T4]."""

from itertools import pairwise

from msgspec.structs import replace

from building import GENESIS_TIME_MS, RICH
from lockstep.ledger.blocks import assemble_block
from lockstep.primitives.block import Ballot, BallotKind, CompactBlock, make_block_id
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.effects import BlockAdded, BlockDecided
from lockstep.replica.events import BatchReceived, PeerConnected
from unit.replica.cluster import FEE, Cluster, txid_of
from unit.replica.gates import refuse


def test_a_block_with_an_uncertified_payment_waits_for_the_certificate() -> None:
    """It is fetched and waited for, never judged; prevoted once it is here [T2, T4]."""
    cluster = Cluster()
    cluster.run_to_height(1)
    cluster.gates.append(lambda s, r, m: not (r == 3 and isinstance(m, Vote)))
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run_until(lambda: any(n.core.height.candidates for n in cluster.nodes))
    cluster.run(60)
    (candidate,) = cluster.nodes[3].core.height.candidates.values()
    assert candidate.verdict.name == "OPEN"
    assert (cluster.ids[3], 2, 0, BallotKind.PREVOTE) not in cluster.watch.said
    cluster.gates.clear()
    cluster.run_until(lambda: cluster.nodes[3].core.state.height == 2, limit_ms=500)
    assert cluster.decided_payments(2) == [txid_of(payment)]
    (block,) = (n for n in cluster.nodes[3].notices if isinstance(n, BlockAdded) and n.height == 2)
    assert not block.by_sync


def test_a_block_whose_certificate_never_comes_is_prevoted_nil_at_the_time_out() -> None:
    """Nothing uncertified is in an ordinary block, and the height goes on without it [T4]."""
    cluster = Cluster(absent=[3])
    for index in range(3):
        cluster.step(index, PeerConnected(cluster.peers[3]))
    height = next(h for h in (2, 3, 5, 6, 7) if cluster.proposer_of(h, 0) != 3)
    proposer = cluster.proposer_of(height, 0)
    cluster.run_to_height(height - 1)
    # The last one lacks the liar's vote for what two voted for, and the certificate with it.
    payment, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    other, last = (i for i in range(3) if i != proposer)
    cluster.step(last, BatchReceived(cluster.peers[3], cluster.batch(rival)))
    batch = cluster.submit(proposer, payment)
    cluster.run(20)
    cluster.gates.append(lambda s, r, m: not (isinstance(m, Vote) and m.voter == cluster.ids[3]))
    for kind in VoteKind:
        for index in (proposer, other):
            cluster.say(3, index, cluster.vote(3, kind, (batch.batch_id, b"\x01")))
    cluster.run_until(
        lambda: (cluster.ids[last], height, 0, BallotKind.PREVOTE) in cluster.watch.said
    )
    said = cluster.watch.said[cluster.ids[last], height, 0, BallotKind.PREVOTE]
    assert isinstance(said, Ballot)
    assert said.block_id is None
    cluster.gates.clear()
    cluster.run_to_height(height)
    assert cluster.nodes[other].core.height.height > height


def test_what_is_not_final_yet_waits_for_the_closing_block() -> None:
    """Of what is final a quorum has the certificate; a closing block takes what is certified."""
    cluster = Cluster()
    cluster.run_to_height(1)
    cluster.gates.append(refuse(Vote, kind=VoteKind.CONFIRM))
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run_to_height(3)
    assert all(node.core.finality.is_certified(txid_of(payment)) for node in cluster.nodes)
    assert cluster.decided_payments(2) == cluster.decided_payments(3) == []
    cluster.run_to_height(4)
    assert cluster.decided_payments(4) == [txid_of(payment)]


def test_an_invalid_block_is_prevoted_nil_and_the_round_goes_on() -> None:
    """A header that does not follow from chain and body is a verdict for ever [T2]."""
    cluster = Cluster(absent=[3])
    for index in range(3):
        cluster.step(index, PeerConnected(cluster.peers[3]))
    height = next(h for h in (1, 2, 3, 5, 6, 7) if cluster.proposer_of(h, 0) == 3)
    cluster.run_to_height(height - 1)
    block = _block_of(cluster, height, time_shift_ms=5)
    for index in range(3):
        cluster.say(3, index, cluster.proposal(3, block, 0))
        candidate = cluster.nodes[index].core.height.candidates[make_block_id(block.header)]
        assert candidate.verdict.name == "INVALID"
        assert candidate.fault.startswith("block.header")
    cluster.run_to_height(height)
    for index in range(3):
        said = cluster.watch.said[cluster.ids[index], height, 0, BallotKind.PREVOTE]
        assert isinstance(said, Ballot)
        assert said.block_id is None


def _block_of(cluster: Cluster, height: int, *, time_shift_ms: int) -> CompactBlock:
    core = cluster.nodes[0].core
    assert core.height.height == height
    assembled = assemble_block(
        genesis=core.genesis,
        state=core.state,
        committee=core.committee,
        previous_committee=core.previous_committee,
        previous_commit=core.tip_certificate,
        payments=(),
        fees=0,
        freezes=(),
        proposer=cluster.ids[3],
        coins_sum=core.settled_sum,
    )
    header = replace(assembled.header, time_ms=assembled.header.time_ms + time_shift_ms)
    return CompactBlock(header, assembled.previous_commit, (), (), ())


def test_empty_blocks_are_made_so_that_epochs_end() -> None:
    """Idle or not, heights and epochs go on [T4, M4]."""
    cluster = Cluster()
    cluster.run_to_height(9)
    assert [node.core.state.epoch for node in cluster.nodes] == [2] * 4
    closings = [
        notice.height
        for notice in cluster.nodes[0].notices
        if isinstance(notice, BlockAdded) and notice.closing
    ]
    assert closings == [4, 8]


def test_children_stand_behind_their_parents_in_one_block() -> None:
    """A block names batches in topological order, one of them twice if need be [T2]."""
    cluster = Cluster(delay_max_ms=1)
    parent = cluster.pay_coin(0)
    child = cluster.pay((make_outpoint(txid_of(parent), 0), RICH - FEE, 0))
    last = cluster.pay((make_outpoint(txid_of(child), 0), RICH - 2 * FEE, 0))
    cluster.step(0, BatchReceived(cluster.peers[1], cluster.batch(parent, last)))
    cluster.step(1, BatchReceived(cluster.peers[2], cluster.batch(child)))
    cluster.run_to_height(1)
    assert cluster.decided_payments(1) == [txid_of(parent), txid_of(child), txid_of(last)]


def test_the_time_of_a_block_is_the_clock_of_those_who_decided_the_one_below() -> None:
    """The median of the precommits' times, which are their senders' clocks [T3]."""
    cluster = Cluster()
    decided_at: dict[int, int] = {}
    cluster.on_record = lambda node, record: (
        decided_at.setdefault(record.delta.height, GENESIS_TIME_MS + cluster.now)
        if isinstance(record, BlockDecided)
        else None
    )
    cluster.run_to_height(6)
    headers = [decided.block.header for decided in cluster.nodes[0].disk.blocks]
    assert headers[0].time_ms == GENESIS_TIME_MS + 1
    for below, header in pairwise(headers):
        assert header.time_ms > below.time_ms
        assert 0 <= decided_at[below.height] - header.time_ms <= 8
