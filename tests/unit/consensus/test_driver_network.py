"""Four drivers and a liar under random schedules, losses and crashes [T1, D2].

A member here journals like the replica: what it signs leaves only after snapshot, own messages and
the polka of its valid value are durable [2.6]; a crash may come before that and lose the step.
Agreement must hold and nobody may sign twice, always; once the liar is silent and messages arrive
before time-outs do, everybody must decide.
"""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.consensus.driver import Driver, DriverOutput
from lockstep.consensus.rounds import (
    Decide,
    GetValue,
    ScheduleTimeout,
    SendPrecommit,
    SendPrevote,
    SendProposal,
)
from lockstep.consensus.snapshot import DriverSnapshot
from lockstep.primitives.block import Ballot, BallotKind, Proposal
from unit.consensus.cast import PRECOMMIT, PREVOTE, FixedWeights, make_ballot, make_proposal

HONEST = [b"a", b"b", b"c", b"d"]
LIAR = b"e"
VALUES = [b"u", b"v", b"bad"]
STEPS = 150
SETTLING_ROUNDS_MAX = 40

Message = Proposal | Ballot | tuple[Ballot, ...]


class Network:
    """Every message ever sent, who has yet to receive it, and what each member signed."""

    def __init__(self, weights: FixedWeights, dice: random.Random) -> None:
        self.weights = weights
        self.dice = dice
        self.members = {name: Member(name, self) for name in HONEST}
        self.sent: list[Message] = []
        self.signed: dict[tuple[bytes, str, int], object] = {}

    def proposer(self, round_number: int) -> bytes:
        return sorted(self.weights.weights)[round_number % 5]

    def send(self, message: Message, to: Sequence[bytes] = HONEST) -> None:
        self.sent.append(message)
        for name in to:
            self.members[name].inbox.append(message)

    def note_signature(self, message: Proposal | Ballot) -> None:
        """Fail at the second word of an honest member on one place."""
        if isinstance(message, Proposal):
            place = (message.proposer, "proposal", message.round)
            word: object = (message.block_id, message.valid_round)
        else:
            place = (message.voter, message.kind.name, message.round)
            word = message.block_id
        assert self.signed.setdefault(place, word) == word

    def lie(self) -> None:
        """Let the liar say something, each time to somebody else."""
        dice = self.dice
        to = dice.sample(HONEST, dice.randint(1, 4))
        near = max(member.driver.state.round for member in self.members.values())
        round_number = max(0, near + dice.randint(-2, 2))
        if dice.random() < 0.3 and self.proposer(round_number) == LIAR:
            valid_round = dice.randint(-1, round_number - 1) if round_number else -1
            value = dice.choice(VALUES)
            self.send(make_proposal(round_number, value, LIAR, valid_round=valid_round), to)
        else:
            kind, value_or_nil = dice.choice(list(BallotKind)), dice.choice([None, *VALUES])
            self.send(make_ballot(kind, round_number, value_or_nil, LIAR), to)


