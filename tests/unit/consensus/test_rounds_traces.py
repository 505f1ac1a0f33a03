"""The phase table against the public formal model, transition by transition [T1].

Every transition of every trace is taken from the model's own state before it. The model's machine
accepts triggers its driver never sends; where ours refuses them on purpose the reason stands below,
and the test asserts that nothing changes.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from lockstep.consensus.rounds import (
    Phase,
    RoundInput,
    Trigger,
    advance,
)
from unit.consensus.itf import Variant, find_traces, load_states
from unit.consensus.model import to_outputs, to_state, to_value

ALL_BUT_PROPOSE = frozenset(Phase) - {Phase.PROPOSE}
REFUSED: dict[str, tuple[frozenset[Phase], str]] = {
    "ProposalAndPolkaAndInvalidCInput": (
        ALL_BUT_PROPOSE,
        "lines 22 and 28 prevote in the propose phase only; a second prevote is a double sign",
    ),
    "PrecommitAnyCInput": (
        frozenset({Phase.UNSTARTED, Phase.COMMIT}),
        "line 47 times the round one is in; there is none before the start and after the decision",
    ),
    "RoundSkipCInput": (frozenset({Phase.COMMIT}), "a decided height is not left for a round"),
    "TimeoutPrecommitCInput": (frozenset({Phase.COMMIT}), "the same"),
}


def to_input(event: Variant) -> RoundInput | None:
    """Translate a trigger; None is a time-out of a height other than 1, which no table sees."""
    match event:
        case Variant("NewRoundCInput", round_number):
            return RoundInput(Trigger.NEW_ROUND, round_number)
        case Variant("NewRoundProposerCInput", round_number):
            return RoundInput(Trigger.NEW_ROUND_AS_PROPOSER, round_number)
        case Variant("ProposalCInput", (_, value)):
            return RoundInput(Trigger.PROPOSAL, value=to_value(value))
        case Variant("ProposalInvalidCInput" | "ProposalAndPolkaAndInvalidCInput", _):
            return RoundInput(Trigger.INVALID_PROPOSAL)
        case Variant("ProposalAndPolkaPreviousAndValidCInput", (value, valid_round)):
            value = to_value(value)
            return RoundInput(Trigger.REPROPOSAL_AND_POLKA, value=value, valid_round=valid_round)
        case Variant("ProposalAndPolkaAndValidCInput", value):
            return RoundInput(Trigger.PROPOSAL_AND_POLKA, value=to_value(value))
        case Variant("PolkaAnyCInput", _):
            return RoundInput(Trigger.POLKA_ANY)
        case Variant("PolkaNilCInput", _):
            return RoundInput(Trigger.POLKA_NIL)
        case Variant("PrecommitAnyCInput", _):
            return RoundInput(Trigger.PRECOMMIT_ANY)
        case Variant("ProposalAndCommitAndValidCInput", (round_number, value)):
            return RoundInput(Trigger.PROPOSAL_AND_COMMIT, round_number, value.encode())
        case Variant("RoundSkipCInput", round_number):
            return RoundInput(Trigger.ROUND_SKIP, round_number)
        case Variant("TimeoutProposeCInput", (1, round_number)):
            return RoundInput(Trigger.PROPOSE_TIMEOUT, round_number)
        case Variant("TimeoutPrevoteCInput", (1, round_number)):
            return RoundInput(Trigger.PREVOTE_TIMEOUT, round_number)
        case Variant("TimeoutPrecommitCInput", (1, round_number)):
            return RoundInput(Trigger.PRECOMMIT_TIMEOUT, round_number)
        case Variant("TimeoutProposeCInput" | "TimeoutPrevoteCInput" | "TimeoutPrecommitCInput"):
            return None
        case _:
            raise AssertionError(event)


@pytest.mark.parametrize(
    "path", find_traces("consensus-random"), ids=lambda path: path.name.split(".")[0]
)
def test_transitions_are_the_models(path: Path) -> None:
    states = load_states(path)
    for before, after in pairwise(states):
        start = to_state(before["state"])
        refused_in, reason = REFUSED.get(after["input"].tag, (frozenset(), ""))
        event = to_input(after["input"])
        result = (start, ()) if event is None else advance(start, event)
        if start.phase in refused_in:
            assert result == (start, ()), reason
        else:
            assert result == (to_state(after["state"]), to_outputs(after["output"]))
