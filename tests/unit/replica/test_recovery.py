"""Crashes at every step of a run: nothing is signed twice, nothing final is forgotten [D2, 2.6]."""

from copy import copy
from functools import partial
from typing import NamedTuple

import pytest

from building import GENESIS_TIME_MS
from lockstep.primitives.block import Ballot, BallotKind
from lockstep.primitives.messages import DecidedBlock, Message, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica.effects import (
    BlockDecided,
    Broadcast,
    Effect,
    Notify,
    OwnVote,
    Persist,
    RoundSigned,
    SetTimer,
    TransactionsFinal,
)
from lockstep.replica.events import (
    BatchReceived,
    Event,
    PeerConnected,
    Persisted,
    Started,
    Timer,
    TimerFired,
)
from lockstep.replica.recovery import JournalContradiction
from lockstep.replica.replica import Replica
from lockstep.sim.disk import Disk
from unit.replica.cluster import VERIFIER, Cluster, Node, said, txid_of
from unit.replica.gates import Gate, refuse
from unit.replica.watch import Watch, check_words, promises

FOLLOWED_EVENTS = 25


class Step(NamedTuple):
    """One step of the node that will be crashed."""

    time_ms: int
    event: Event
    effects: list[Effect]


def tape_of(cluster: Cluster, index: int) -> list[Step]:
    """Return the list into which this node's steps will be written."""
    tape: list[Step] = []

    def note(node: Node, event: Event, effects: list[Effect]) -> None:
        if node.index == index:
            tape.append(Step(GENESIS_TIME_MS + cluster.now, event, effects))

    cluster.on_step = note
    return tape


def clone(disk: Disk) -> Disk:
    """Copy a disk; what it holds never changes, only its containers do."""
    other = copy(disk)
    for name, value in vars(disk).items():
        if isinstance(value, dict | list):
            setattr(other, name, copy(value))
    return other


def eventful_run(seed: int) -> tuple[Cluster, list[Step]]:
    """Two epochs with payments, rivals, children, lost proposals, and a node that is away."""
    cluster = Cluster(seed=seed, closing_every=3)
    tape = tape_of(cluster, 0)
    payments = [cluster.pay_coin(i) for i in range(20)]
    child = cluster.pay(
        (txid_of(payments[0]) + bytes(4), payments[0].body.outputs[0].amount, 0), memo=b"child"
    )
    cluster.submit(1, payments[0])
    cluster.step(0, BatchReceived(cluster.peers[2], cluster.batch(child)))
    rivals = [cluster.batch(cluster.pay_coin(20, memo=bytes([i]))) for i in range(2)]
    for index in range(4):
        cluster.step(index, BatchReceived(None, rivals[index % 2]))
    for i in range(1, 10):
        cluster.submit(i % 4, payments[i])
        cluster.run(70)
    # Rounds above 0 with locks and nil: proposals reach but one other node for a while.
    lost: Gate = lambda s, r, m: not (isinstance(m, ProposalMessage) and r != (s + 1) % 4)  # noqa: E731  # A gate is a function; its name is for removing it.
    cluster.gates.append(lost)
    cluster.run(1_700)
    cluster.gates.remove(lost)
    cluster.crash(3)
    late = refuse(Ballot, kind=BallotKind.PRECOMMIT)
    cluster.gates.append(late)
    for i in range(10, 20):
        cluster.submit(i % 3, payments[i])
        cluster.run(60)
    cluster.gates.remove(late)
    cluster.run(600)
    cluster.start(3)
    cluster.run_to_height(8, limit_ms=20_000)
    return cluster, tape


