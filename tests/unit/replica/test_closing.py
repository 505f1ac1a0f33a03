"""The end of an epoch: FREEZEs, J, the closing block, and what is dropped or paid with it."""

import pytest

from building import RICH, lock_of
from lockstep.ledger.masternodes import committee_of_epoch
from lockstep.primitives.bitmap import iterate_bits
from lockstep.primitives.block import NamedPart
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica.effects import BlockAdded, TransactionsDropped
from lockstep.replica.events import BatchReceived, PeerConnected
from unit.replica.cluster import FEE, Cluster, said, txid_of
from unit.replica.gates import refuse


def test_a_freeze_lists_all_that_was_confirmed_and_is_not_in_the_chain() -> None:
    """Complete, disjoint from the chain, and durable with the decision below [T5, 2.6]."""
    cluster = Cluster()
    freezes: dict[bytes, Freeze] = {}

    def note(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, Freeze):
            freezes.setdefault(message.voter, message)
        return True

    cluster.gates.append(note)
    early, late = cluster.pay_coin(0), [cluster.pay_coin(i) for i in (1, 2)]
    cluster.submit(0, early)
    cluster.run_to_height(2)
    cluster.run_until(lambda: any(n.core.height.candidates for n in cluster.nodes))
    cluster.submit(1, *late)
    cluster.run_to_height(3)
    too_late = cluster.pay_coin(3)
    cluster.submit(2, too_late)
    cluster.run_to_height(4)
    assert len(freezes) == 4
    assert txid_of(early) in cluster.watch.included
    for freeze in freezes.values():
        listed = {
            cluster.watch.batches[entry.batch_id][position]
            for entry in freeze.entries
            for position in iterate_bits(int.from_bytes(entry.bitmap, "little"))
        }
        assert listed == set(map(txid_of, late))
    assert set(cluster.decided_payments(4)) >= set(map(txid_of, late))


def test_what_one_node_confirmed_is_in_the_closing_block() -> None:
    """The union of J's lists is in it, so what is final is in the chain in time [T7]."""
    cluster = Cluster()
    cluster.run_to_height(2)
    cluster.run_until(lambda: any(n.core.height.candidates for n in cluster.nodes))
    # Too late for the block of height 3, whose proposal is on its way.
    payments = [cluster.pay_coin(i) for i in range(3)]
    cluster.submit(0, *payments)
    cluster.run_until(lambda: cluster.all_final(*payments), limit_ms=100)
    assert {node.core.height.height for node in cluster.nodes} <= {3, 4}
    cluster.run_to_height(4)
    assert set(cluster.decided_payments(4)) == set(map(txid_of, payments))
    closing = cluster.nodes[0].disk.blocks[3].block
    assert len(closing.justification) >= 3
    assert all(any(proof.bitmap) for proof in closing.justification)


def test_round_0_of_a_closing_height_waits_for_a_quorum_of_usable_freezes() -> None:
    """Two of four FREEZEs start nothing, nor does a third whose batch is missing [T6]."""
    cluster = Cluster(absent=[3])
    for index in range(3):
        cluster.step(index, PeerConnected(cluster.peers[3]))
    cluster.gates.append(lambda s, r, m: not (isinstance(m, Freeze) and m.voter == cluster.ids[2]))
    cluster.run_to_height(3)
    cluster.run(5_000)
    assert all(n.core.height.driver.state.round == -1 for n in cluster.up() if n.index < 2)  # type: ignore[union-attr]  # A begun height has its driver.
    batch = cluster.batch(cluster.pay_coin(5))
    freeze = cluster.freeze(3, (batch.batch_id, b"\x01"), txids=batch.txids)
    for index in (0, 1):
        cluster.say(3, index, freeze)
    cluster.run(1_000)
    for index in (0, 1):
        height = cluster.nodes[index].core.height
        assert set(height.usable) == {cluster.ids[0], cluster.ids[1]}
        cluster.say(3, index, cluster.freeze(3))
    cluster.run(1_000)
    # The liar has said its word; only the lost FREEZE helps, and it is sent again.
    assert cluster.nodes[0].core.state.height == 3
    cluster.gates.clear()
    cluster.run_to_height(4, limit_ms=12_000)


