"""Ten thousand events of a node that crashes, loses its disk, and gets old ones back [D2, D3].

The watch of the cluster is the model: one table of all that each key ever signed, over all lives,
in which a second word for one place is an error.
"""

from random import Random

import pytest

from lockstep.replica import amnesia
from lockstep.replica.answers import VotingState
from lockstep.replica.core import Core
from lockstep.replica.effects import Effect
from lockstep.replica.events import Event
from lockstep.sim.disk import Disk
from unit.replica.cluster import Cluster, Node
from unit.replica.silent import put_back, state_of

EVENTS = 10_000
COINS = 3_000
PATIENT = 0


class Life:
    """A network with a node whose disk is at the mercy of dice; the others remember."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.cluster = Cluster(coins=COINS, closing_every=4, seed=seed, instant_answers=False)
        self.cluster.on_step = self.count
        self.events = self.coins = 0
        self.harms = {"crash": 0, "old disk": 0, "lost disk": 0}
        self.backups: list[Disk] = []

    def count(self, node: Node, event: Event, effects: list[Effect]) -> None:
        self.events += node.index == PATIENT

    def live(self, events: int) -> None:
        while self.events < events and self.coins < COINS:
            self.pay()
            self.cluster.run(self.dice.randint(1, 120))
            chance = self.dice.random()
            disk = self.cluster.nodes[PATIENT].disk
            if chance < 0.05:
                self.backups.append(disk.copy())
            elif chance < 0.08:
                self.harm("crash", disk)
            elif chance < 0.1 and self.backups:
                self.harm("old disk", self.dice.choice(self.backups[-3:]).copy())
            elif chance < 0.105:
                self.harm("lost disk", Disk(self.cluster.genesis, is_intact=False))

    def harm(self, kind: str, disk: Disk) -> None:
        self.harms[kind] += 1
        self.cluster.crash(PATIENT)
        self.cluster.run(self.dice.choice((1, 50, 3_000)))
        put_back(self.cluster, PATIENT, disk)

    def pay(self) -> None:
        """Give the node a payment, and in one case of three a rival to it or to another node."""
        rivals = [self.cluster.pay_coin(self.coins, memo=bytes([i])) for i in range(2)]
        self.coins += 1
        self.cluster.submit(PATIENT, rivals[0])
        if self.dice.randrange(3) == 0:
            self.cluster.submit(self.dice.randrange(4), rivals[1])


@pytest.mark.slow
def test_no_place_is_ever_signed_for_twice() -> None:
    life = Life(seed=1)
    life.live(EVENTS)
    assert life.events >= EVENTS
    assert all(count >= 5 for count in life.harms.values()), life.harms
    cluster = life.cluster
    cluster.run_until(lambda: state_of(cluster, PATIENT) is VotingState.VOTING, limit_ms=60_000)
    words = [place for place in cluster.watch.said if cluster.ids[PATIENT] in place]
    assert len(words) >= EVENTS // 20


def test_the_model_sees_a_node_that_signs_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(core: Core) -> None:
        core.silence.is_lifted = True

    monkeypatch.setattr(amnesia, "begin", begin)
    monkeypatch.setattr(amnesia, "note", lambda *_: None)
    with pytest.raises(AssertionError):
        Life(seed=1).live(EVENTS)