class Fork:
    """The node as it comes back from its disk, fed with what the others said in the run."""

    def __init__(self, cluster: Cluster, disk: Disk, watch: Watch) -> None:
        self.disk = disk
        self.sent: list[Message] = []
        self.effects: list[Effect] = []
        self.timers: dict[Timer, int] = {}
        self.own_id = cluster.ids[0]
        self.watch = watch
        tip = disk.tip
        self.replica = Replica(
            genesis=cluster.genesis,
            state=disk.state,
            view=disk,
            signer=cluster.signers[0],
            verifier=VERIFIER,
            tip_certificate=None if tip is None else tip.certificate,
            has_amnesia=False,
        )
        self.replica.recover(disk.journal(), tip, disk.deltas())

    def step(self, event: Event, time_ms: int) -> None:
        """Take an event after the timers that are due before it."""
        due = [(at, timer) for timer, at in self.timers.items() if at <= time_ms]
        for at, timer in sorted(due, key=lambda row: row[0]):
            if self.timers.pop(timer, None) is not None:
                self._take(TimerFired(timer), at)
        self._take(event, time_ms)

    def _take(self, event: Event, time_ms: int) -> None:
        effects = self.replica.step(event, time_ms=time_ms)
        self.effects += effects
        for effect in effects:
            match effect:
                case Persist(record=record):
                    check_words(record, self.said, self.watch)
                    self.disk.commit([record])
                case Broadcast(message=message):
                    self.sent.append(message)
                case SetTimer(timer=timer, delay_ms=delay_ms):
                    self.timers[timer] = time_ms + delay_ms
                case _:
                    pass

    said: dict[tuple[object, ...], object]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crash_at_any_step_makes_no_second_word_and_loses_nothing_final(seed: int) -> None:
    """Whatever was synced at that moment is all that the node knows when it goes on [D1, D2]."""
    cluster, tape = eventful_run(seed)
    assert len(tape) > 250
    assert any(
        isinstance(e, Persist) and isinstance(e.record, RoundSigned) and e.record.round > 0
        for step in tape
        for e in step.effects
    )
    disk = Disk(cluster.genesis)
    words: dict[tuple[object, ...], object] = {}
    final: dict[bytes, None] = {}
    freeze: Freeze | None = None
    highest: dict[int, int] = {}
    for place, (time_ms, _, effects) in enumerate(tape):
        for effect in effects:
            if isinstance(effect, Persist):
                record = effect.record
                disk.commit([record])
                words.update(promises(record, cluster.watch))
                if isinstance(record, RoundSigned):
                    highest[record.height] = max(highest.get(record.height, 0), record.round)
                if isinstance(record, BlockDecided):
                    freeze = record.freeze
            if isinstance(effect, Notify) and isinstance(effect.notice, TransactionsFinal):
                final.update(dict.fromkeys(effect.notice.txids))
        fork = Fork(cluster, clone(disk), cluster.watch)
        fork.said = dict(words)
        for txid in final:
            assert fork.replica.view.is_final(txid)
        fork.step(Started(), time_ms)
        check_resumed(fork, freeze, highest)
        for peer in cluster.peers[1:]:
            fork.step(PeerConnected(peer), time_ms)
        following = (step for step in tape[place + 1 :] if is_heard(step.event))
        for _, step in zip(range(FOLLOWED_EVENTS), following, strict=False):
            fork.step(step.event, step.time_ms)


def is_heard(event: Event) -> bool:
    """Tell whether an event comes from outside, whatever the node itself had done."""
    return not isinstance(event, Started | TimerFired | Persisted | PeerConnected) and not (
        isinstance(event, BatchReceived) and event.peer is None
    )


def check_resumed(fork: Fork, freeze: Freeze | None, highest: dict[int, int]) -> None:
    """The FREEZE byte for byte, the round, and the same words for what was signed [D2]."""
    core = fork.replica._core
    assert core.finality.frozen == (core.height.height == core.closing_height)
    if core.finality.frozen:
        assert freeze is not None
        assert freeze in [m for m in fork.sent if isinstance(m, Freeze)]
    driver = core.height.driver
    assert driver is not None
    assert driver.state.round >= highest.get(core.height.height, -1)
    for message in fork.sent:
        if isinstance(message, Ballot) and message.voter == fork.own_id:
            key = (fork.own_id, message.height, message.round, message.kind)
            assert fork.said[key] == message