def test_a_valid_proposal_starts_round_0_for_a_node_without_freezes() -> None:
    """J is in the block: who lacks the FREEZEs themselves follows it [T6, T7]."""
    cluster = Cluster()
    proposer = cluster.proposer_of(4, 0)
    victim = (proposer + 1) % 4
    cluster.gates.append(lambda s, r, m: not (isinstance(m, Freeze) and r == victim))
    cluster.run_to_height(4, limit_ms=5_000)
    (block,) = (
        n for n in cluster.nodes[victim].notices if isinstance(n, BlockAdded) and n.height == 4
    )
    assert (block.round, block.by_sync) == (0, False)


def test_a_lost_freeze_is_sent_again() -> None:
    """No other timer runs before round 0 of a closing height [T10]."""
    cluster = Cluster()
    lost: list[int] = []

    def lose_first(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, Freeze) and cluster.now < 4_500:
            lost.append(sender)
            return False
        return True

    cluster.gates.append(lose_first)
    cluster.run_to_height(4, limit_ms=20_000)
    assert lost
    assert cluster.now > 4_500


def test_locks_and_votes_end_with_the_epoch_and_what_lives_is_voted_for_anew() -> None:
    """Certificates and locks of e are gone, its live payments go on [T8, M4]."""
    cluster = Cluster()
    cluster.run_to_height(2)
    cluster.gates.append(refuse(Vote))
    # Too young for the closing block, and never certified in this epoch.
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run(50)
    before = [node.core.finality for node in cluster.nodes]
    assert all(said(node, VoteKind.VOTE, payment) for node in cluster.nodes)
    cluster.run_to_height(4)
    assert txid_of(payment) not in cluster.watch.included
    for node in cluster.nodes:
        finality = node.core.finality
        assert finality is not before[node.index]
        assert (finality.epoch, finality.frozen) == (1, False)
        assert finality.holder_of(cluster.coin(0)) == txid_of(payment)
        vote = finality.place_of(txid_of(payment))[0].all_messages()[0]
        assert vote.epoch == 1
    cluster.gates.clear()
    for one in range(4):
        for other in range(one):
            cluster.reconnect(one, other)
    cluster.run_until(lambda: cluster.all_final(payment), limit_ms=100)


@pytest.mark.parametrize("seed", range(4))
def test_a_contested_coin_is_decided_by_a_closing_block_and_free_again(seed: int) -> None:
    """Two against two: neither is final, one is decided, the coin is free [T6, T8]."""
    cluster = Cluster(seed=seed)
    one, two = cluster.pay_coin(0, memo=b"one"), cluster.pay_coin(0, memo=b"two")
    side = cluster.pay((cluster.coin(1), RICH, 1), (cluster.coin(0), RICH, 0), memo=b"three")
    first, second, third = cluster.batch(one), cluster.batch(two), cluster.batch(side)
    for index in range(4):
        cluster.step(index, BatchReceived(None, first if index < 2 else second))
    cluster.step(3, BatchReceived(cluster.peers[0], third))
    cluster.run_to_height(3)
    assert not cluster.watch.final
    cluster.run_to_height(4)
    decided = cluster.decided_payments(4)
    assert len(decided) == 1
    (winner,) = decided
    losers = {txid_of(one), txid_of(two), txid_of(side)} - {winner}
    for node in cluster.nodes:
        dropped = {
            txid
            for notice in node.notices
            if isinstance(notice, TransactionsDropped)
            for txid in notice.txids
        }
        assert dropped <= losers
        assert not any(txid in node.core.pool for txid in losers | {winner})
        assert node.core.finality.holder_of(cluster.coin(0)) is None
    # The other coin of the one that lost, and the winner's output, can be spent at once.
    free = cluster.pay_coin(1, memo=b"free") if winner != txid_of(side) else cluster.pay_coin(2)
    cluster.submit(1, free)
    amount = 2 * RICH - FEE if winner == txid_of(side) else RICH - FEE
    following = cluster.pay((make_outpoint(winner, 0), amount, 0))
    cluster.submit(2, following)
    cluster.run_until(lambda: cluster.all_final(free, following), limit_ms=2_000)


