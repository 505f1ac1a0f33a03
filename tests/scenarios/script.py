"""The words of a scenario: what one vote keeper or one driver is given, and what it answers.

A line that begins with `> ` is done; the lines below it are the whole answer. Members have names of
one letter, and so have values; `v@0` is the value v of round 0. Own messages come back like
anybody's, by a line of their own.

    > committee a:2 b:3 c:2           the members and their weights
    > turns N                         who proposes in the rounds below N, by the real rotation
    > keeper                          a vote keeper; `> driver` is the alternative
    > driver NAME proposers=a,b       a driver of height 1 for one member; the proposers take turns
    > follower proposers=a,b          the same for somebody without a vote
    > start                           begin round 0
    > propose v by a at 0             [valid=R: valid round] [unfit: the block is not valid]
    > value v at 0                    the answer to the question for a value
    > prevote v by a,b at 0           v or nil; likewise `precommit`; one ballot a member
    > certificate prevote v by a,b at 0    the same ballots as a whole
    > timeout propose 0               likewise `prevote`, `precommit`
    > count prevote v at 0            the weight for a value, and what it amounts to
    > certify precommit v at 0        who is in the certificate

`propose`, `prevote` and `precommit` take height=H, where it is not 1. A driver's state stands after
`=` whenever it has changed.
"""

from collections.abc import Callable, Iterator, Sequence
from unittest.mock import patch

from lockstep.consensus.driver import Driver, DriverOutput, EnteredRound
from lockstep.consensus.rounds import (
    NO_ROUND,
    Decide,
    GetValue,
    RoundInput,
    RoundOutput,
    RoundState,
    ScheduleTimeout,
    SendPrecommit,
    SendPrevote,
    SendProposal,
    TimeoutKind,
    advance,
)
from lockstep.consensus.votekeeper import Equivocated, Threshold, ThresholdKind, VoteKeeper
from lockstep.errors import Misuse, Rejected
from lockstep.primitives.block import Ballot, BallotKind, Proposal
from lockstep.primitives.committee import Committee, Member
from scenarios.lines import lines_of_step, lines_of_threshold

KINDS = {kind.name.lower(): kind for kind in BallotKind}
TIMES = {kind.name.lower(): kind for kind in TimeoutKind}
THRESHOLDS = {
    ThresholdKind.SKIP: "over a third is",
    ThresholdKind.POLKA_VALUE: "polka for",
    ThresholdKind.POLKA_NIL: "polka for nil",
    ThresholdKind.POLKA_ANY: "polka for anything",
    ThresholdKind.PRECOMMIT_VALUE: "precommit quorum for",
    ThresholdKind.PRECOMMIT_ANY: "precommit quorum for anything",
}
STEPS_MAX = 1_000
"""Steps of one scenario; only a broken driver takes so many."""
Step = Callable[[RoundState, RoundInput], tuple[RoundState, tuple[RoundOutput, ...]]]


