"""No honest member is ever framed: of all it signs in its life no pair is evidence [N4].

Networks of honest nodes live through rivals, chains of payments, lost messages, crashes and several
epochs; whatever each of them sent is then put together in every way that anybody could.
"""

from collections.abc import Iterator
from itertools import combinations
from random import Random

import pytest

from lockstep.errors import Rejected
from lockstep.ledger.evidence import verify_evidence
from lockstep.primitives.block import Ballot, Proposal
from lockstep.primitives.evidence import (
    Evidence,
    SignedDigest,
    SpokenPayment,
    make_conflicting_ballots,
    make_conflicting_freezes,
    make_conflicting_proposals,
    make_conflicting_votes,
    make_omitted_confirm,
    make_spoken_payment,
)
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.transaction import Transaction, VerifiedBatch, make_txid
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica.effects import Broadcast, Effect, Send
from lockstep.replica.events import Event
from unit.replica.cluster import VERIFIER, Cluster, Node

Spoken = tuple[int, VoteKind, SpokenPayment]


class Life:
    """All that each member signed and sent, each once."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.batches: dict[bytes, VerifiedBatch] = {}
        self.words: list[dict[bytes, Vote | Freeze | Ballot | Proposal]] = [{} for _ in cluster.ids]
        cluster.on_step = self.see

    def see(self, node: Node, event: Event, effects: list[Effect]) -> None:
        self.batches.update(node.core.batches)
        own = self.cluster.ids[node.index]
        for effect in effects:
            if isinstance(effect, Broadcast | Send):
                word = signed_part(effect.message)
                if word is not None and own in (
                    getattr(word, "voter", b""),
                    getattr(word, "proposer", b""),
                ):
                    self.words[node.index][word.signature] = word

    def of(self, index: int, shape: type) -> list:  # type: ignore[type-arg]  # Words of one shape.
        return [word for word in self.words[index].values() if isinstance(word, shape)]

    def spoken(self, index: int) -> Iterator[Spoken]:
        for vote in self.of(index, Vote):
            for entry in vote.entries:
                batch = self.batches[entry.batch_id]
                bits = int.from_bytes(entry.bitmap, "little")
                for place in range(len(batch.txids)):
                    if bits >> place & 1:
                        yield vote.epoch, vote.kind, make_spoken_payment(vote, batch, place)


def signed_part(message: Message) -> Vote | Freeze | Ballot | Proposal | None:
    if isinstance(message, ProposalMessage):
        return message.proposal
    return message if isinstance(message, Vote | Freeze | Ballot) else None


def accusations(life: Life, index: int) -> Iterator[Evidence]:
    """Every pair of a member's words, under its own epoch and under the other's."""
    member = life.cluster.ids[index]
    every = life.cluster.genesis.closing_every
    spoken = list(life.spoken(index))
    for one, other in combinations(spoken, 2):
        if set(one[2].body.inputs) & set(other[2].body.inputs):
            for epoch, kind, _ in (one, other):
                words = (one[2], other[2])
                yield make_conflicting_votes(member=member, epoch=epoch, kind=kind, words=words)
    freezes: list[Freeze] = life.of(index, Freeze)
    for one_freeze, other_freeze in combinations(freezes, 2):
        digests = (
            SignedDigest(one_freeze.digest, one_freeze.signature),
            SignedDigest(other_freeze.digest, other_freeze.signature),
        )
        for epoch in (one_freeze.epoch, other_freeze.epoch):
            yield make_conflicting_freezes(member=member, epoch=epoch, words=digests)
    for first, second in combinations(life.of(index, Ballot), 2):
        if abs(first.height - second.height) <= 1:
            for ballot in (first, second):
                yield make_conflicting_ballots(first, second, epoch=(ballot.height - 1) // every)
    for word, again in combinations(life.of(index, Proposal), 2):
        yield make_conflicting_proposals(word, again, epoch=(word.height - 1) // every)
    for epoch, kind, payment in spoken:
        for freeze in freezes:
            listed = [life.batches[name].txids[place] for name, place in bits_of(life, freeze)]
            if kind is VoteKind.CONFIRM and make_txid(payment.body) not in listed:
                for said in (epoch, freeze.epoch):
                    yield make_omitted_confirm(
                        member=member,
                        epoch=said,
                        confirm=payment,
                        txids=listed,
                        signature=freeze.signature,
                    )


def bits_of(life: Life, freeze: Freeze) -> Iterator[tuple[bytes, int]]:
    for entry in freeze.entries:
        bits = int.from_bytes(entry.bitmap, "little")
        for place in range(len(life.batches[entry.batch_id].txids)):
            if bits >> place & 1:
                yield entry.batch_id, place


def live(cluster: Cluster, dice: Random) -> None:
    """Let twelve heights and more pass with rivals, children, losses and crashes."""
    lossy = dice.random() < 0.6

    def lose(sender: int, receiver: int, message: Message) -> bool:
        return not lossy or dice.random() > 0.08

    cluster.gates.append(lose)
    parents: list[Transaction] = []
    for step in range(24):
        coin = step % 12
        payments = [
            cluster.pay_coin(coin, memo=bytes([step, i])) for i in range(dice.randint(1, 2))
        ]
        if parents and dice.random() < 0.4:
            payments.append(cluster.child_of(dice.choice(parents)))
        for payment in payments:
            up = cluster.up()
            cluster.submit(dice.choice(up).index, payment)
        parents += payments[:1]
        cluster.run(dice.randint(20, 700))
        if dice.random() < 0.25:
            victim = dice.choice(cluster.up()).index
            cluster.crash(victim)
            cluster.run(dice.randint(1, 500))
            cluster.start(victim)
    cluster.gates.clear()
    cluster.run_to_height(cluster.nodes[0].core.state.height + 5)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_words_of_an_honest_life_are_evidence(seed: int) -> None:
    """[N4] Nor does anybody think so while it goes on."""
    cluster = Cluster(seed=seed, delay_max_ms=40)
    life = Life(cluster)
    live(cluster, Random(seed))
    tried: dict[str, int] = {}
    for index in range(4):
        for piece in accusations(life, index):
            tried[type(piece).__name__] = tried.get(type(piece).__name__, 0) + 1
            for node in cluster.nodes:
                with pytest.raises(Rejected):
                    verify_evidence(
                        piece,
                        genesis=cluster.genesis,
                        state=node.core.state,
                        view=node.core.overlay,
                        verifier=VERIFIER,
                    )
    assert len(tried) == 5, f"some kinds were never tried: {tried}"
    assert not cluster.watch.alarms
    assert not any(node.core.evidence for node in cluster.nodes)
