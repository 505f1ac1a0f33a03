"""Three drivers and a liar under random schedules, losses and crashes [T1, D2].

A member here journals like the replica: what it signs leaves only after snapshot, own messages and
the polka of its valid value are durable [2.6]; a crash may come before that and lose the step.
Agreement must hold and nobody may sign twice, always; once the liar is silent and messages arrive
before time-outs do, everybody must decide.
"""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
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

HONEST = [b"a", b"b", b"c"]
LIAR = b"d"
VALUES = [b"u", b"v", b"bad"]
STEPS = 400
SETTLING_ROUNDS_MAX = 40

Message = Proposal | Ballot | tuple[Ballot, ...]


class Network:
    """Every message ever sent, who has yet to receive it, and what each member signed."""

    def __init__(self, weights: FixedWeights, dice: random.Random) -> None:
        self.weights = weights
        self.dice = dice
        self.members = {name: Member(name, self) for name in HONEST}
        self.sent: list[Message] = []
        self.served: list[Message] = []
        self.signed: dict[tuple[bytes, str, int], object] = {}

    def proposer(self, round_number: int) -> bytes:
        return sorted(self.weights.weights)[round_number % 4]

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
        """Let the liar say to each what suits it: two proposals, or votes for whatever is about."""
        dice = self.dice
        rounds = [member.driver.state.round for member in self.members.values()]
        round_number = dice.randint(max(0, min(rounds)), max(0, *rounds) + 1)
        if dice.random() < 0.4 and self.proposer(round_number) == LIAR:
            for name in HONEST:
                valid_round = dice.choice([-1, -1, dice.randint(-1, round_number - 1)])
                word = make_proposal(
                    round_number, dice.choice(VALUES), LIAR, valid_round=max(-1, valid_round)
                )
                self.send(word, [name])
            return
        about = [m for m in self.sent[-20:] if not isinstance(m, tuple)]
        value = dice.choice(about).block_id if about else None
        for kind in BallotKind:
            to = dice.sample(HONEST, dice.randint(0, 3))
            self.send(make_ballot(kind, round_number, value, LIAR), to)


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
            known, self.snapshot = self.snapshot, self.driver.snapshot()
            value, valid_round = self.snapshot.valid_value, self.snapshot.valid_round
            if valid_round != known.valid_round:
                self.journal.append(self.driver.votes.votes_for(valid_round, PREVOTE, value))
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
                proposal = make_proposal(r, value, self.name, valid_round=valid_round)
                if valid_round < 0:
                    return [proposal]
                return [votes.votes_for(valid_round, PREVOTE, value), proposal]
            case SendPrevote(round=r, value=nil_or_value):
                return [make_ballot(PREVOTE, r, nil_or_value, self.name)]
            case SendPrecommit(round=r, value=nil_or_value):
                return [make_ballot(PRECOMMIT, r, nil_or_value, self.name)]
            case Decide(round=r, value=value):
                self.decided.add(value)
                proposals = [p for p in self.driver.proposals_in(r) if p.block_id == value]
                # Served to whoever asks, later: the others must get along without it [T9].
                self.network.served += [proposals[0], votes.votes_for(r, PRECOMMIT, value)]
                return []
            case _:
                return []


def run_at_random(network: Network) -> None:
    """Deliver, time out, lie, lose and crash in no order, with one member cut off at a time."""
    dice = network.dice
    cut_off = dice.choice(HONEST)
    for _ in range(STEPS):
        name = dice.choice(HONEST)
        member = network.members[name]
        chance = dice.random()
        if chance < 0.01:
            cut_off = name
        elif chance < 0.1:
            network.lie()
        elif chance < 0.105:
            member.restart()
        elif chance < 0.12:
            member.carry_out(member.driver.start())
        elif chance < 0.14 and member.timers:
            member.fire()
        elif member.inbox and name != cut_off:
            # Mostly the newest: old messages are plenty and would drown what goes on.
            place = min(int(dice.expovariate(0.5)), len(member.inbox) - 1)
            message = member.inbox.pop(-1 - place)
            crash = dice.random() < 0.01
            member.carry_out(member.take(message), crash=crash)
        elif member.timers:
            member.fire()


def settle(network: Network) -> None:
    """Deliver all there is, then let all times end, until everybody has decided."""
    for member in network.members.values():
        member.carry_out(member.driver.start())
    for _ in range(SETTLING_ROUNDS_MAX):
        for member in network.members.values():
            member.inbox = network.sent + network.served
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


@settings(max_examples=300)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 3), min_size=3, max_size=3))
def test_members_agree_sign_once_and_decide(seed: int, weights: list[int]) -> None:
    # As much as a liar may have: below a third of all.
    liar_weight = (sum(weights) - 1) // 2
    committee = FixedWeights({**dict(zip(HONEST, weights, strict=True)), LIAR: liar_weight})
    network = Network(committee, random.Random(seed))
    run_at_random(network)
    settle(network)
    assert len({value for m in network.members.values() for value in m.decided}) == 1
    assert not any(b"bad" in member.decided for member in network.members.values())
