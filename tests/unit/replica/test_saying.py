"""Promises gather while a commit is in flight and leave together at its end [D1, F1, F3]."""

import pytest

from lockstep.primitives.block import Ballot, BallotKind
from lockstep.primitives.messages import Message
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica.effects import (
    BlockDecided,
    Broadcast,
    Effect,
    OwnConfirm,
    OwnVote,
    Persist,
)
from lockstep.replica.events import BallotsReceived, BatchReceived, Event, VotesReceived
from unit.replica.cluster import Cluster, Node, said

TIME_MS = 1_700_000_001_000


def words(effects: list[Effect]) -> list[Vote]:
    """Return the Votes and Confirms that leave, each of which must be recorded first."""
    recorded: list[Vote] = []
    sent: list[Vote] = []
    for effect in effects:
        match effect:
            case Persist(record=OwnVote(vote=vote)) | Persist(record=OwnConfirm(confirm=vote)):
                recorded.append(vote)
            case Broadcast(message=Vote() as vote):
                assert vote in recorded
                sent.append(vote)
            case _:
                pass
    assert recorded == sent
    return sent


def gather(node: Node, *events: BatchReceived | VotesReceived) -> None:
    """Let the node take events while a commit is in flight: it says nothing of its own."""
    for event in events:
        assert words(step_gathering(node, event)) == []


def step_gathering(node: Node, event: Event) -> list[Effect]:
    assert node.replica is not None
    return node.replica.step(event, time_ms=TIME_MS, is_gathering=True)


def speak(node: Node) -> list[Vote]:
    assert node.replica is not None
    return words(node.replica.speak(time_ms=TIME_MS))


def test_one_message_covers_the_batches_of_one_commit() -> None:
    cluster = Cluster(absent=[1, 2, 3])
    node = cluster.nodes[0]
    one, two = cluster.pay_coin(0), cluster.pay_coin(1)
    first, second = cluster.batch(one), cluster.batch(two)
    gather(node, BatchReceived(None, first), BatchReceived(cluster.peers[1], second))
    # Promised is promised: a rival of either gets no vote any more, and nobody was told of any.
    rival = cluster.batch(cluster.pay_coin(0, memo=b"rival"))
    gather(node, BatchReceived(cluster.peers[2], rival))
    assert said(node, VoteKind.VOTE, one)
    (vote,) = speak(node)
    assert vote.kind is VoteKind.VOTE
    assert [entry.batch_id for entry in vote.entries] == [first.batch_id, second.batch_id]
    assert speak(node) == []


def test_what_is_certified_meanwhile_is_confirmed_in_one_message() -> None:
    cluster = Cluster(absent=[1, 2, 3])
    node = cluster.nodes[0]
    batches = [cluster.batch(cluster.pay_coin(index)) for index in range(3)]
    gather(node, *[BatchReceived(None, batch) for batch in batches])
    speak(node)
    entries = [(batch.batch_id, b"\x01") for batch in batches]
    for liar in (1, 2, 3):
        vote = cluster.vote(liar, VoteKind.VOTE, *entries)
        gather(node, VotesReceived(cluster.peers[liar], (vote,)))
    (confirm,) = speak(node)
    assert confirm.kind is VoteKind.CONFIRM
    assert [entry.batch_id for entry in confirm.entries] == [batch.batch_id for batch in batches]


def test_who_learns_meanwhile_that_it_may_not_sign_says_nothing() -> None:
    cluster = Cluster(absent=[1, 2, 3])
    node = cluster.nodes[0]
    gather(node, BatchReceived(None, cluster.batch(cluster.pay_coin(0))))
    node.core.silence.is_lifted = False
    assert speak(node) == []
    node.core.silence.is_lifted = True
    assert speak(node) == []


@pytest.mark.parametrize("kind", VoteKind)
def test_what_is_promised_before_an_epoch_ends_is_said_before_its_freeze(kind: VoteKind) -> None:
    """The decision below a closing height comes while promises gather [T5]."""
    cluster = Cluster(closing_every=2)
    node, decisive = cluster.nodes[0], list[Ballot]()

    def keep_precommits(_: int, receiver: int, message: Message) -> bool:
        if receiver or not isinstance(message, Ballot) or message.kind is BallotKind.PREVOTE:
            return True
        decisive.append(message)
        return False

    cluster.gates.append(keep_precommits)
    cluster.run_until(lambda: len(decisive) == 3)
    batch, late = cluster.batch(cluster.pay_coin(0)), cluster.batch(cluster.pay_coin(1))
    votes = [cluster.vote(i, VoteKind.VOTE, (batch.batch_id, b"\x01")) for i in (1, 2, 3)]
    gather(node, BatchReceived(None, batch))
    if kind is VoteKind.CONFIRM:
        assert [vote.kind for vote in speak(node)] == [VoteKind.VOTE]
        gather(node, VotesReceived(cluster.peers[1], tuple(votes)))
    ballots = BallotsReceived(cluster.peers[1], tuple(decisive))
    effects = step_gathering(node, ballots)
    records = [effect.record for effect in effects if isinstance(effect, Persist)]
    messages = [effect.message for effect in effects if isinstance(effect, Broadcast)]
    (word,) = words(effects)
    (freeze,) = (message for message in messages if isinstance(message, Freeze))
    own = OwnConfirm(word, tuple(votes)) if kind is VoteKind.CONFIRM else OwnVote(word)
    (decision,) = (record for record in records if isinstance(record, BlockDecided))
    assert (word.kind, word.epoch, freeze.epoch) == (kind, 0, 0)
    assert records.index(own) < records.index(decision)
    assert decision.freeze == freeze
    assert messages.index(word) < messages.index(freeze)
    # What is confirmed is in the list, and nothing of the epoch follows it.
    assert [entry.batch_id for entry in freeze.entries] == [
        batch.batch_id for _ in [word] if kind is VoteKind.CONFIRM
    ]
    gather(node, VotesReceived(cluster.peers[1], tuple(votes)), BatchReceived(None, late))
    assert speak(node) == []
