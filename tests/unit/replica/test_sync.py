"""Following the chain from decided blocks, with a vote or without one [T9]."""

import pytest
from msgspec.structs import replace

from building import secret
from lockstep.errors import Fatal
from lockstep.ledger.blocks import assemble_block, make_block
from lockstep.primitives import codec
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    CommitCertificate,
    CommitSignature,
    make_block_id,
)
from lockstep.primitives.messages import (
    BlockPage,
    DecidedBlock,
    GetBlock,
    Message,
    ProposalMessage,
    Status,
)
from lockstep.replica.blockpages import judge_block
from lockstep.replica.effects import (
    BatchHeld,
    BlockAdded,
    BlockDecided,
    Effect,
    Persist,
    QuorumConfirmed,
    Send,
)
from lockstep.replica.events import (
    BlockFetched,
    BlockFetchFailed,
    PeerConnected,
    PeerDisconnected,
    StatusReceived,
)
from lockstep.sim.keyed_hash import KeyedHashSigner
from unit.replica.cluster import VERIFIER, Cluster, txid_of


def fetched(cluster: Cluster, decided: DecidedBlock, *, peer: int = 0) -> BlockFetched:
    """Return the event that a fetched block becomes for node 3."""
    replica = cluster.nodes[3].replica
    assert replica is not None
    return judge_block(
        codec.encode(decided),
        height=decided.block.header.height,
        peer=cluster.peers[peer],
        chain_id=cluster.chain_id,
        lookup=replica.view,
        verifier=VERIFIER,
        find_verified=replica.view.find_verified,
    )


def requests(effects: list[Effect]) -> list[tuple[bytes, int]]:
    return [
        (effect.peer, effect.message.height)
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, GetBlock)
    ]


def lonely(cluster: Cluster) -> None:
    """Start node 3 so that nobody hears it and it hears nobody."""
    cluster.gates.append(lambda s, r, m: 3 not in (s, r))
    cluster.start(3)


def test_blocks_that_come_out_of_order_are_applied_in_order() -> None:
    """Each is held until its turn, and the state above is the same as anybody's [T9, T8]."""
    cluster = Cluster(absent=[3], closing_every=3)
    payments = [cluster.pay_coin(i) for i in range(3)]
    cluster.submit(0, *payments)
    cluster.run_to_height(5)
    lonely(cluster)
    blocks = cluster.nodes[0].disk.blocks
    for height in (3, 5, 2, 1):
        assert cluster.nodes[3].core.state.height == 0
        cluster.step(3, fetched(cluster, blocks[height - 1]))
    assert cluster.nodes[3].core.state.height == 3
    cluster.step(3, fetched(cluster, blocks[3]))
    assert cluster.nodes[3].core.state.height == 5
    assert all(cluster.is_final(3, payment) for payment in payments)
    added = [n for n in cluster.nodes[3].notices if isinstance(n, BlockAdded)]
    assert [(n.height, n.by_sync) for n in added] == [(h, True) for h in range(1, 6)]


def test_a_certified_block_that_is_invalid_stops_the_node() -> None:
    """More than a third of the weight lies; to go on either way would be wrong [T9]."""
    cluster = Cluster()
    cluster.run_to_height(1)
    cluster.run_until(lambda: all(n.core.height.height == 2 for n in cluster.nodes))
    core = cluster.nodes[0].core
    assembled = assemble_block(
        genesis=core.genesis,
        state=core.state,
        committee=core.committee,
        previous_committee=core.previous_committee,
        previous_commit=core.tip_certificate,
        payments=(),
        fees=0,
        freezes=(),
        proposer=cluster.ids[0],
        coins_sum=core.settled_sum,
    )
    block = make_block(assembled)
    block = replace(block, header=replace(block.header, time_ms=block.header.time_ms + 1))
    block_id = make_block_id(block.header)
    ballots = [cluster.ballot(i, BallotKind.PRECOMMIT, 2, 0, block_id, time_ms=7) for i in range(3)]
    signatures = tuple(CommitSignature(b.voter, b.time_ms, b.signature) for b in ballots)
    event = fetched(cluster, DecidedBlock(block, CommitCertificate(2, 0, block_id, signatures)))
    with pytest.raises(Fatal) as stopped:
        cluster.step(3, event)
    assert stopped.value.code == "chain.certified_invalid"


