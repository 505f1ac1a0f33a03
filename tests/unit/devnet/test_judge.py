"""The judge finds one fault of each kind, planted in what a healthy network left [L6, F4, N4]."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from building import genesis_coins, make_genesis, sum_coins
from lockstep.devnet.judge import Verdict, judge
from lockstep.devnet.remains import BlockAnnounced, BrokenRecording, FinalAnnounced, open_remains
from lockstep.errors import LockstepError
from lockstep.ledger.coins import Coin
from lockstep.ledger.settlement import due_commitment
from lockstep.primitives.block import BallotKind, CompactBlock
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.messages import BatchBody
from lockstep.primitives.transaction import Transaction, make_txid
from lockstep.primitives.votes import VoteKind
from lockstep.replica.effects import OwnConfirm, QuorumConfirmed
from unit.devnet.made_remains import Network, copy_of, run_network
from unit.replica.cluster import VERIFIER

BOTH = b"\x03"


@pytest.fixture(scope="module")
def healthy() -> Network:
    return run_network()


@pytest.fixture
def network(healthy: Network) -> Network:
    """Return the remains of a healthy network, to plant a fault in."""
    return copy_of(healthy)


def faults(verdict: Verdict) -> dict[str, object]:
    """Return what the verdict finds wrong, so that one fault is seen to raise one alarm."""
    good: dict[str, object] = {
        "states_equal": True,
        "supply_ok": True,
        "double_signs": 0,
        "final_lost": 0,
        "final_without_quorum": 0,
        "both_final": 0,
    }
    described = verdict.describe()
    good["state_commitment"] = described["state_commitment"] or "something"
    found = {name: value for name, value in described.items() if name in good}
    assert bool(verdict.findings) == (found != good)
    return {name: value for name, value in found.items() if value != good[name]}


def coins_above(network: Network, height: int) -> dict[bytes, Coin]:
    """Follow the blocks in the plainest way."""
    coins = dict(genesis_coins(network.genesis).coins)
    for decided in network.nodes[0].blocks[:height]:
        for transaction in decided.block.transactions:
            for outpoint in transaction.body.inputs:
                del coins[outpoint]
            for index, output in enumerate(transaction.body.outputs):
                outpoint = make_outpoint(make_txid(transaction.body), index)
                coins[outpoint] = Coin(output.amount, output.lock, 0)
    return coins


def txid_of(payment: Transaction) -> bytes:
    return make_txid(payment.body)


def test_healthy_network_is_found_healthy(network: Network) -> None:
    """Nodes may stop at unequal heights, and what is final may still be without a block."""
    verdict = network.judge()
    assert faults(verdict) == {}
    assert verdict.closing_blocks >= 1
    assert verdict.height_max >= 6
    tip = next(node for node in network.nodes if node.state.height == verdict.height_max)
    plain = sum_coins(coins_above(network, tip.state.epoch * network.genesis.closing_every))
    assert verdict.state_commitment == due_commitment(network.genesis, tip.state, plain).hex()
    announced = [said for node in network.nodes for said in node.notices]
    assert sum(isinstance(said, FinalAnnounced) for said in announced) >= 4 * 8
    assert any(isinstance(said, BlockAnnounced) and said.txids for said in announced)
    assert any(txid_of(network.payments[-1]) not in node.heights for node in network.nodes)


def test_real_databases_and_recordings_give_the_same_verdict(tmp_path: Path) -> None:
    network = run_network(tmp_path)
    directories = [tmp_path / f"node{i}" for i in range(4)]
    with open_remains(directories, tmp_path / "evidence", network.genesis) as nodes:
        assert judge(nodes, network.genesis, verifier=VERIFIER) == network.judge()
        for stopped, made in zip(nodes, network.nodes, strict=True):
            assert list(stopped.announced()) == made.notices
            assert list(stopped.received()) == made.messages
            assert stopped.coins() == made.coins()

    notices = tmp_path / "evidence" / "node0.notices"
    with notices.open("ab") as file:
        file.write(b'{"event":"fin')
    with open_remains(directories, tmp_path / "evidence", network.genesis) as nodes:
        assert list(nodes[0].announced()) == network.nodes[0].notices
        with notices.open("ab") as file:
            file.write(b"\n")
        with pytest.raises(BrokenRecording, match=r"node0\.notices"):
            list(nodes[0].announced())


def test_coin_too_many(network: Network) -> None:
    node = network.nodes[2]
    coin = next(iter(node.held.values()))
    node.held[bytes(36)] = coin
    wrong = {"states_equal": False, "supply_ok": False, "state_commitment": None}
    assert faults(network.judge()) == wrong


def test_coin_under_another_lock(network: Network) -> None:
    node = network.nodes[1]
    outpoint, coin = next(iter(node.held.items()))
    node.held[outpoint] = replace(coin, lock=bytes(32))
    assert faults(network.judge()) == {"states_equal": False, "state_commitment": None}


def test_changes_that_were_kept_wrong(network: Network) -> None:
    """[S1] After a restart this node would judge the next closing block by another sum."""
    node = network.nodes[3]
    last = next(delta for delta in reversed(node.kept) if delta.created)
    place = node.kept.index(last)
    assert last.height > node.state.epoch * network.genesis.closing_every
    node.kept[place] = replace(last, created=last.created[1:])
    assert faults(network.judge()) == {"state_commitment": None}


def test_counter_that_drifted(network: Network) -> None:
    node = network.nodes[0]
    node.state = replace(node.state, fees_pending=node.state.fees_pending + 1)
    assert faults(network.judge()) == {"states_equal": False}


def test_money_out_of_nothing_that_all_agree_on(network: Network) -> None:
    """All nodes hold the same wrong coins: only the recount of the supply can tell."""
    for node in network.nodes:
        outpoint, coin = max(node.held.items())
        node.held[outpoint] = replace(coin, amount=coin.amount + 1)
    assert "supply_ok" in faults(network.judge())


def test_another_block(network: Network) -> None:
    node = network.nodes[3]
    decided = node.blocks[2]
    header = replace(decided.block.header, time_ms=decided.block.header.time_ms + 1)
    node.blocks[2] = replace(decided, block=replace(decided.block, header=header))
    assert "states_equal" in faults(network.judge())


def test_block_decided_by_too_few(network: Network) -> None:
    for node in network.nodes:
        decided = node.blocks[-1]
        few = replace(decided.certificate, signatures=decided.certificate.signatures[:2])
        node.blocks[-1] = replace(decided, certificate=few)
    assert "states_equal" in faults(network.judge())


def test_two_ballots(network: Network) -> None:
    cluster = network.cluster
    for node, value in ((0, bytes(32)), (3, None)):
        ballot = cluster.ballot(1, BallotKind.PREVOTE, 99, 0, value)
        network.nodes[node].messages += [ballot, ballot]
    assert faults(network.judge()) == {"double_signs": 1}


def test_two_times_of_one_precommit_are_no_fault(network: Network) -> None:
    """[N4]: times alone: no."""
    for time_ms in (1, 2):
        ballot = network.cluster.ballot(1, BallotKind.PRECOMMIT, 99, 0, bytes(32), time_ms=time_ms)
        network.nodes[0].messages.append(ballot)
    assert faults(network.judge()) == {}


def test_forged_ballot_accuses_nobody_and_hides_nobody(network: Network) -> None:
    """The forgery comes first, so that the judge must let go of it to see the true pair."""
    cluster = network.cluster
    true = [cluster.ballot(1, BallotKind.PREVOTE, 99, 0, v) for v in (None, bytes(32))]
    forged = [replace(true[0], block_id=bytes(31) + b"\1"), replace(true[1], time_ms=7)]
    network.nodes[0].messages += [*forged, true[0]]
    assert faults(network.judge()) == {}
    network.nodes[0].messages.append(true[1])
    assert faults(network.judge()) == {"double_signs": 1}


def test_two_proposals(network: Network) -> None:
    cluster = network.cluster
    header = network.nodes[0].blocks[0].block.header
    for time_ms in (1, 2):
        block = CompactBlock(replace(header, height=99, time_ms=time_ms), None, (), (), ())
        network.nodes[time_ms].messages.append(cluster.proposal(2, block, 0))
    assert faults(network.judge()) == {"double_signs": 1}


@pytest.mark.parametrize("kind", list(VoteKind))
def test_two_votes_for_rivals(network: Network, kind: VoteKind) -> None:
    cluster = network.cluster
    rivals = [cluster.pay_coin(10), cluster.pay_coin(10, fee=9_000)]
    batches = [cluster.batch(rival) for rival in rivals]
    for node, batch in zip(network.nodes, batches, strict=False):
        vote = cluster.vote(0, kind, (batch.batch_id, b"\1"), epoch=50)
        node.messages += [BatchBody(batch.body), vote, vote]
    assert faults(network.judge()) == {"double_signs": 1}


def test_one_vote_for_both_rivals(network: Network) -> None:
    cluster = network.cluster
    batch = cluster.batch(cluster.pay_coin(10), cluster.pay_coin(10, fee=9_000))
    vote = cluster.vote(0, VoteKind.VOTE, (batch.batch_id, BOTH), epoch=50)
    network.nodes[1].messages += [BatchBody(batch.body), vote]
    assert faults(network.judge()) == {"double_signs": 1}


def test_votes_of_two_epochs_or_two_kinds_are_no_fault(network: Network) -> None:
    """[N4]: not evidence: Vote T with Confirm T', different epochs."""
    cluster = network.cluster
    rivals = [cluster.batch(cluster.pay_coin(10, fee=fee)) for fee in (5_000, 9_000)]
    network.nodes[0].messages += [BatchBody(batch.body) for batch in rivals]
    network.nodes[0].messages += [
        cluster.vote(0, VoteKind.VOTE, (rivals[0].batch_id, b"\1"), epoch=50),
        cluster.vote(0, VoteKind.CONFIRM, (rivals[1].batch_id, b"\1"), epoch=50),
        cluster.vote(0, VoteKind.VOTE, (rivals[1].batch_id, b"\1"), epoch=51),
    ]
    assert faults(network.judge()) == {}


