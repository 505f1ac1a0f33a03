"""Clusters whose nodes are silent at their start, and what may be wrong with their disks [D3]."""

from lockstep.primitives.messages import Message, OwnWords
from lockstep.replica.answers import VotingState
from lockstep.replica.effects import Alarm, OwnConfirm, OwnFreeze, OwnVote, Record, RoundSigned
from lockstep.sim.disk import Disk
from unit.replica.cluster import Cluster
from unit.replica.gates import Gate

ROUND_TRIP_MS = 8
"""Twice the longest delay of the links here."""


def make_cluster(*weights: int, seed: int = 0, closing_every: int = 4) -> Cluster:
    """Return a cluster in which the question travels like any message."""
    return Cluster(
        weights or (1, 1, 1, 1), seed=seed, closing_every=closing_every, instant_answers=False
    )


def state_of(cluster: Cluster, index: int) -> VotingState:
    replica = cluster.nodes[index].replica
    assert replica is not None
    return replica.view.voting().state


def signed_by(cluster: Cluster, index: int) -> list[Record]:
    """Return the list into which all that this node signs from now on will come."""
    signed: list[Record] = []

    def note(node: object, record: Record) -> None:
        if node is cluster.nodes[index] and isinstance(
            record, OwnVote | OwnConfirm | OwnFreeze | RoundSigned
        ):
            signed.append(record)

    cluster.on_record = note
    return signed


def put_back(cluster: Cluster, index: int, disk: Disk) -> None:
    """Start a node on another disk than it had."""
    if cluster.nodes[index].replica is not None:
        cluster.crash(index)
    cluster.nodes[index].disk = disk
    cluster.start(index)


def wipe(cluster: Cluster, index: int) -> None:
    put_back(cluster, index, Disk(cluster.genesis, is_intact=False))


def alarms(cluster: Cluster, index: int) -> list[str]:
    return [n.code for n in cluster.nodes[index].notices if isinstance(n, Alarm)]


def deaf(index: int, *, to: tuple[int, ...]) -> Gate:
    """Return a gate that keeps the answers of some from a node."""

    def gate(sender: int, receiver: int, message: Message) -> bool:
        return not (isinstance(message, OwnWords) and receiver == index and sender in to)

    return gate