def test_the_descendants_of_what_died_are_pruned_with_it() -> None:
    """Not in the chain and an input spent, with all that builds on it [T8]."""
    cluster = Cluster(absent=[3])
    cluster.step(0, PeerConnected(cluster.peers[3]))
    dead = cluster.pay_coin(0, memo=b"dead")
    child = cluster.pay((make_outpoint(txid_of(dead), 0), RICH - FEE, 0))
    grandchild = cluster.pay((make_outpoint(txid_of(child), 0), RICH - 2 * FEE, 0))
    cluster.step(0, BatchReceived(cluster.peers[3], cluster.batch(grandchild, child)))
    rival = cluster.batch(cluster.pay_coin(0, memo=b"rival"))
    cluster.step(1, BatchReceived(None, rival))
    cluster.run(20)
    cluster.step(0, BatchReceived(cluster.peers[3], cluster.batch(dead)))
    cluster.run_to_height(1)
    assert cluster.decided_payments(1) == list(rival.txids)
    node = cluster.nodes[0]
    assert len(node.core.pool) == 0
    (notice,) = (n for n in node.notices if isinstance(n, TransactionsDropped))
    assert set(notice.txids) == {txid_of(p) for p in (dead, child, grandchild)}
    assert notice.code == "tx.double_spend"


def test_a_dead_payment_keeps_its_other_locks_over_a_crash() -> None:
    """Locks live exactly as long as the epoch, dead or not, before and after a crash [F1, D2]."""
    cluster = Cluster((1, 1, 1, 1))
    dead = cluster.pay((cluster.coin(0), RICH, 0), (cluster.coin(1), RICH, 1), memo=b"dead")
    rival = cluster.pay_coin(0, memo=b"rival")
    cluster.step(0, BatchReceived(cluster.peers[1], cluster.batch(dead)))
    assert cluster.nodes[0].core.finality.holder_of(cluster.coin(1)) == txid_of(dead)
    cluster.gates.append(lambda s, r, m: not (isinstance(m, Vote) and s == 0))
    cluster.submit(1, rival)
    cluster.run_to_height(1)
    assert txid_of(rival) in cluster.watch.included
    third = cluster.batch(cluster.pay_coin(1, memo=b"third"))
    for _ in range(2):
        assert cluster.nodes[0].core.finality.holder_of(cluster.coin(1)) == txid_of(dead)
        cluster.step(0, BatchReceived(cluster.peers[1], third))
        assert not cluster.nodes[0].core.finality.place_of(third.txids[0])[0].own_voted
        cluster.crash(0)
        cluster.start(0)
    cluster.gates.clear()
    cluster.run_to_height(5)
    assert cluster.nodes[0].core.finality.holder_of(cluster.coin(1)) in (None, third.txids[0])


def test_supply_holds_and_rewards_reach_members_over_many_epochs() -> None:
    """Coins + pending fees = genesis + issued - burnt, at every block [L6, N3]."""
    cluster = Cluster((4, 3, 2, 2), coins=16)
    paid = 0

    def check(node: object, event: object, effects: object) -> None:
        for other in cluster.up():
            state = other.core.state
            due = cluster.genesis.supply + state.issued - state.burnt
            assert state.coin_sum + state.fees_pending == due

    cluster.on_step = check
    for epoch in range(6):
        cluster.submit(epoch % 4, cluster.pay_coin(epoch), cluster.pay_coin(8 + epoch))
        paid += 2 * FEE
        cluster.run_to_height(4 * (epoch + 1), limit_ms=20_000)
    node = cluster.nodes[0]
    state = node.core.state
    coins = node.disk.coins
    assert sum(coin.amount for coin in coins.values()) == state.coin_sum
    assert len(coins) == state.coin_count
    assert state.issued > 0
    shares = {
        i: sum(coin.amount for coin in coins.values() if coin.lock == lock_of(3000 + i))
        for i in range(4)
    }
    assert sum(shares.values()) == state.issued + paid - state.burnt - state.fees_pending
    assert all(shares.values())
    committee = committee_of_epoch(cluster.genesis, 0)
    assert committee.total_weight == 11
    # By weight, but for an epoch's remainder and for who missed an epoch.
    assert shares[0] > shares[2]


def test_a_part_of_a_closing_block_may_stand_inline() -> None:
    """What is in no batch, the coinbase, stands inline; the rest is named [T2]."""
    cluster = Cluster()
    seen: list[ProposalMessage] = []

    def note(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, ProposalMessage):
            seen.append(message)
        return True

    cluster.gates.append(note)
    cluster.run_to_height(2)
    cluster.run_until(lambda: any(n.core.height.candidates for n in cluster.nodes))
    cluster.submit(0, cluster.pay_coin(0))
    cluster.run_to_height(4)
    closing = [m.block for m in seen if m.block.header.is_closing]
    assert len(closing[0].parts) == 2
    assert isinstance(closing[0].parts[1], NamedPart)