def test_two_freezes(network: Network) -> None:
    cluster = network.cluster
    network.nodes[0].messages.append(cluster.freeze(2, epoch=50))
    network.nodes[1].messages.append(cluster.freeze(2, txids=[bytes(32)], epoch=50))
    assert faults(network.judge()) == {"double_signs": 1}


def test_freeze_that_leaves_out_a_confirm(network: Network) -> None:
    """[T5]: what a member confirmed and the chain lacks stands in its FREEZE."""
    cluster = network.cluster
    batch = cluster.batch(cluster.pay_coin(10))
    network.nodes[0].messages += [
        BatchBody(batch.body),
        cluster.vote(2, VoteKind.CONFIRM, (batch.batch_id, b"\1"), epoch=50),
        cluster.freeze(2, epoch=50),
    ]
    assert faults(network.judge()) == {"double_signs": 1}


def test_payment_missing_from_a_chain(network: Network) -> None:
    node = network.nodes[2]
    del node.heights[txid_of(network.payments[0])]
    assert faults(network.judge()) == {"final_lost": 1}


def test_live_final_payment_forgotten_by_one_journal(network: Network) -> None:
    last = txid_of(network.payments[-1])
    node = next(node for node in network.nodes if last not in node.heights)
    node.journal = [r for r in node.journal if not isinstance(r, QuorumConfirmed | OwnConfirm)]
    assert faults(network.judge()) == {"final_lost": 1}


