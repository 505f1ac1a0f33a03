"""Which lines of Algorithm 1 (arXiv 1807.04938) a step of ours carries out.

Derived from what really happened, trigger and outputs, so that a scenario cannot claim a line it
does not reach.
"""

from collections.abc import Sequence
from typing import Final

from lockstep.consensus.rounds import (
    NO_ROUND,
    Phase,
    RoundInput,
    RoundOutput,
    SendPrevote,
    SendProposal,
    Trigger,
)
from lockstep.consensus.votekeeper import ThresholdKind
from lockstep.primitives.block import Proposal

LINES: Final = (*range(11, 52), *range(55, 68))
"""The rules of one height; 52 to 54 begin the next one, which is the replica's work."""

_PLAIN: Final = {
    Trigger.NEW_ROUND: (11, 12, 13, 14, 20, 21),
    Trigger.VALUE_READY: (18, 19),
    Trigger.POLKA_ANY: (34, 35),
    Trigger.POLKA_NIL: (44, 45, 46),
    Trigger.PRECOMMIT_ANY: (47, 48),
    Trigger.PROPOSAL_AND_COMMIT: (49, 50, 51),
    Trigger.ROUND_SKIP: (55, 56),
    Trigger.PROPOSE_TIMEOUT: (57, 58, 59, 60),
    Trigger.PREVOTE_TIMEOUT: (61, 62, 63, 64),
    Trigger.PRECOMMIT_TIMEOUT: (65, 66, 67),
}
_THRESHOLDS: Final = {
    ThresholdKind.SKIP: (55,),
    ThresholdKind.POLKA_VALUE: (28, 36),
    ThresholdKind.POLKA_NIL: (44,),
    ThresholdKind.POLKA_ANY: (34,),
    ThresholdKind.PRECOMMIT_VALUE: (49,),
    ThresholdKind.PRECOMMIT_ANY: (47,),
}


def lines_of_step(
    proposal: Proposal | None, event: RoundInput, phase: Phase, outputs: Sequence[RoundOutput]
) -> set[int]:
    """Return the lines that a step which changed something has carried out.

    Args:
        proposal: The first proposal of the round, if there is one.
        event: The trigger.
        phase: The phase before it.
        outputs: What came out.
    """
    prevoted_nil = SendPrevote(event.round, None) in outputs
    match event.trigger:
        case Trigger.NEW_ROUND_AS_PROPOSER:
            again = any(isinstance(output, SendProposal) for output in outputs)
            return {11, 12, 13, 14, 15, *((16, 19) if again else (17, 18))}
        case Trigger.PROPOSAL | Trigger.REPROPOSAL_AND_POLKA | Trigger.INVALID_PROPOSAL:
            first = event.trigger is Trigger.PROPOSAL or (
                event.trigger is Trigger.INVALID_PROPOSAL
                and (proposal is None or proposal.valid_round == NO_ROUND)
            )
            if first:
                return {22, 23, *((25, 26) if prevoted_nil else (24,)), 27}
            return {28, 29, *((31, 32) if prevoted_nil else (30,)), 33}
        case Trigger.PROPOSAL_AND_POLKA:
            whole = phase is Phase.PREVOTE
            return {36, 37, *((38, 39, 40, 41) if whole else ()), 42, 43}
    return set(_PLAIN[event.trigger])


def lines_of_threshold(kind: ThresholdKind) -> set[int]:
    """Return the lines that wait for this weight of ballots."""
    return set(_THRESHOLDS[kind])


def format_lines(lines: set[int]) -> str:
    """Put lines as runs: `L11-L14 L20 L21`."""
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return " ".join(
        f"L{run[0]}-L{run[-1]}" if len(run) > 2 else " ".join(f"L{line}" for line in run)
        for run in runs
    )


def parse_lines(text: str) -> set[int]:
    """Read what `format_lines` writes."""
    found: set[int] = set()
    for span in text.split():
        ends = [int(end) for end in span.replace("L", "").split("-")]
        found.update(range(ends[0], ends[-1] + 1))
    return found
