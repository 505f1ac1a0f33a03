"""The driver against traces of whole clusters of the model, one driver a correct member [T1].

A driver does at once what the model does in several steps of its own; its outputs wait in a queue
for the model to come to them, and states are compared whenever the queue is empty. The weights in
the books are compared at every step. Differences on purpose:

- Where a vote completes a polka for a known proposal the model first schedules a prevote time-out
  and only then acts on the polka. We act at once, and a time-out of a phase that is over would be
  ignored (line 61), so we ask for none.
- A single ballot that contradicts an earlier one of its voter does not count in the model; here it
  counts for its own value too [B4]. The trace's driver is spared such ballots, as the model is; a
  copy takes each and must report it. The model reports contradictions in its books only.
- What no honest proposer says the model drops in silence; our driver refuses it with an error.
"""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from lockstep.consensus.driver import Driver, DriverOutput, EnteredRound
from lockstep.consensus.rounds import Phase, ScheduleTimeout, TimeoutKind
from lockstep.consensus.votekeeper import Equivocated
from lockstep.errors import Rejected
from lockstep.primitives.block import Ballot, Proposal
from lockstep.sim.conformance.books import compare_books
from lockstep.sim.conformance.cluster_words import (
    EngineWord,
    MemberStep,
    Message,
    has_moved,
    read_cluster,
    read_step,
)
from lockstep.sim.conformance.itf import DamagedTrace
from lockstep.sim.conformance.mismatch import Mismatch, compare
from lockstep.sim.conformance.words import (
    INVALID_VALUE,
    TraceWeights,
    to_state,
)

VARIABLES: Final = frozenset({"system", "_hist"})
"""The variables by which a trace of this kind is known."""


class DriverReplay:
    """One trace of a cluster of the model, ready to be replayed."""

    def __init__(self, states: Sequence[dict[str, Any]]) -> None:
        """Read the whole trace before anything of it is judged.

        Raises:
            DamagedTrace: If a state is not of the known model.
        """
        self._clusters = [read_cluster(state) for state in states]
        if any(
            cluster.nodes.keys() != self._clusters[0].nodes.keys() for cluster in self._clusters
        ):
            raise DamagedTrace("the members of the trace's cluster are not always the same")
        self._steps = [read_step(before, after) for before, after in pairwise(self._clusters)]

    def __iter__(self) -> Iterator[Mismatch | None]:
        """Let the members take their steps and say of each how it differs, if it does."""
        engines = self._clusters[0].engines
        members = {name: _Member(name, engine) for name, engine in engines.items()}
        moves = zip(pairwise(self._clusters), self._steps, strict=True)
        for number, ((before, after), step) in enumerate(moves, 1):
            for name, engine in after.engines.items():
                if engine.cs.height != before.engines[name].cs.height:
                    members[name] = _Member(name, engine)
            # Else a step is missing from the trace.
            moved = [
                name
                for name in after.nodes
                if has_moved(before, after, name) and (step is None or name != step.name)
            ]
            difference = compare(number, "moved without taking a step", expected=[], found=moved)
            if difference is None and step is not None:
                difference = members[step.name].take(step, number)
            if difference is None and number == len(self._steps):
                left = [output for member in members.values() for output in member.queue]
                difference = compare(number, "asked for at the end", expected=[], found=left)
            yield difference


