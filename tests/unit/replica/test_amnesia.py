"""What the journal lacks of its key makes the node silent, and for how long [D3]."""

import pytest

from lockstep.primitives.block import BallotKind
from lockstep.primitives.messages import GetOwnWords, Message, OwnWords, ProposalMessage
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.answers import VotingState
from lockstep.replica.effects import RoundSigned
from unit.replica.cluster import Cluster
from unit.replica.silent import (
    ROUND_TRIP_MS,
    alarms,
    deaf,
    make_cluster,
    put_back,
    signed_by,
    state_of,
    wipe,
)


@pytest.mark.parametrize("seed", range(4))
def test_a_wiped_node_is_silent_until_an_epoch_that_began_later(seed: int) -> None:
    """The others go on; it follows, and restarts in between neither forget nor prolong it."""
    cluster = make_cluster(seed=seed)
    payments = [cluster.pay_coin(number) for number in range(12)]
    for number in range(6):
        cluster.submit(number % 4, payments[number])
        cluster.run(400)
    signed = signed_by(cluster, 0)
    wipe(cluster, 0)
    cluster.run_until(lambda: cluster.nodes[0].core.silence.last_epoch is not None)
    epoch = cluster.nodes[1].core.state.epoch
    replica = cluster.nodes[0].replica
    assert replica is not None
    assert replica.view.voting().first_epoch == epoch + 2
    for number in range(6, 12):
        cluster.submit(number % 4, payments[number])
        cluster.run(500)
        cluster.crash(0)
        cluster.start(0)
    cluster.run_until(lambda: cluster.nodes[0].core.state.epoch == epoch + 2)
    assert signed == []
    assert cluster.all_final(*payments)
    cluster.run_until(lambda: bool(signed), limit_ms=1_500)
    assert state_of(cluster, 0) is VotingState.VOTING
    assert not cluster.nodes[0].disk.has_amnesia
    # It is needed again, and whole again.
    cluster.crash(3)
    cluster.run_to_height(cluster.nodes[1].core.state.height + 4)
    cluster.crash(0)
    cluster.start(0)
    cluster.run_until(lambda: state_of(cluster, 0) is VotingState.VOTING, limit_ms=ROUND_TRIP_MS)


def test_a_backup_that_lacks_a_vote_of_the_epoch_makes_silent() -> None:
    cluster = make_cluster(closing_every=20)
    cluster.submit(0, cluster.pay_coin(0))
    cluster.run(600)
    backup = cluster.nodes[0].disk.copy()
    rivals = [cluster.pay_coin(1, memo=bytes([number])) for number in range(2)]
    cluster.submit(0, rivals[0])
    cluster.run(100)
    signed = signed_by(cluster, 0)
    put_back(cluster, 0, backup)
    cluster.submit(0, rivals[1])
    cluster.run(5_000)
    assert signed == []
    assert alarms(cluster, 0) == ["amnesia.found"]
    assert state_of(cluster, 0) is VotingState.AMNESIA


def test_a_backup_from_an_earlier_epoch_is_found_out_by_the_chain() -> None:
    """Its own precommits stand in the certificates of heights that its journal does not reach."""
    cluster = make_cluster()
    cluster.run_to_height(2)
    backup = cluster.nodes[0].disk.copy()
    cluster.run_to_height(9)
    cluster.run_until(lambda: cluster.nodes[0].core.height.own_ballots == {})
    signed = signed_by(cluster, 0)
    cluster.gates.append(deaf(0, to=(1, 2, 3)))
    put_back(cluster, 0, backup)
    cluster.run_to_height(10)
    assert alarms(cluster, 0) == ["amnesia.found"]
    assert signed == []
    cluster.gates.clear()
    cluster.run_until(lambda: bool(signed))
    assert cluster.nodes[0].core.state.epoch >= 4