class Script:
    """Runs the commands of one scenario.

    Attributes:
        covered: Lines of Algorithm 1 that were carried out, or whose threshold was reached.
    """

    def __init__(self) -> None:
        self.covered: set[int] = set()
        self._committee: Committee | None = None
        self._keeper: VoteKeeper | None = None
        self._driver: Driver | None = None
        self._told: RoundState | None = None
        self._steps = 0

    def play(self, text: str) -> str:
        """Return the scenario as it is now: text and commands as given, answers anew."""
        lines: list[str] = []
        with patch("lockstep.consensus.driver.advance", self._watch(advance)):
            for line in text.splitlines():
                if line.startswith("> "):
                    lines.append(line)
                    lines.extend(f"  {answer}" for answer in self._do(line[2:].split()))
                elif line.startswith("#") or not line:
                    lines.append(line)
        return "\n".join(lines) + "\n"

    def _watch(self, step: Step) -> Step:
        """Note which lines of the pseudocode each step through the phase table carries out."""

        def watched(
            state: RoundState, event: RoundInput
        ) -> tuple[RoundState, tuple[RoundOutput, ...]]:
            self._steps += 1
            assert self._steps < STEPS_MAX, "a driver never comes to rest"
            after, outputs = step(state, event)
            if after != state or outputs:
                self.covered |= lines_of_step(self._proposal(state), event, state.phase, outputs)
            return after, outputs

        return watched

    def _proposal(self, state: RoundState) -> Proposal | None:
        """Return the first proposal of the current round, which an unfit one is judged by."""
        held = self._driver.proposals_in(state.round) if self._driver else ()
        return held[0] if held else None

    def _do(self, words: Sequence[str]) -> Iterator[str]:
        options = dict(word.split("=") for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        try:
            yield from self._do_plain(plain, options)
        except (Rejected, Misuse) as refusal:
            yield f"refused: {refusal.code}"
        if self._driver is not None and self._driver.state != self._told:
            self._told = self._driver.state
            yield f"= {_describe_state(self._told)}"

    def _do_plain(self, words: Sequence[str], options: dict[str, str]) -> Iterator[str]:
        match words:
            case ["committee", *members]:
                self._committee = _make_committee(members)
            case ["turns", count]:
                turns = [self._members.proposer(0, number) for number in range(int(count))]
                yield " ".join(_name(member.member_id) for member in turns)
            case ["keeper"]:
                self._keeper = VoteKeeper(self._members)
                self._keeper.enter_round(0)
            case ["driver" | "follower", *own]:
                self._driver = self._make_driver(own, options["proposers"].split(","))
                self._told = self._driver.state
            case ["start"]:
                yield from self._tell(self._given_driver.start())
            case ["propose", value, "by", name, "at", number, *unfit]:
                proposal = _make_proposal(value, name, int(number), options)
                valid = unfit != ["unfit"]
                yield from self._tell(self._given_driver.on_proposal(proposal, valid=valid))
            case ["value", value, "at", number]:
                yield from self._tell(self._given_driver.on_value(int(number), _id(value)))
            case ["timeout", kind, number]:
                yield from self._tell(self._given_driver.on_timeout(TIMES[kind], int(number)))
            case ["certificate", kind, value, "by", names, "at", number]:
                ballots = _make_ballots(kind, value, names, int(number), options)
                yield from self._tell(self._given_driver.on_certificate(ballots))
            case ["prevote" | "precommit" as kind, value, "by", names, "at", number]:
                for ballot in _make_ballots(kind, value, names, int(number), options):
                    yield from self._take(ballot)
            case ["count", kind, value, "at", number]:
                yield from self._count(KINDS[kind], _value(value), int(number))
            case ["certify", kind, value, "at", number]:
                votes = self._votes.votes_for(int(number), KINDS[kind], _value(value))
                yield " ".join(_name(ballot.voter) for ballot in votes) or "nobody"
            case _:
                raise AssertionError(f"no such command: {' '.join(words)}")

    @property
    def _members(self) -> Committee:
        assert self._committee is not None, "first `> committee`"
        return self._committee

    @property
    def _given_driver(self) -> Driver:
        assert self._driver is not None, "first `> driver`"
        return self._driver

    @property
    def _votes(self) -> VoteKeeper:
        votes = self._driver.votes if self._driver is not None else self._keeper
        assert votes is not None, "first `> keeper` or `> driver`"
        return votes

    def _make_driver(self, own: Sequence[str], proposers: Sequence[str]) -> Driver:
        turns = [_id(name) for name in proposers]
        return Driver(
            height=1,
            weights=self._members,
            own=_id(own[0]) if own else None,
            proposer=lambda round_number: turns[round_number % len(turns)],
        )

    def _take(self, ballot: Ballot) -> Iterator[str]:
        if self._driver is not None:
            yield from self._tell(self._driver.on_vote(ballot))
            return
        for output in self._votes.add(ballot):
            if isinstance(output, Threshold):
                self.covered |= lines_of_threshold(output.kind)
            yield _describe_counted(output)

    def _count(self, kind: BallotKind, value: bytes | None, number: int) -> Iterator[str]:
        votes = self._votes
        weight = votes.weight_for(number, kind, value)
        quorum = "a quorum" if votes.has_quorum(number, kind, value) else "no quorum"
        whole = "a quorum" if votes.has_any_quorum(number, kind) else "no quorum"
        yield f"{weight} of {self._members.total_weight}: {quorum}; for anything {whole}"

    def _tell(self, outputs: Sequence[DriverOutput]) -> Iterator[str]:
        yield from map(_describe, outputs)


def _describe(output: DriverOutput) -> str:
    match output:
        case EnteredRound(round=number):
            return f"enters round {number}"
        case GetValue(round=number):
            return f"asks for a value for round {number}"
        case SendProposal(round=number, value=value, valid_round=valid_round):
            since = "" if valid_round == NO_ROUND else f", valid since round {valid_round}"
            return f"proposes {_name(value)} in round {number}{since}"
        case SendPrevote(round=number, value=value):
            return f"prevotes {_name(value)} in round {number}"
        case SendPrecommit(round=number, value=value):
            return f"precommits {_name(value)} in round {number}"
        case ScheduleTimeout(kind=kind, round=number):
            return f"times the {kind.name.lower()} phase of round {number}"
        case Decide(round=number, value=value):
            return f"decides {_name(value)} of round {number}"
        case Equivocated():
            return _describe_counted(output)


def _describe_counted(output: Threshold | Equivocated) -> str:
    match output:
        case Equivocated(first=first, second=second):
            signer = first.voter if isinstance(first, Ballot) else first.proposer
            said = " and ".join(_name(message.block_id) for message in (first, second))
            return f"contradiction of {_name(signer)}: {said} in round {first.round}"
        case Threshold(kind=kind, round=number, value=value):
            named = "" if value is None else f" {_name(value)}"
            return f"{THRESHOLDS[kind]}{named} in round {number}"


def _describe_state(state: RoundState) -> str:
    locked = f"locked {_name(state.locked_value)}@{state.locked_round}"
    valid = f"valid {_name(state.valid_value)}@{state.valid_round}"
    return ", ".join(
        (
            f"round {state.round} {state.phase.name.lower()}",
            "no lock" if state.locked_value is None else locked,
            "no valid value" if state.valid_value is None else valid,
        )
    )


def _make_committee(members: Sequence[str]) -> Committee:
    rows = [member.split(":") for member in members]
    return Committee(
        Member(
            member_id=_id(name),
            voting_key=_id(name),
            node_key=_id(name),
            weight=int(weight),
            reward_weight=int(weight),
            payout_lock=bytes(32),
        )
        for name, weight in rows
    )


def _make_proposal(value: str, name: str, number: int, options: dict[str, str]) -> Proposal:
    return Proposal(
        height=int(options.get("height", "1")),
        round=number,
        block_id=_id(value),
        valid_round=int(options.get("valid", NO_ROUND)),
        proposer=_id(name),
        signature=bytes(64),
    )


def _make_ballots(
    kind: str, value: str, names: str, number: int, options: dict[str, str]
) -> list[Ballot]:
    return [
        Ballot(
            kind=KINDS[kind],
            height=int(options.get("height", "1")),
            round=number,
            block_id=_value(value),
            time_ms=0,
            voter=_id(name),
            signature=bytes(64),
        )
        for name in names.split(",")
    ]


def _id(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def _value(name: str) -> bytes | None:
    return None if name == "nil" else _id(name)


def _name(identity: bytes | None) -> str:
    return "nil" if identity is None else identity.rstrip(b"\0").decode()