def test_payment_called_final_that_nobody_has(network: Network) -> None:
    """A notice below quorum is a lie; that the payment is nowhere else is the second fault."""
    notice = FinalAnnounced((bytes(32),), 0, ())
    network.nodes[0].notices.append(notice)
    assert faults(network.judge()) == {"final_lost": 1, "final_without_quorum": 1}


@pytest.mark.parametrize("lie", ["few", "twice", "epoch", "forged", "votes"])
def test_final_notice_that_does_not_add_up(network: Network, lie: str) -> None:
    """[M1, M2]: Confirms of one epoch, of distinct members, signed by them."""
    node = network.nodes[1]
    place, said = next((i, n) for i, n in enumerate(node.notices) if isinstance(n, FinalAnnounced))
    confirms = said.confirms[:2] if lie in ("few", "twice") else said.confirms
    if lie == "twice":
        confirms = (*confirms, *confirms)
    elif lie == "epoch":
        confirms = tuple(replace(confirm, epoch=confirm.epoch + 1) for confirm in confirms)
    elif lie == "forged":
        confirms = (*confirms[:2], *(replace(c, signature=bytes(64)) for c in confirms[2:]))
    elif lie == "votes":
        confirms = tuple(replace(confirm, kind=VoteKind.VOTE) for confirm in confirms)
    node.notices[place] = replace(said, confirms=confirms)
    found = faults(network.judge())
    assert found == {"final_without_quorum": len(said.txids)}