class Member:
    """An honest member: its driver, its journal, its timers and its inbox."""

    def __init__(self, name: bytes, network: Network) -> None:
        self.name = name
        self.network = network
        self.driver = self._restore(DriverSnapshot())
        self.snapshot = DriverSnapshot()
        self.journal: list[Message] = []
        self.timers: list[ScheduleTimeout] = []
        self.inbox: list[Message] = []
        self.decided: set[bytes] = set()

    def _restore(self, snapshot: DriverSnapshot) -> Driver:
        return Driver.restore(
            height=1,
            weights=self.network.weights,
            own=self.name,
            proposer=self.network.proposer,
            snapshot=snapshot,
        )

    def restart(self) -> None:
        """Come back with the journal alone; what others sent arrives again in time [T10]."""
        self.driver = self._restore(self.snapshot)
        self.timers = []
        self.inbox = list(self.network.sent)
        for message in list(self.journal):
            self.carry_out(self.take(message))
        self.carry_out(self.driver.start())

    def take(self, message: Message) -> list[DriverOutput]:
        match message:
            case Proposal():
                return self.driver.on_proposal(message, valid=message.block_id != b"bad")
            case Ballot():
                return self.driver.on_vote(message)
            case _:
                return self.driver.on_certificate(message)

    def fire(self) -> None:
        timer = self.timers.pop(self.network.dice.randrange(len(self.timers)))
        self.carry_out(self.driver.on_timeout(timer.kind, timer.round))

    def carry_out(self, outputs: list[DriverOutput], *, crash: bool = False) -> None:
        """Journal, then send; with `crash` the step is lost before it is durable."""
        if crash:
            self.restart()
            return
        messages = [message for output in outputs for message in self._sign(output)]
        if messages:
            self.snapshot = self.driver.snapshot()
            self.journal += messages
        for message in messages:
            if not isinstance(message, tuple):
                self.network.note_signature(message)
            self.network.send(message, [n for n in HONEST if n != self.name])
        for output in outputs:
            match output:
                case GetValue(round=round_number):
                    value = self.network.dice.choice(VALUES[:2])
                    self.carry_out(self.driver.on_value(round_number, value))
                case ScheduleTimeout():
                    self.timers.append(output)
        for message in messages:
            self.carry_out(self.take(message))

    def _sign(self, output: DriverOutput) -> list[Message]:
        votes = self.driver.votes
        match output:
            case SendProposal(round=r, value=value, valid_round=valid_round):
                polka = votes.votes_for(valid_round, PREVOTE, value)
                proposal = make_proposal(r, value, self.name, valid_round=valid_round)
                return [polka, proposal] if polka else [proposal]
            case SendPrevote(round=r, value=nil_or_value):
                return [make_ballot(PREVOTE, r, nil_or_value, self.name)]
            case SendPrecommit(round=r, value=nil_or_value):
                ballot = make_ballot(PRECOMMIT, r, nil_or_value, self.name)
                if nil_or_value is None:
                    return [ballot]
                return [votes.votes_for(r, PREVOTE, nil_or_value), ballot]
            case Decide(round=r, value=value):
                self.decided.add(value)
                proposals = [p for p in self.driver.proposals_in(r) if p.block_id == value]
                # Whoever decided serves the block with its certificate [T9].
                self.network.send(proposals[0])
                self.network.send(votes.votes_for(r, PRECOMMIT, value))
                return []
            case _:
                return []


def run_at_random(network: Network) -> None:
    """Deliver, time out, lie, lose and crash in no order at all."""
    dice = network.dice
    for _ in range(STEPS):
        member = network.members[dice.choice(HONEST)]
        chance = dice.random()
        if chance < 0.12:
            network.lie()
        elif chance < 0.16:
            member.restart()
        elif chance < 0.2:
            member.carry_out(member.driver.start())
        elif chance < 0.3 and member.timers:
            member.fire()
        elif member.inbox:
            message = member.inbox.pop(dice.randrange(len(member.inbox)))
            if dice.random() < 0.2:
                member.inbox.append(message)
            crash = dice.random() < 0.03
            member.carry_out(member.take(message), crash=crash)


def settle(network: Network) -> None:
    """Deliver all there is, then let all times end, until everybody has decided."""
    for member in network.members.values():
        member.carry_out(member.driver.start())
    for _ in range(SETTLING_ROUNDS_MAX):
        for member in network.members.values():
            member.inbox = list(network.sent)
        while any(member.inbox for member in network.members.values()):
            for member in network.members.values():
                waiting, member.inbox = member.inbox, []
                for message in waiting:
                    member.carry_out(member.take(message))
        if all(member.decided for member in network.members.values()):
            return
        for member in network.members.values():
            for _ in range(len(member.timers)):
                member.fire()
    pytest.fail("not everybody decided after the liar fell silent")


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 3), min_size=4, max_size=4),
    st.integers(1, 3),
)
def test_members_agree_sign_once_and_decide(seed: int, weights: list[int], lie: int) -> None:
    liar_weight = min(lie, (sum(weights) - 1) // 2)
    committee = FixedWeights({**dict(zip(HONEST, weights, strict=True)), LIAR: liar_weight})
    assert 3 * liar_weight < committee.total_weight
    network = Network(committee, random.Random(seed))
    run_at_random(network)
    settle(network)
    assert len({value for m in network.members.values() for value in m.decided}) == 1
    assert not any(b"bad" in member.decided for member in network.members.values())
