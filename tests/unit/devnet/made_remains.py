"""What a small network of real replicas left behind, in memory, so that faults can be planted."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from lockstep.devnet.judge import Verdict, judge
from lockstep.devnet.remains import Announced, BlockAnnounced, FinalAnnounced
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.node.recorder import Recorder
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import DecidedBlock, Message, encode_message
from lockstep.primitives.transaction import Transaction
from lockstep.replica.effects import BlockAdded, Notice, Record, TransactionsFinal
from lockstep.rpc.stream import describe_notice
from lockstep.storage.store import Store
from unit.replica.cluster import VERIFIER, Cluster, Node


@dataclass
class MadeRemains:
    """The remains of one node as plain containers; implements `NodeRemains`."""

    name: str
    state: ChainState
    journal: list[Record]
    blocks: list[DecidedBlock]
    held: dict[bytes, Coin]
    kept: list[CoinDelta]
    heights: dict[bytes, int]
    messages: list[Message]
    notices: list[Announced]

    def decided(self, height: int) -> DecidedBlock | None:
        return self.blocks[height - 1] if 0 < height <= len(self.blocks) else None

    def coins(self) -> dict[bytes, Coin]:
        return self.held

    def deltas(self) -> list[CoinDelta]:
        return self.kept

    def height_of(self, txid: bytes) -> int | None:
        return self.heights.get(txid)

    def received(self) -> Iterator[Message]:
        return iter(self.messages)

    def announced(self) -> Iterator[Announced]:
        return iter(self.notices)


@dataclass
class Network:
    """A network that has stopped: its remains, and the cluster that can still speak as a member."""

    cluster: Cluster
    payments: list[Transaction]
    messages: list[list[Message]]
    nodes: list[MadeRemains] = field(default_factory=list)

    @property
    def genesis(self) -> Genesis:
        return self.cluster.genesis

    def judge(self) -> Verdict:
        return judge(self.nodes, self.genesis, verifier=VERIFIER)


def run_network(directory: Path | None = None) -> Network:
    """Let four nodes pay through an epoch and into the next, and stop them.

    With a directory every node also has a real database and recordings there, as a devnet's has.
    """
    cluster = Cluster(coins=12)
    network = Network(cluster, [], [[] for _ in cluster.nodes])

    def listen(_sender: int, receiver: int, message: Message) -> bool:
        network.messages[receiver].append(message)
        return True

    cluster.gates.append(listen)
    stores = open_stores(directory, cluster) if directory is not None else []
    for index in range(8):
        payment = cluster.pay_coin(index)
        network.payments.append(payment)
        cluster.submit(index % 4, payment)
        cluster.run(400)
    cluster.run_until(lambda: cluster.all_final(*network.payments))
    cluster.run_to_height(6)
    last = cluster.pay_coin(8)
    network.payments.append(last)
    cluster.submit(0, last)
    cluster.run_until(lambda: cluster.all_final(last))
    network.nodes = [remains_of(node, network.messages[node.index]) for node in cluster.nodes]
    for store in stores:
        store.close()
    if directory is not None:
        write_evidence(directory, network)
    return network


def remains_of(node: Node, messages: list[Message]) -> MadeRemains:
    disk = node.disk
    return MadeRemains(
        name=f"node {node.index}",
        state=disk.state,
        journal=list(disk.journal()),
        blocks=list(disk.blocks),
        held=dict(disk.coins),
        kept=disk.deltas(),
        heights=dict(disk._heights),
        messages=list(messages),
        notices=[said for notice in node.notices if (said := announce(notice)) is not None],
    )


def announce(notice: Notice) -> Announced | None:
    match notice:
        case TransactionsFinal():
            return FinalAnnounced(notice.txids, notice.epoch, notice.confirms)
        case BlockAdded():
            return BlockAnnounced(notice.height, notice.block_id, notice.txids)
        case _:
            return None


def open_stores(directory: Path, cluster: Cluster) -> list[Store]:
    """Give every node a real database, which takes what its simulated disk takes."""
    stores = []
    for index, member in enumerate(cluster.genesis.members):
        path = directory / f"node{index}"
        path.mkdir()
        Store.create(path, cluster.genesis, voting_key=member.voting_key)
        stores.append(Store.open(path, cluster.genesis, voting_key=member.voting_key))
    cluster.on_record = lambda node, record: stores[node.index].commit([record])
    return stores


def write_evidence(directory: Path, network: Network) -> None:
    """Record what nodes received and announced as `--record` and the load of a devnet do."""
    (directory / "evidence").mkdir()
    for node in network.cluster.nodes:
        place = directory / "evidence" / f"node{node.index}"
        recorder = Recorder(place.with_suffix(".received"))
        recorder.add(bytes(32), map(encode_message, network.messages[node.index]))
        recorder.close()
        with place.with_suffix(".notices").open("wb") as file:
            for notice in node.notices:
                for kind, content in describe_notice(notice):
                    confirms = notice.confirms if isinstance(notice, TransactionsFinal) else ()
                    extra = {"confirms": [encode_message(vote).hex() for vote in confirms]}
                    file.write(msgspec.json.encode({"event": kind, **content, **extra}) + b"\n")


def copy_of(network: Network) -> Network:
    """Return the network with remains that may be damaged without harm to others."""
    nodes = [
        replace(
            node,
            journal=list(node.journal),
            blocks=list(node.blocks),
            held=dict(node.held),
            kept=list(node.kept),
            heights=dict(node.heights),
            messages=list(node.messages),
            notices=list(node.notices),
        )
        for node in network.nodes
    ]
    return replace(network, nodes=nodes)