@pytest.mark.parametrize("field", ["height", "block_id", "txids"])
def test_block_notice_of_what_is_not_in_the_chain(network: Network, field: str) -> None:
    node = network.nodes[1]
    place, said = next(
        (i, n) for i, n in enumerate(node.notices) if isinstance(n, BlockAnnounced) and n.txids
    )
    other = {"height": said.height + 1, "block_id": bytes(32), "txids": said.txids * 2}
    if field == "txids":
        elsewhere = next(
            txid for txid, height in node.heights.items() if height not in (0, said.height)
        )
        other["txids"] = (elsewhere,)
    node.notices[place] = replace(said, **{field: other[field]})
    assert faults(network.judge()) == {"final_without_quorum": 1}


def test_both_payments_of_one_coin_called_final(network: Network) -> None:
    cluster = network.cluster
    rival = cluster.pay_coin(0, fee=9_000)
    assert txid_of(rival) != txid_of(network.payments[0])
    batch = cluster.batch(rival)
    confirms = tuple(
        cluster.vote(i, VoteKind.CONFIRM, (batch.batch_id, b"\1"), epoch=40) for i in range(3)
    )
    network.nodes[0].messages.append(BatchBody(batch.body))
    network.nodes[0].notices.append(FinalAnnounced((txid_of(rival),), 40, confirms))
    assert faults(network.judge()) == {"both_final": 1, "final_lost": 1}


def test_damaged_messages_do_not_stop_the_judge(network: Network) -> None:
    """What peers sent is not believed: unknown batches, strangers, bitmaps that fit nothing."""
    cluster = network.cluster
    vote = cluster.vote(0, VoteKind.VOTE, (bytes(32), b"\xff\xff"), epoch=3)
    known = next(m for m in network.nodes[0].messages if isinstance(m, BatchBody))
    ballots = [cluster.ballot(0, BallotKind.PREVOTE, 9, 9, v) for v in (None, bytes(32))]
    network.nodes[0].messages += [
        vote,
        BatchBody(b"not a batch"),
        BatchBody(known.body[:-1]),
        *(replace(ballot, voter=bytes(32)) for ballot in ballots),
    ]
    assert faults(network.judge()) == {}


def test_judge_asks_for_stopped_nodes(tmp_path: Path) -> None:
    with (
        pytest.raises(LockstepError) as raised,
        open_remains([tmp_path], tmp_path, make_genesis()),
    ):
        pass
    assert raised.value.code == "storage.missing"
