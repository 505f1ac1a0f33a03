"""Promises gather while a commit is in flight and leave together at its end [D1, F1, F3]."""

from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.effects import Broadcast, Effect, OwnConfirm, OwnVote, Persist
from lockstep.replica.events import BatchReceived, VotesReceived
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
    assert node.replica is not None
    for event in events:
        effects = node.replica.step(event, time_ms=TIME_MS, is_gathering=True)
        assert words(effects) == []


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