class _Member:
    """A driver with the outputs that the model has not come to yet."""

    def __init__(self, name: str, engine: EngineWord) -> None:
        members = sorted(member.encode() for member in engine.valset)
        self._weights = TraceWeights(engine.valset)
        self.driver = Driver(
            height=engine.cs.height,
            weights=self._weights,
            own=name.encode(),
            # The model lets the second member propose in round 0 and the next ones after it.
            proposer=lambda round_number: members[(round_number + 1) % len(members)],
        )
        self.queue: deque[DriverOutput] = deque()
        self._given: dict[Ballot, None] = {}

    def take(self, step: MemberStep, number: int) -> Mismatch | None:
        """Feed what the model's member took; compare what comes out and where both stand."""
        return (
            self._feed(step, number)
            or self._compare_outputs(step, number)
            or self._compare_books(step, number)
            or self._compare_state(step, number)
        )

    def _feed(self, step: MemberStep, number: int) -> Mismatch | None:
        for message in (step.message, *step.at_start):
            ballots = message if isinstance(message, tuple) else (message,)
            self._given.update((b, None) for b in ballots if isinstance(b, Ballot))
        if isinstance(step.message, Ballot) and self._contradicts(step.message):
            return self._compare_report(step.message, number)
        if step.message is None and not step.starts:
            return None
        early = compare(number, "asked for before the model", expected=[], found=list(self.queue))
        if early is None:
            said = self._start(step) if step.starts else self._give(step.message, step)
            self.queue.extend(o for o in said if not isinstance(o, EnteredRound | Equivocated))
        return early

    def _start(self, step: MemberStep) -> list[DriverOutput]:
        """Count what had come before, then begin; rounds passed on the way ask for nothing."""
        outputs: list[DriverOutput] = []
        for message in step.at_start:
            outputs.extend(self._give(message, step))
        outputs.extend(self.driver.start())
        entered = [place for place, o in enumerate(outputs) if isinstance(o, EnteredRound)]
        return outputs[entered[-1] :] if entered else outputs

    def _give(self, message: Message | None, step: MemberStep) -> list[DriverOutput]:
        driver, round_number = self.driver, step.before.cs.round
        match message:
            case Proposal():
                valid = message.block_id != INVALID_VALUE.encode()
                try:
                    return driver.on_proposal(message, valid=valid)
                except Rejected:
                    return []  # The model drops it too: the states are compared below.
            case Ballot():
                return driver.on_vote(message)
            case TimeoutKind():
                return driver.on_timeout(message, round_number)
            case bytes():
                return driver.on_value(round_number, message)
            case tuple():
                return driver.on_certificate(message)
            case None:
                return []

    def _contradicts(self, ballot: Ballot) -> bool:
        """Tell whether the ballot's voter said something else before in the same place."""
        place = (ballot.round, ballot.kind)
        said = [b for b in self.driver.votes.votes_of(ballot.voter) if (b.round, b.kind) == place]
        return bool(said) and all(b.block_id != ballot.block_id for b in said)

    def _compare_report(self, ballot: Ballot, number: int) -> Mismatch | None:
        """A copy of the driver must report the ballot together with one before it."""
        before = self.driver.votes.votes_of(ballot.voter)
        said = copy.deepcopy(self.driver).on_vote(ballot)
        reports = [o for o in said if isinstance(o, Equivocated)]
        proved = [o for o in reports if o.second == ballot and o.first in before]
        return compare(number, "reports", expected=1, found=len(proved))

    def _compare_outputs(self, step: MemberStep, number: int) -> Mismatch | None:
        """Compare what the model's member asks for now with what ours asked for first."""
        pending = [waiting[0].tag for waiting in step.after.pending_inputs]
        polka = "ProposalAndPolkaAndValidCInput" in pending
        for expected in step.outputs:
            if polka and expected == ScheduleTimeout(TimeoutKind.PREVOTE, step.after.cs.round):
                continue
            found = self.queue.popleft() if self.queue else "nothing"
            difference = compare(number, f"output of {step.name}", expected=expected, found=found)
            if difference is not None:
                return difference
        # What ours did already, the model's member must still have before it.
        idle = [] if pending else list(self.queue)
        return compare(number, f"further outputs of {step.name}", expected=[], found=idle)

    def _compare_books(self, step: MemberStep, number: int) -> Mismatch | None:
        return compare(
            number,
            f"committee of {step.name}",
            expected=step.after.valset,
            found=self._weights.members,
        ) or compare_books(
            number,
            f" of {step.name}",
            book=step.after.bk,
            keeper=self.driver.votes,
            weights=self._weights,
            given=self._given,
        )

    def _compare_state(self, step: MemberStep, number: int) -> Mismatch | None:
        if self.queue:
            return None
        state, decided = self.driver.state, self.driver.decision is not None
        expected = to_state(step.after.cs)
        return compare(number, f"state of {step.name}", expected=expected, found=state) or compare(
            number,
            f"decision of {step.name}",
            expected=expected.phase is Phase.COMMIT,
            found=decided,
        )
