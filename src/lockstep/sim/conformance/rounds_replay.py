"""The phase table against traces of the model's round machine, transition by transition [T1].

Every transition is taken from the model's own state before it. The model's machine accepts triggers
its driver never sends; where ours refuses them on purpose the reason stands below, and nothing may
change.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from lockstep.consensus.rounds import (
    Phase,
    RoundInput,
    RoundOutput,
    RoundState,
    SendProposal,
    Trigger,
    advance,
)
from lockstep.sim.conformance.itf import DamagedTrace, Variant
from lockstep.sim.conformance.mismatch import Mismatch, compare
from lockstep.sim.conformance.words import (
    StateWord,
    find_author,
    read_record,
    to_outputs,
    to_state,
    to_value,
)

VARIABLES: Final = frozenset({"state", "input", "output"})
"""The variables by which a trace of this kind is known."""


class Refusal(Struct, frozen=True):
    """A trigger the model's machine takes in phases where ours does not.

    Attributes:
        phases: Those phases.
        leads_to: The phase the model goes to; None if it stays. Nothing else of it changes.
        reason: Why ours refuses.
    """

    phases: tuple[Phase, ...]
    leads_to: Phase | None
    reason: str


_ALL_BUT_PROPOSE: Final = tuple(phase for phase in Phase if phase is not Phase.PROPOSE)
REFUSED: Final[Mapping[str, Refusal]] = {
    "ProposalAndPolkaAndInvalidCInput": Refusal(
        _ALL_BUT_PROPOSE,
        Phase.PREVOTE,
        "lines 22 and 28 prevote in the propose phase only; a second prevote is a double sign",
    ),
    "ProposeValueCInput": Refusal(
        _ALL_BUT_PROPOSE,
        None,
        "line 18 asks for a value in the propose phase only; a late one is not proposed",
    ),
    "PrecommitAnyCInput": Refusal(
        (Phase.UNSTARTED, Phase.COMMIT),
        None,
        "line 47 times the round one is in; there is none before the start and after the decision",
    ),
    "RoundSkipCInput": Refusal(
        (Phase.COMMIT,), Phase.UNSTARTED, "a decided height is not left for a round"
    ),
    "TimeoutPrecommitCInput": Refusal(
        (Phase.UNSTARTED, Phase.COMMIT),
        Phase.UNSTARTED,
        "a round that is left or decided is not left again",
    ),
}
"""By the model's name. A difference that stands here is checked on both sides."""

_PLAIN: Final = {
    "ProposalInvalidCInput": Trigger.INVALID_PROPOSAL,
    "ProposalAndPolkaAndInvalidCInput": Trigger.INVALID_PROPOSAL,
    "PolkaAnyCInput": Trigger.POLKA_ANY,
    "PolkaNilCInput": Trigger.POLKA_NIL,
    "PrecommitAnyCInput": Trigger.PRECOMMIT_ANY,
}
_OF_A_ROUND: Final = {
    "NewRoundCInput": Trigger.NEW_ROUND,
    "NewRoundProposerCInput": Trigger.NEW_ROUND_AS_PROPOSER,
    "RoundSkipCInput": Trigger.ROUND_SKIP,
}
_OF_A_TIME: Final = {
    "TimeoutProposeCInput": Trigger.PROPOSE_TIMEOUT,
    "TimeoutPrevoteCInput": Trigger.PREVOTE_TIMEOUT,
    "TimeoutPrecommitCInput": Trigger.PRECOMMIT_TIMEOUT,
}


class _Step(Struct, frozen=True):
    """One transition: where it begins, its trigger (None: no table sees it) and where it ends."""

    start: RoundState
    name: str
    event: RoundInput | None
    end: RoundState
    outputs: tuple[RoundOutput, ...]
    members: tuple[str, str]
    author: tuple[str, int] | None


