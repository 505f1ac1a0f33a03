"""The phase table of one round: (phase, trigger) -> (phase, action) [T1].

A pure function over a frozen state. Every cell of the square of phases and triggers is either a
transition or listed as late; line numbers are those of Algorithm 1 in arXiv 1807.04938. When a
trigger holds is the driver's to know; what it does to lock, valid value and phase is decided here.
No clock, no votes, no committee.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from lockstep.errors import Misuse

NO_ROUND: Final = -1


class Phase(IntEnum):
    """Where a member stands in a round: the paper's step, with a before and an after."""

    UNSTARTED = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3
    COMMIT = 4


class Trigger(IntEnum):
    """What can hold in a round; the paper's line in brackets."""

    NEW_ROUND = 0  # [11, 21]
    NEW_ROUND_AS_PROPOSER = 1  # [11, 14]
    VALUE_READY = 2  # [18]
    PROPOSAL = 3  # [22]
    INVALID_PROPOSAL = 4  # [22, 28: not valid(v)]
    REPROPOSAL_AND_POLKA = 5  # [28]
    POLKA_ANY = 6  # [34]
    PROPOSAL_AND_POLKA = 7  # [36]
    POLKA_NIL = 8  # [44]
    PRECOMMIT_ANY = 9  # [47]
    PROPOSAL_AND_COMMIT = 10  # [49]
    ROUND_SKIP = 11  # [55]
    PROPOSE_TIMEOUT = 12  # [57]
    PREVOTE_TIMEOUT = 13  # [61]
    PRECOMMIT_TIMEOUT = 14  # [65]


class Action(IntEnum):
    """What a transition does."""

    WAIT_FOR_PROPOSAL = 0
    PROPOSE_OR_ASK = 1
    PROPOSE_VALUE = 2
    PREVOTE_UNLESS_LOCKED = 3
    PREVOTE_IF_UNLOCKED_SINCE = 4
    PREVOTE_NIL = 5
    TIME_PREVOTES = 6
    LOCK_AND_PRECOMMIT = 7
    SET_VALID = 8
    PRECOMMIT_NIL = 9
    TIME_PRECOMMITS = 10
    DECIDE = 11
    SKIP_ROUND = 12
    NEXT_ROUND = 13


class TimeoutKind(IntEnum):
    """The three time-outs of a round."""

    PROPOSE = 0
    PREVOTE = 1
    PRECOMMIT = 2


class GetValue(Struct, frozen=True):
    """We propose in `round` and have no valid value: make one and hand it to the driver [18]."""

    round: int


class SendProposal(Struct, frozen=True):
    """Sign and send our proposal; `valid_round` is -1 for a fresh value [19]."""

    round: int
    value: bytes
    valid_round: int


class SendPrevote(Struct, frozen=True):
    """Sign and send our prevote; None is nil."""

    round: int
    value: bytes | None


class SendPrecommit(Struct, frozen=True):
    """Sign and send our precommit; None is nil."""

    round: int
    value: bytes | None


class ScheduleTimeout(Struct, frozen=True):
    """Call back with this kind and round after its time."""

    kind: TimeoutKind
    round: int


class Decide(Struct, frozen=True):
    """The height is decided: `value` has a quorum of precommits in `round` [51]."""

    round: int
    value: bytes


class SkipTo(Struct, frozen=True):
    """Leave this round and start `round`; the driver does so at once [56, 67]."""

    round: int


RoundOutput = (
    GetValue | SendProposal | SendPrevote | SendPrecommit | ScheduleTimeout | Decide | SkipTo
)


class RoundState(Struct, frozen=True):
    """A member's place in a height: round, phase, lock and valid value; rounds are -1 for none."""

    height: int
    round: int = NO_ROUND
    phase: Phase = Phase.UNSTARTED
    locked_value: bytes | None = None
    locked_round: int = NO_ROUND
    valid_value: bytes | None = None
    valid_round: int = NO_ROUND


class RoundInput(Struct, frozen=True):
    """A trigger with the data its line speaks of; the rest stays at none."""

    trigger: Trigger
    round: int = NO_ROUND
    value: bytes | None = None
    valid_round: int = NO_ROUND


