"""The words of the public formal model, translated into ours.

The records are read strictly: a field that is missing or of another type, and a word the model
does not have, make the trace a damaged one. What is translated is then compared elsewhere.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from lockstep.consensus.rounds import (
    Decide,
    GetValue,
    Phase,
    RoundOutput,
    RoundState,
    ScheduleTimeout,
    SendPrecommit,
    SendPrevote,
    SendProposal,
    SkipTo,
    TimeoutKind,
)
from lockstep.primitives.block import Ballot, BallotKind, Proposal
from lockstep.sim.conformance.itf import DamagedTrace, Variant

T = TypeVar("T")

INVALID_VALUE: Final = "invalid"
"""The one value that is not valid in the model."""
NO_SIGNATURE: Final = bytes(64)
"""Signatures are checked before consensus sees a message, and the model has none."""

_PHASES: Final = {
    "NoStep": Phase.UNSTARTED,
    "UnstartedStep": Phase.UNSTARTED,
    "ProposeStep": Phase.PROPOSE,
    "PrevoteStep": Phase.PREVOTE,
    "PrecommitStep": Phase.PRECOMMIT,
    "CommitStep": Phase.COMMIT,
}
_TIMEOUTS: Final = {
    "ProposeTimeout": TimeoutKind.PROPOSE,
    "PrevoteTimeout": TimeoutKind.PREVOTE,
    "PrecommitTimeout": TimeoutKind.PRECOMMIT,
}
_KINDS: Final = {"Prevote": BallotKind.PREVOTE, "Precommit": BallotKind.PRECOMMIT}


class VoteWord(Struct, frozen=True, rename="camel"):
    """A vote as the model writes it."""

    vote_type: Variant
    src_address: str
    height: int
    round: int
    value_id: Variant


class ProposalWord(Struct, frozen=True, rename="camel"):
    """A proposal as the model writes it."""

    src_address: str
    height: int
    round: int
    proposal: str
    valid_round: int


class StateWord(Struct, frozen=True, rename="camel"):
    """The state of the model's round machine; `p` is the member it belongs to."""

    p: str
    height: int
    round: int
    step: Variant
    locked_value: Variant
    locked_round: int
    valid_value: Variant
    valid_round: int


class CountWord(Struct, frozen=True, rename="camel"):
    """The votes of one round and kind in the model's books."""

    total_weight: int
    values_weights: dict[Variant, int]
    votes_addresses: list[str]
    received_votes: list[VoteWord]


class RoundBookWord(Struct, frozen=True, rename="camel"):
    """The votes of one round in the model's books."""

    height: int
    round: int
    prevotes: CountWord
    precommits: CountWord
    votes_addresses_weights: dict[str, int]
    emitted_outputs: list[Variant]


class BookWord(Struct, frozen=True, rename="camel"):
    """The model's books: the committee, what is counted and who contradicted itself."""

    height: int
    validator_set: dict[str, int]
    rounds: dict[int, RoundBookWord]
    evidence: list[list[VoteWord]]


class TraceWeights:
    """The committee of a trace, as the vote keeper asks for it.

    Attributes:
        members: The weights by the names the model has for the members.
    """

    def __init__(self, members: Mapping[str, int]) -> None:
        """Take the members of the trace."""
        self.members = dict(members)
        self._weights = {name.encode(): weight for name, weight in members.items()}
        self.total_weight = sum(self._weights.values())

    def weight_of(self, member_id: bytes, /) -> int:
        """Return the member's weight, 0 for a stranger."""
        return self._weights.get(member_id, 0)


def read_record(raw: Any, kind: type[T]) -> T:
    """Return a decoded value of the trace as a record with the fields we need.

    Raises:
        DamagedTrace: If a field is missing or of another type.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise DamagedTrace(f"the trace is not of the known model: {error}") from error


def to_value(value: Variant) -> bytes | None:
    """Return a value's name as its id; nil is None."""
    match value:
        case Variant("Val", str(name)):
            return name.encode()
        case Variant("Nil", _):
            return None
    raise DamagedTrace(f"{value.tag!r} is no value of the model")


def to_state(word: StateWord) -> RoundState:
    """Return the round machine's state in our words."""
    return RoundState(
        height=word.height,
        round=word.round,
        phase=look_up(_PHASES, word.step),
        locked_value=to_value(word.locked_value),
        locked_round=word.locked_round,
        valid_value=to_value(word.valid_value),
        valid_round=word.valid_round,
    )


def to_ballot(word: VoteWord) -> Ballot:
    """Return a vote as the ballot it is, without a signature."""
    return Ballot(
        kind=look_up(_KINDS, word.vote_type),
        height=word.height,
        round=word.round,
        block_id=to_value(word.value_id),
        time_ms=0,
        voter=word.src_address.encode(),
        signature=NO_SIGNATURE,
    )


def to_proposal(word: ProposalWord) -> Proposal:
    """Return a proposal of the trace, without a signature."""
    return Proposal(
        height=word.height,
        round=word.round,
        block_id=word.proposal.encode(),
        valid_round=word.valid_round,
        proposer=word.src_address.encode(),
        signature=NO_SIGNATURE,
    )


def to_timeout(word: Variant) -> TimeoutKind:
    """Return the time-out that a word names."""
    return look_up(_TIMEOUTS, word)


def to_outputs(word: Variant) -> tuple[RoundOutput, ...]:
    """Return what the model's machine asks for, in our words; an error asks for nothing."""
    match word:
        case Variant("NoConsensusOutput" | "ErrorOutput", _):
            return ()
        case Variant("TimeoutOutput", (int(round_number), Variant() as kind)):
            return (ScheduleTimeout(to_timeout(kind), round_number),)
        case Variant("GetValueAndScheduleTimeoutOutput", (_, int(round_number), Variant() as kind)):
            return (GetValue(round_number), ScheduleTimeout(to_timeout(kind), round_number))
        case Variant("ProposalOutput", raw):
            word_said = read_record(raw, ProposalWord)
            value = word_said.proposal.encode()
            return (SendProposal(word_said.round, value, word_said.valid_round),)
        case Variant("VoteOutput", raw):
            ballot = to_ballot(read_record(raw, VoteWord))
            send = SendPrevote if ballot.kind is BallotKind.PREVOTE else SendPrecommit
            return (send(ballot.round, ballot.block_id),)
        case Variant("SkipRoundOutput", int(round_number)):
            return (SkipTo(round_number),)
        case Variant("DecidedOutput", (int(round_number), str(value))):
            return (Decide(round_number, value.encode()),)
    raise DamagedTrace(f"{word.tag!r} is no output of the model")


def find_author(word: Variant) -> tuple[str, int] | None:
    """Return who signs an output, and for which height, or None where nothing is signed."""
    match word:
        case Variant("ProposalOutput" | "VoteOutput", {"srcAddress": str(name), "height": int(at)}):
            return name, at
    return None


def look_up(words: Mapping[str, T], word: Variant) -> T:
    """Return what a tag stands for.

    Raises:
        DamagedTrace: If the model has no such word.
    """
    found = words.get(word.tag)
    if found is None:
        raise DamagedTrace(f"{word.tag!r} is no word of the model")
    return found