class RoundsReplay:
    """One trace of the model's round machine, ready to be replayed."""

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        """Read the whole trace before anything of it is judged.

        Raises:
            DamagedTrace: If a state is not of the known model.
        """
        self._steps = [_read_step(before, after) for before, after in pairwise(states)]

    def __iter__(self) -> Iterator[Mismatch | None]:
        """Take every transition and say how it differs, if it does."""
        for number, step in enumerate(self._steps, 1):
            what = f"{step.name} in {step.start.phase.name}"
            owner = (step.members[0], step.start.height)
            author = owner if step.author is None else step.author
            difference = compare(
                number, "member", expected=step.members[1], found=step.members[0]
            ) or compare(number, "author of the output", expected=author, found=owner)
            if difference is not None:
                yield difference
                continue
            result = (step.start, ()) if step.event is None else advance(step.start, step.event)
            refusal = REFUSED.get(step.name)
            if refusal is None or step.start.phase not in refusal.phases or step.event is None:
                expected = (step.end, step.outputs)
                yield compare(number, what, expected=expected, found=result)
            else:
                yield _compare_refused(number, what, step, refusal, result=result)


def _compare_refused(
    number: int,
    what: str,
    step: _Step,
    refusal: Refusal,
    *,
    result: tuple[RoundState, tuple[RoundOutput, ...]],
) -> Mismatch | None:
    """Ours must change nothing, and the model what it is known to change, or nothing."""
    phase = step.start.phase if refusal.leads_to is None else refusal.leads_to
    taken = (replace(step.start, phase=phase), True)
    refused = (step.start, False)
    model = (step.end, bool(step.outputs))
    return compare(number, what, expected=(step.start, ()), found=result) or compare(
        number,
        f"{what}, which we refuse",
        expected=model,
        found=model if model in (taken, refused) else taken,
    )


def _read_step(before: dict[str, Any], after: dict[str, Any]) -> _Step:
    machine, machine_after = (read_record(state["state"], StateWord) for state in (before, after))
    start = to_state(machine)
    word = read_record(after["input"], Variant)
    said = read_record(after["output"], Variant)
    outputs = to_outputs(said)
    event = _to_input(word, height=start.height)
    if event is not None and event.trigger is Trigger.VALUE_READY:
        # A member with a valid value is never asked for a fresh one (lines 15 to 18), so a fresh
        # one has no valid round; the model's machine leaves this to its driver.
        outputs = tuple(
            SendProposal(output.round, output.value, -1)
            if isinstance(output, SendProposal)
            else output
            for output in outputs
        )
    return _Step(
        start=start,
        name=word.tag,
        event=event,
        end=to_state(machine_after),
        outputs=outputs,
        members=(machine.p, machine_after.p),
        author=find_author(said),
    )


def _to_input(word: Variant, *, height: int) -> RoundInput | None:
    """Translate a trigger; None is no trigger, or a time-out of another height."""
    match word:
        case Variant("NoConsensusInput", _):
            return None
        case Variant(tag, _) if tag in _PLAIN:
            return RoundInput(_PLAIN[tag])
        case Variant(tag, int(round_number)) if tag in _OF_A_ROUND:
            return RoundInput(_OF_A_ROUND[tag], round_number)
        case Variant(tag, (int(timed_height), int(round_number))) if tag in _OF_A_TIME:
            # A driver belongs to one height, so its table never sees a time-out of another.
            return RoundInput(_OF_A_TIME[tag], round_number) if timed_height == height else None
        case Variant("ProposeValueCInput", str(value)):
            return RoundInput(Trigger.VALUE_READY, value=value.encode())
        case Variant("ProposalCInput", (_, Variant() as value)):
            return RoundInput(Trigger.PROPOSAL, value=to_value(value))
        case Variant(
            "ProposalAndPolkaPreviousAndValidCInput", (Variant() as value, int(valid_round))
        ):
            return RoundInput(
                Trigger.REPROPOSAL_AND_POLKA, value=to_value(value), valid_round=valid_round
            )
        case Variant("ProposalAndPolkaAndValidCInput", Variant() as value):
            return RoundInput(Trigger.PROPOSAL_AND_POLKA, value=to_value(value))
        case Variant("ProposalAndCommitAndValidCInput", (int(round_number), str(value))):
            return RoundInput(Trigger.PROPOSAL_AND_COMMIT, round_number, value.encode())
    raise DamagedTrace(f"{word.tag!r} with this content is no trigger of the model")
