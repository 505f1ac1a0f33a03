"""The words of the public formal model, translated into ours."""

from typing import Any

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
from lockstep.primitives.block import Ballot, BallotKind
from unit.consensus.cast import make_ballot
from unit.consensus.itf import Variant

PHASES = {
    "NoStep": Phase.UNSTARTED,
    "UnstartedStep": Phase.UNSTARTED,
    "ProposeStep": Phase.PROPOSE,
    "PrevoteStep": Phase.PREVOTE,
    "PrecommitStep": Phase.PRECOMMIT,
    "CommitStep": Phase.COMMIT,
}
TIMEOUTS = {
    "ProposeTimeout": TimeoutKind.PROPOSE,
    "PrevoteTimeout": TimeoutKind.PREVOTE,
    "PrecommitTimeout": TimeoutKind.PRECOMMIT,
}
KINDS = {"Prevote": BallotKind.PREVOTE, "Precommit": BallotKind.PRECOMMIT}


def to_value(value: Variant) -> bytes | None:
    return value.value.encode() if value.tag == "Val" else None


def to_state(state: dict[str, Any]) -> RoundState:
    return RoundState(
        height=state["height"],
        round=state["round"],
        phase=PHASES[state["step"].tag],
        locked_value=to_value(state["lockedValue"]),
        locked_round=state["lockedRound"],
        valid_value=to_value(state["validValue"]),
        valid_round=state["validRound"],
    )


def to_ballot(vote: dict[str, Any]) -> Ballot:
    value = vote["valueId"]
    return make_ballot(
        KINDS[vote["voteType"].tag],
        vote["round"],
        to_value(value),
        vote["srcAddress"].encode(),
        height=vote["height"],
    )


def to_outputs(output: Variant) -> tuple[RoundOutput, ...]:
    match output:
        case Variant("NoConsensusOutput" | "ErrorOutput", _):
            return ()
        case Variant("TimeoutOutput", (round_number, kind)):
            return (ScheduleTimeout(TIMEOUTS[kind.tag], round_number),)
        case Variant("GetValueAndScheduleTimeoutOutput", (_, round_number, kind)):
            return (GetValue(round_number), ScheduleTimeout(TIMEOUTS[kind.tag], round_number))
        case Variant("ProposalOutput", proposal):
            value = proposal["proposal"].encode()
            return (SendProposal(proposal["round"], value, proposal["validRound"]),)
        case Variant("VoteOutput", vote):
            send = SendPrevote if vote["voteType"].tag == "Prevote" else SendPrecommit
            return (send(vote["round"], to_value(vote["valueId"])),)
        case Variant("SkipRoundOutput", round_number):
            return (SkipTo(round_number),)
        case Variant("DecidedOutput", (round_number, value)):
            return (Decide(round_number, value.encode()),)
        case _:
            raise AssertionError(output)