@pytest.mark.parametrize("at", range(0, 3_000, 150))
def test_the_network_goes_on_with_a_node_that_crashed_and_came_back(at: int) -> None:
    """A plain restart votes at once, and its payments are final without it or with it [D2, T9]."""
    cluster = Cluster(seed=at, closing_every=3)
    payments = [cluster.pay_coin(i) for i in range(12)]
    for i, payment in enumerate(payments[:6]):
        cluster.after(40 * i, partial(cluster.submit, i % 4, payment))
    cluster.run(at)
    cluster.crash(at // 150 % 4)
    cluster.run(at % 700)
    cluster.start(at // 150 % 4)
    for i, payment in enumerate(payments[6:]):
        cluster.submit(i % 4, payment)
    pending = [p for p in payments if any(txid_of(p) in n.core.pool for n in cluster.up())]
    cluster.run_until(lambda: cluster.all_final(*pending), limit_ms=6_000)
    cluster.run_to_height(7, limit_ms=20_000)
    assert len({node.core.state for node in cluster.nodes if node.core.state.height == 7}) <= 1
    assert not cluster.watch.alarms
    assert not any(node.penalties for node in cluster.nodes)


def test_all_nodes_at_once_come_back_and_nothing_final_is_lost() -> None:
    """What was said to be final is final after every process was killed [F4, D2]."""
    cluster = Cluster(closing_every=3)
    payments = [cluster.pay_coin(i) for i in range(12)]
    for round_number in range(4):
        for index in range(3):
            cluster.submit(index, payments[3 * round_number + index])
        cluster.run(13 + 230 * round_number)
        final = [cluster.told_final(index) for index in range(4)]
        for index in range(4):
            cluster.crash(index)
        for index in range(4):
            cluster.start(index)
            view = cluster.nodes[index].replica
            assert view is not None
            assert all(view.view.is_final(txid) for txid in final[index])
    cluster.run_until(lambda: cluster.all_final(*payments), limit_ms=10_000)
    cluster.run_to_height(6)


def test_lost_votes_are_exchanged_on_connect() -> None:
    """Votes and Confirms of the epoch for what is not in the chain [T10]."""
    cluster = Cluster()
    cluster.gates.append(lambda s, r, m: not isinstance(m, Vote | ProposalMessage))
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run(300)
    assert not cluster.watch.final
    cluster.gates[:] = [refuse(ProposalMessage)]
    for one in range(4):
        for other in range(one):
            cluster.reconnect(one, other)
    cluster.run_until(lambda: cluster.all_final(payment), limit_ms=50)


def test_a_node_away_for_two_epochs_follows_by_blocks_and_rejoins() -> None:
    """It moves on without having frozen, and its votes count again at once [T9, T8]."""
    cluster = Cluster(closing_every=3)
    away = cluster.pay_coin(9)
    cluster.gates.append(lambda s, r, m: s != 3)
    cluster.submit(3, away)
    cluster.crash(3)
    cluster.gates.clear()
    payments = [cluster.pay_coin(i) for i in range(3)]
    cluster.submit(0, *payments)
    cluster.run_to_height(8)
    cluster.start(3)
    cluster.run_until(lambda: cluster.nodes[3].core.state.height >= 8, limit_ms=3_000)
    assert cluster.all_final(*payments)
    # Two of the others stop: what is new needs the one that was away.
    cluster.crash(2)
    fresh = cluster.pay_coin(5)
    cluster.submit(0, fresh)
    cluster.run_until(lambda: cluster.all_final(fresh, away), limit_ms=15_000)
    height = cluster.nodes[3].core.state.height
    cluster.run_to_height(height + 4)


def test_what_was_confirmed_is_remembered_over_a_crash() -> None:
    """It is in the FREEZE, and a rival is not confirmed, whoever certifies it [D2, F3, T5]."""
    cluster = Cluster(absent=[1, 2, 3])
    payment, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    one, two = cluster.batch(payment), cluster.batch(rival)
    for batch in (one, two):
        cluster.step(0, BatchReceived(cluster.peers[1], batch))
    for liar in (1, 2, 3):
        cluster.say(liar, 0, cluster.vote(liar, VoteKind.VOTE, (one.batch_id, b"\x01")))
    assert said(cluster.nodes[0], VoteKind.CONFIRM, payment)
    cluster.crash(0)
    cluster.start(0)
    for liar in (1, 2, 3):
        cluster.say(liar, 0, cluster.vote(liar, VoteKind.VOTE, (two.batch_id, b"\x01")))
    assert said(cluster.nodes[0], VoteKind.CONFIRM, payment)
    assert not said(cluster.nodes[0], VoteKind.CONFIRM, rival)
    codes = sorted(alarm.code for alarm in cluster.watch.alarms)
    assert codes == [*["consensus.equivocation"] * 2, "finality.two_certificates"]


def test_a_freeze_after_a_crash_lists_what_was_confirmed_before_it() -> None:
    """The watch holds it against all Confirms of all lives of the node [D2, T5]."""
    cluster = Cluster()
    cluster.run_to_height(2)
    cluster.run_until(lambda: any(n.core.height.candidates for n in cluster.nodes))
    payments = [cluster.pay_coin(i) for i in range(3)]
    cluster.submit(0, *payments)
    cluster.run_until(lambda: said(cluster.nodes[0], VoteKind.CONFIRM, payments[0]))
    assert cluster.nodes[0].core.state.height == 2
    cluster.crash(0)
    cluster.start(0)
    cluster.run_to_height(4)
    frozen = cluster.watch.said[cluster.ids[0], 0]
    assert isinstance(frozen, Freeze)
    assert frozen.entries


def test_a_journal_that_contradicts_itself_is_refused() -> None:
    """To sign on would risk a second word [D2]."""
    cluster = Cluster()
    one, two = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"two")
    first, second = cluster.submit(0, one), cluster.submit(1, two)
    mine, other = (cluster.nodes[i].disk.journal() for i in (0, 1))
    held = [r for r in (*mine, *other) if not isinstance(r, OwnVote)]
    votes = [r for r in mine if isinstance(r, OwnVote)]
    forged = cluster.vote(0, votes[0].vote.kind, (second.batch_id, b"\x01"))
    node = cluster.nodes[0]

    def fresh() -> Replica:
        return Replica(
            genesis=cluster.genesis,
            state=node.disk.state,
            view=node.disk,
            signer=cluster.signers[0],
            verifier=VERIFIER,
            tip_certificate=None,
            has_amnesia=False,
        )

    fresh().recover([*held, *votes], None, ())
    for records in (
        [*held, *votes, OwnVote(forged)],
        votes,
        [*held, OwnVote(cluster.vote(0, forged.kind, (first.batch_id, b"\x01"), epoch=1))],
    ):
        with pytest.raises(JournalContradiction):
            fresh().recover(records, None, ())
    cluster.run_to_height(1)
    tip: DecidedBlock | None = node.disk.tip
    replica = Replica(
        genesis=cluster.genesis,
        state=Disk(cluster.genesis).state,
        view=node.disk,
        signer=cluster.signers[0],
        verifier=VERIFIER,
        tip_certificate=None,
        has_amnesia=False,
    )
    with pytest.raises(JournalContradiction):
        replica.recover([], tip, ())