TRANSITIONS: Final[Mapping[tuple[Phase, Trigger], tuple[Phase, Action]]] = {
    (Phase.UNSTARTED, Trigger.NEW_ROUND): (Phase.PROPOSE, Action.WAIT_FOR_PROPOSAL),
    (Phase.UNSTARTED, Trigger.NEW_ROUND_AS_PROPOSER): (Phase.PROPOSE, Action.PROPOSE_OR_ASK),
    (Phase.PROPOSE, Trigger.VALUE_READY): (Phase.PROPOSE, Action.PROPOSE_VALUE),
    (Phase.PROPOSE, Trigger.PROPOSAL): (Phase.PREVOTE, Action.PREVOTE_UNLESS_LOCKED),
    (Phase.PROPOSE, Trigger.INVALID_PROPOSAL): (Phase.PREVOTE, Action.PREVOTE_NIL),
    (Phase.PROPOSE, Trigger.REPROPOSAL_AND_POLKA): (
        Phase.PREVOTE,
        Action.PREVOTE_IF_UNLOCKED_SINCE,
    ),
    (Phase.PROPOSE, Trigger.PROPOSE_TIMEOUT): (Phase.PREVOTE, Action.PREVOTE_NIL),
    (Phase.PREVOTE, Trigger.POLKA_ANY): (Phase.PREVOTE, Action.TIME_PREVOTES),
    (Phase.PREVOTE, Trigger.PROPOSAL_AND_POLKA): (Phase.PRECOMMIT, Action.LOCK_AND_PRECOMMIT),
    (Phase.PREVOTE, Trigger.POLKA_NIL): (Phase.PRECOMMIT, Action.PRECOMMIT_NIL),
    (Phase.PREVOTE, Trigger.PREVOTE_TIMEOUT): (Phase.PRECOMMIT, Action.PRECOMMIT_NIL),
    (Phase.PRECOMMIT, Trigger.PROPOSAL_AND_POLKA): (Phase.PRECOMMIT, Action.SET_VALID),
    (Phase.PROPOSE, Trigger.PRECOMMIT_ANY): (Phase.PROPOSE, Action.TIME_PRECOMMITS),
    (Phase.PREVOTE, Trigger.PRECOMMIT_ANY): (Phase.PREVOTE, Action.TIME_PRECOMMITS),
    (Phase.PRECOMMIT, Trigger.PRECOMMIT_ANY): (Phase.PRECOMMIT, Action.TIME_PRECOMMITS),
    (Phase.UNSTARTED, Trigger.PROPOSAL_AND_COMMIT): (Phase.COMMIT, Action.DECIDE),
    (Phase.PROPOSE, Trigger.PROPOSAL_AND_COMMIT): (Phase.COMMIT, Action.DECIDE),
    (Phase.PREVOTE, Trigger.PROPOSAL_AND_COMMIT): (Phase.COMMIT, Action.DECIDE),
    (Phase.PRECOMMIT, Trigger.PROPOSAL_AND_COMMIT): (Phase.COMMIT, Action.DECIDE),
    (Phase.UNSTARTED, Trigger.ROUND_SKIP): (Phase.UNSTARTED, Action.SKIP_ROUND),
    (Phase.PROPOSE, Trigger.ROUND_SKIP): (Phase.UNSTARTED, Action.SKIP_ROUND),
    (Phase.PREVOTE, Trigger.ROUND_SKIP): (Phase.UNSTARTED, Action.SKIP_ROUND),
    (Phase.PRECOMMIT, Trigger.ROUND_SKIP): (Phase.UNSTARTED, Action.SKIP_ROUND),
    (Phase.PROPOSE, Trigger.PRECOMMIT_TIMEOUT): (Phase.UNSTARTED, Action.NEXT_ROUND),
    (Phase.PREVOTE, Trigger.PRECOMMIT_TIMEOUT): (Phase.UNSTARTED, Action.NEXT_ROUND),
    (Phase.PRECOMMIT, Trigger.PRECOMMIT_TIMEOUT): (Phase.UNSTARTED, Action.NEXT_ROUND),
}

