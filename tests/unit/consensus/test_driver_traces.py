"""Whole clusters of the public formal model, replayed by one driver a correct member [T1].

A driver does at once what the model does in several steps of its own (`PendingDInput`,
`StepChangeDInput`); its outputs wait in a queue for the model to come to them, and states are
compared whenever the queue is empty. Two differences are on purpose:

- Where a vote completes a polka for a known proposal the model first schedules a prevote time-out
  and only then acts on the polka. We act at once, and a time-out of a phase that is over would be
  ignored (line 61), so we ask for none.
- A single ballot that contradicts an earlier one of its voter does not count in the model; here it
  counts for its own value too [B4]. The trace's driver is spared such ballots, as the model is; a
  copy takes each and must report it. The model reports equivocations in its books only.
"""

import copy
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lockstep.consensus.driver import Driver, DriverOutput, EnteredRound
from lockstep.consensus.rounds import Phase, ScheduleTimeout, TimeoutKind
from lockstep.consensus.votekeeper import Equivocated
from lockstep.primitives.block import Ballot
from unit.consensus.cast import FixedWeights, make_proposal
from unit.consensus.itf import Variant, find_traces, load_states
from unit.consensus.model import TIMEOUTS, to_ballot, to_outputs, to_state

CLUSTERS = ("decideForPast", "hiddenLock", "line", "someMultiRound", "statemachineTest")
OWN_STEPS = ("StepChangeDInput", "PendingDInput", "NoDInput")


class Member:
    """A driver with the outputs that the model has not come to yet."""

    def __init__(self, name: str, committee: dict[str, int]) -> None:
        members = sorted(member.encode() for member in committee)
        self.driver = Driver(
            height=0,
            weights=FixedWeights({name.encode(): weight for name, weight in committee.items()}),
            own=name.encode(),
            # The model lets the second member propose in round 0 and the next ones after it.
            proposer=lambda round_number: members[(round_number + 1) % len(members)],
        )
        self.queue: deque[DriverOutput] = deque()

    def feed(self, event: Variant, round_before: int) -> None:
        outputs = self._feed(event, round_before)
        self.queue.extend(o for o in outputs if not isinstance(o, EnteredRound | Equivocated))

    def contradicts(self, event: Variant) -> bool:
        """Tell whether this is a single ballot of a voter that said something else before."""
        if event.tag != "VoteDInput":
            return False
        ballot = to_ballot(event.value)
        place = (ballot.round, ballot.kind)
        said = [b for b in self.driver.votes.votes_of(ballot.voter) if (b.round, b.kind) == place]
        return bool(said) and all(b.block_id != ballot.block_id for b in said)

    def check_report(self, ballot: Ballot) -> None:
        """A copy of the driver must report the ballot together with the one before it."""
        report = copy.deepcopy(self.driver).on_vote(ballot)[0]
        assert isinstance(report, Equivocated)
        assert report.second == ballot
        assert report.first in self.driver.votes.votes_of(ballot.voter)

    def _feed(self, event: Variant, round_before: int) -> list[DriverOutput]:
        driver = self.driver
        match event:
            case Variant("StartDInput", _):
                return driver.start()
            case Variant("ProposalDInput", word):
                proposal = make_proposal(
                    word["round"],
                    word["proposal"].encode(),
                    word["srcAddress"].encode(),
                    valid_round=word["validRound"],
                    height=word["height"],
                )
                return driver.on_proposal(proposal, valid=word["proposal"] != "invalid")
            case Variant("ProposeValueDInput", value):
                return driver.on_value(round_before, value.encode())
            case Variant("VoteDInput", vote):
                return driver.on_vote(to_ballot(vote))
            case Variant("CertificateDInput", votes):
                return driver.on_certificate([to_ballot(vote) for vote in votes])
            case Variant("TimeoutDInput", kind):
                return driver.on_timeout(TIMEOUTS[kind.tag], round_before)
            case _:
                raise AssertionError(event)


def read_history(state: dict[str, Any]) -> tuple[str, Variant, Variant]:
    history = state["_hist"]
    if isinstance(history, tuple):
        return history
    return history["validator"], history["input"], history["output"]


@pytest.mark.parametrize("path", find_traces(*CLUSTERS), ids=lambda path: path.name.split(".")[0])
def test_drivers_do_what_the_models_members_do(path: Path) -> None:
    states = load_states(path)
    system = states[0]["system"]
    members = {name: Member(name, node["es"]["valset"]) for name, node in system.items()}
    for before, after in pairwise(states):
        name, event, output = read_history(after)
        if name == "INIT":
            continue
        engine, engine_before = after["system"][name]["es"], before["system"][name]["es"]
        if read_history(before) == read_history(after) and engine == engine_before:
            continue  # The environment moved messages; no member took a step.
        member = members[name]
        if member.contradicts(event):
            member.check_report(to_ballot(event.value))
            assert not to_outputs(output)
        elif event.tag not in OWN_STEPS:
            assert not member.queue
            member.feed(event, engine_before["cs"]["round"])
        pending = [item[0].tag for item in engine["pendingInputs"]]
        for expected in to_outputs(output):
            polka = "ProposalAndPolkaAndValidCInput" in pending
            if polka and expected == ScheduleTimeout(TimeoutKind.PREVOTE, engine["cs"]["round"]):
                continue
            assert member.queue
            assert member.queue.popleft() == expected
        if member.queue:
            assert pending
        else:
            assert member.driver.state == to_state(engine["cs"])
            decided = member.driver.decision is not None
            assert decided == (member.driver.state.phase is Phase.COMMIT)
    assert not any(member.queue for member in members.values())


def test_every_external_trace_is_replayed(vectors: Path) -> None:
    replayed = find_traces("votekeeper", "consensus-random", *CLUSTERS)
    assert replayed == sorted((vectors / "tendermint").glob("*.itf.json.gz"))
    assert len(replayed) >= 118