def test_a_backup_of_a_node_that_signed_nothing_since_votes_at_once() -> None:
    cluster = make_cluster()
    cluster.run_to_height(2)
    cluster.crash(0)
    backup = cluster.nodes[0].disk.copy()
    cluster.run_to_height(9)
    cluster.nodes[0].disk = backup
    signed = signed_by(cluster, 0)
    cluster.start(0)
    cluster.run_until(lambda: bool(signed), limit_ms=3_000)
    assert all(record.height > 9 for record in signed if isinstance(record, RoundSigned)), (
        "a height that the others had decided"
    )
    assert cluster.watch.alarms == []


@pytest.mark.parametrize(
    "kind", ["vote", "confirm", "freeze", "prevote", "precommit", "proposal", "next epoch"]
)
def test_a_running_node_that_meets_a_word_of_its_own_key_stops_signing_at_once(kind: str) -> None:
    """Two machines run with one key: each hears the other from somebody who passes it on."""
    cluster = make_cluster(closing_every=6)
    payment = cluster.pay_coin(0)
    held = cluster.submit(1, payment)
    cluster.run_to_height(2)
    core = cluster.nodes[0].core
    height = core.height.height
    messages: dict[str, Message] = {
        "vote": cluster.vote(0, VoteKind.VOTE, (b"\x01" * 32, b"\x01")),
        "confirm": cluster.vote(0, VoteKind.CONFIRM, (held.batch_id, b"\x03")),
        "freeze": cluster.freeze(0, txids=[b"\x02" * 32]),
        "prevote": cluster.ballot(0, BallotKind.PREVOTE, height, 9, None),
        "precommit": cluster.ballot(0, BallotKind.PRECOMMIT, height + 3, 0, None),
        "next epoch": cluster.vote(0, VoteKind.VOTE, (b"\x01" * 32, b"\x01"), epoch=1),
    }
    if kind == "proposal":
        messages[kind] = cluster.proposal(0, next_proposal(cluster).block, 5)
    cluster.say(2, 0, messages[kind])
    signed = signed_by(cluster, 0)
    assert alarms(cluster, 0) == ["amnesia.found"]
    cluster.submit(0, cluster.pay_coin(3))
    cluster.run(2_000)
    assert signed == []
    assert state_of(cluster, 0) is VotingState.AMNESIA
    assert cluster.nodes[0].disk.has_amnesia


def next_proposal(cluster: Cluster) -> ProposalMessage:
    """Return a proposal of the height that node 0 is deciding."""
    seen: list[ProposalMessage] = []

    def gate(_: int, receiver: int, message: Message) -> bool:
        if isinstance(message, ProposalMessage) and receiver == 0:
            seen.append(message)
        return True

    cluster.gates.append(gate)
    core = cluster.nodes[0].core
    cluster.run_until(lambda: bool(seen) and seen[-1].proposal.height == core.height.height)
    return seen[-1]


def test_own_words_that_come_back_are_no_amnesia() -> None:
    """Regrouped, old, repeated: everything this node said is handed to it again."""
    cluster = make_cluster(closing_every=3)
    words: dict[bytes, Message] = {}

    def keep(sender: int, _: int, message: Message) -> bool:
        if sender == 0 and not isinstance(message, GetOwnWords | OwnWords):
            words[repr(message).encode()] = message
        return True

    cluster.gates.append(keep)
    for number in range(0, 12, 2):
        cluster.submit(number % 4, cluster.pay_coin(number), cluster.pay_coin(number + 1))
        cluster.run(350)
        own = [v for v in words.values() if isinstance(v, Vote) and v.voter == cluster.ids[0]]
        current = [v for v in own if v.epoch == cluster.nodes[0].core.state.epoch]
        for vote in current:
            entries = [
                (e.batch_id, e.bitmap)
                for other in current[:3]
                for e in other.entries
                if other.kind is vote.kind
            ]
            cluster.say(1, 0, cluster.vote(0, vote.kind, *entries, epoch=vote.epoch))
        for message in list(words.values()):
            cluster.say(2, 0, message)
    assert alarms(cluster, 0) == []
    assert state_of(cluster, 0) is VotingState.VOTING