_STARTED: Final = (Phase.PROPOSE, Phase.PREVOTE, Phase.PRECOMMIT)
_LATE_PHASES: Final[Mapping[Trigger, tuple[Phase, ...]]] = {
    Trigger.NEW_ROUND: (*_STARTED, Phase.COMMIT),
    Trigger.NEW_ROUND_AS_PROPOSER: (*_STARTED, Phase.COMMIT),
    Trigger.VALUE_READY: (Phase.UNSTARTED, Phase.PREVOTE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.PROPOSAL: (Phase.UNSTARTED, Phase.PREVOTE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.INVALID_PROPOSAL: (Phase.UNSTARTED, Phase.PREVOTE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.REPROPOSAL_AND_POLKA: (Phase.UNSTARTED, Phase.PREVOTE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.POLKA_ANY: (Phase.UNSTARTED, Phase.PROPOSE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.PROPOSAL_AND_POLKA: (Phase.UNSTARTED, Phase.PROPOSE, Phase.COMMIT),
    Trigger.POLKA_NIL: (Phase.UNSTARTED, Phase.PROPOSE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.PRECOMMIT_ANY: (Phase.UNSTARTED, Phase.COMMIT),
    Trigger.PROPOSAL_AND_COMMIT: (Phase.COMMIT,),
    Trigger.ROUND_SKIP: (Phase.COMMIT,),
    Trigger.PROPOSE_TIMEOUT: (Phase.UNSTARTED, Phase.PREVOTE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.PREVOTE_TIMEOUT: (Phase.UNSTARTED, Phase.PROPOSE, Phase.PRECOMMIT, Phase.COMMIT),
    Trigger.PRECOMMIT_TIMEOUT: (Phase.UNSTARTED, Phase.COMMIT),
}
LATE: Final = frozenset(
    (phase, trigger) for trigger, phases in _LATE_PHASES.items() for phase in phases
)
"""The cells where a trigger comes too early or too late and changes nothing."""


def advance(state: RoundState, event: RoundInput) -> tuple[RoundState, tuple[RoundOutput, ...]]:
    """Take one trigger and return the new state with what must be done.

    A late cell, and a trigger that speaks of another round, leave the state as it is.
    """
    cell = TRANSITIONS.get((state.phase, event.trigger))
    if cell is None or not _is_timely(state, event):
        return state, ()
    phase, action = cell
    moved = replace(state, phase=phase)
    return _act(moved, action, event)


def _is_timely(state: RoundState, event: RoundInput) -> bool:
    """Tell whether the round the trigger speaks of is the one its line asks for."""
    match event.trigger:
        case Trigger.NEW_ROUND | Trigger.NEW_ROUND_AS_PROPOSER | Trigger.ROUND_SKIP:
            return event.round > state.round
        case Trigger.PROPOSE_TIMEOUT | Trigger.PREVOTE_TIMEOUT | Trigger.PRECOMMIT_TIMEOUT:
            return event.round == state.round
        case Trigger.REPROPOSAL_AND_POLKA:
            return NO_ROUND < event.valid_round < state.round
        case _:
            return True


def _act(
    state: RoundState, action: Action, event: RoundInput
) -> tuple[RoundState, tuple[RoundOutput, ...]]:
    """Carry out an action on a state whose phase has already moved."""
    match action:
        case Action.WAIT_FOR_PROPOSAL:  # Line 21.
            entered = replace(state, round=event.round)
            return entered, (ScheduleTimeout(TimeoutKind.PROPOSE, event.round),)
        case Action.PROPOSE_OR_ASK:  # Lines 14 to 19.
            return _propose_or_ask(replace(state, round=event.round))
        case Action.PROPOSE_VALUE:  # Line 19.
            return state, (SendProposal(state.round, _named(event), NO_ROUND),)
        case Action.PREVOTE_UNLESS_LOCKED:  # Line 23.
            free = state.locked_round == NO_ROUND or state.locked_value == event.value
            return state, (SendPrevote(state.round, event.value if free else None),)
        case Action.PREVOTE_IF_UNLOCKED_SINCE:  # Line 29.
            free = state.locked_round <= event.valid_round or state.locked_value == event.value
            return state, (SendPrevote(state.round, event.value if free else None),)
        case Action.PREVOTE_NIL:  # Lines 26, 32 and 59.
            return state, (SendPrevote(state.round, None),)
        case Action.TIME_PREVOTES:  # Line 35.
            return state, (ScheduleTimeout(TimeoutKind.PREVOTE, state.round),)
        case Action.LOCK_AND_PRECOMMIT:  # Lines 38 to 43.
            locked = replace(state, locked_value=event.value, locked_round=state.round)
            valid = replace(locked, valid_value=event.value, valid_round=state.round)
            return valid, (SendPrecommit(state.round, event.value),)
        case Action.SET_VALID:  # Lines 42 and 43.
            return replace(state, valid_value=event.value, valid_round=state.round), ()
        case Action.PRECOMMIT_NIL:  # Lines 45 and 63.
            return state, (SendPrecommit(state.round, None),)
        case Action.TIME_PRECOMMITS:  # Line 48.
            return state, (ScheduleTimeout(TimeoutKind.PRECOMMIT, state.round),)
        case Action.DECIDE:  # Line 51.
            return state, (Decide(event.round, _named(event)),)
        case Action.SKIP_ROUND:  # Line 56.
            return state, (SkipTo(event.round),)
        case Action.NEXT_ROUND:  # Line 67.
            return state, (SkipTo(state.round + 1),)


def _propose_or_ask(state: RoundState) -> tuple[RoundState, tuple[RoundOutput, ...]]:
    """Propose the valid value again, or ask for a fresh one, which may never come: hence a time."""
    if state.valid_value is not None:
        return state, (SendProposal(state.round, state.valid_value, state.valid_round),)
    return state, (GetValue(state.round), ScheduleTimeout(TimeoutKind.PROPOSE, state.round))


def _named(event: RoundInput) -> bytes:
    """Return the value of a trigger that must name one."""
    if event.value is None:
        raise Misuse(f"{event.trigger.name} names a value")
    return event.value