def test_heights_are_asked_of_several_peers_and_of_another_where_one_fails() -> None:
    """A peer that does not serve costs a try, not the sync [T9]."""
    cluster = Cluster(absent=[3])
    lonely(cluster)
    cluster.run(100)
    status = Status(6, b"\x01" * 32, 1)
    asked = requests(cluster.step(3, StatusReceived(cluster.peers[0], status)))
    assert {peer for peer, _ in asked} == {cluster.peers[0]}
    assert [height for _, height in asked] == list(range(1, 7))
    # A second peer takes over what the first one fails to serve.
    cluster.step(3, StatusReceived(cluster.peers[1], status))
    for peer, height in asked:
        cluster.step(3, BlockFetchFailed(peer, height))
    again = requests(cluster.step(3, StatusReceived(cluster.peers[2], status)))
    assert [height for _, height in again] == list(range(1, 7))
    assert {peer for peer, _ in again} > {cluster.peers[1]}


def test_a_peer_that_is_gone_or_goes_back_is_not_believed() -> None:
    """What it claims may not have us repeat our votes without end [T10]."""
    cluster = Cluster()
    payment = cluster.pay_coin(0)
    cluster.gates.append(lambda s, r, m: False)
    cluster.submit(0, payment)
    peer = cluster.peers[1]
    cluster.step(0, PeerDisconnected(peer))
    assert cluster.step(0, StatusReceived(peer, Status(9, b"\x01" * 32, 2))) == []
    cluster.step(0, PeerConnected(peer))
    here = cluster.nodes[0].core.state
    sent = []
    for epoch in (0, 0, 0):
        status = Status(here.height, here.block_id, epoch)
        sent.append(len(cluster.step(0, StatusReceived(peer, status))))
    assert sent[0] > 0
    assert sent[1:] == [0, 0]


@pytest.mark.parametrize("key", [None, KeyedHashSigner(secret(77).public_key)])
def test_a_follower_without_a_vote_keeps_up_and_signs_nothing(key: KeyedHashSigner | None) -> None:
    """It counts Confirms and certificates itself [F4, T9]."""
    cluster = Cluster(absent=[3])
    cluster.keys[3] = key
    cluster.start(3)
    records: list[type] = []
    cluster.on_step = lambda node, event, effects: records.extend(
        type(e.record) for e in effects if isinstance(e, Persist) and node.index == 3
    )
    payments = [cluster.pay_coin(i) for i in range(6)]
    for i, payment in enumerate(payments):
        cluster.submit(i % 4, payment)
        cluster.run(120)
    cluster.run_until(lambda: cluster.all_final(*payments))
    cluster.run_to_height(9)
    assert {txid_of(payment) for payment in payments} <= set(cluster.told_final(3))
    assert set(records) == {BatchHeld, QuorumConfirmed, BlockDecided}


def test_blocks_fetched_ahead_follow_a_block_that_was_decided_here() -> None:
    """They fill the window, so that nothing more is fetched and no further event takes them up."""
    cluster = Cluster(closing_every=2)
    late: list[tuple[int, Message]] = []

    def delay(sender: int, receiver: int, message: Message) -> bool:
        if receiver != 3 or isinstance(message, Status):
            return True
        if isinstance(message, BlockPage):
            return message.height > 1
        height = getattr(getattr(message, "proposal", message), "height", 0)
        if height == 1 and isinstance(message, ProposalMessage | Ballot):
            late.append((sender, message))
        return False

    cluster.gates.append(delay)
    cluster.run_until(lambda: cluster.nodes[0].core.state.height >= 6, limit_ms=9_000)
    core = cluster.nodes[3].core
    assert core.state.height == 0
    assert core.catchup.holds(2)
    for sender, message in late:
        cluster.say(sender, 3, message)
    assert core.state.height >= 4
    cluster.gates.clear()
    cluster.run_until(lambda: core.state.height >= 8, limit_ms=5_000)


def test_a_node_that_is_a_message_behind_fetches_nothing() -> None:
    """At the working pace somebody is always a block ahead of it; each decision comes by itself."""
    cluster = Cluster(closing_every=50)
    cluster.run(200)
    asked: list[int] = []

    def late(sender: int, receiver: int, message: Message) -> bool:
        if sender == 3 and isinstance(message, GetBlock):
            asked.append(message.height)
        if receiver != 3 or isinstance(message, Status):
            return True
        cluster.after(80, lambda: cluster.say(sender, 3, message))
        return False

    cluster.gates.append(late)
    for number in range(28):
        cluster.submit(0, cluster.pay_coin(number))
        cluster.run(110)
    assert cluster.nodes[3].core.state.height >= 8
    assert asked == []
