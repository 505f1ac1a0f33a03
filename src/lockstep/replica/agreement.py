"""From the driver's outputs to signed, journalled and sent messages, and back [T1, T10, 2.6].

Whatever is signed is first put into a record with the lock and valid value of that moment; then it
is fed back to the driver like a message of anybody.
"""

from collections import deque
from collections.abc import Sequence
from typing import assert_never

from msgspec.structs import replace

from lockstep.consensus.driver import Driver, DriverOutput, EnteredRound
from lockstep.consensus.rounds import (
    Decide,
    GetValue,
    Phase,
    ScheduleTimeout,
    SendPrecommit,
    SendPrevote,
    SendProposal,
    TimeoutKind,
)
from lockstep.consensus.snapshot import DriverSnapshot
from lockstep.consensus.votekeeper import Equivocated
from lockstep.ledger.blocks import is_closing_height, kind_index
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    Proposal,
    make_ballot_digest,
    make_proposal_digest,
)
from lockstep.primitives.messages import ProposalMessage
from lockstep.primitives.params import (
    PROPOSE_TIMEOUT_MS,
    PROPOSE_TIMEOUT_STEP_MS,
    RESEND_MS,
    VOTE_TIMEOUT_MS,
    VOTE_TIMEOUT_STEP_MS,
)
from lockstep.replica.commit import commit_decision
from lockstep.replica.core import Core
from lockstep.replica.effects import RoundSigned
from lockstep.replica.events import Timer, TimerKind
from lockstep.replica.evidence import accuse_pair
from lockstep.replica.freezing import has_freeze_quorum
from lockstep.replica.height import Candidate, Verdict
from lockstep.replica.proposing import make_candidate

_TIMER_KINDS = {
    TimeoutKind.PROPOSE: TimerKind.PROPOSE,
    TimeoutKind.PREVOTE: TimerKind.PREVOTE,
    TimeoutKind.PRECOMMIT: TimerKind.PRECOMMIT,
}
_TIMEOUT_KINDS = {timer: kind for kind, timer in _TIMER_KINDS.items()}


def is_closing(core: Core) -> bool:
    """Tell whether the undecided height ends its epoch [M4]."""
    return is_closing_height(core.height.height, core.genesis.closing_every)


def make_driver(core: Core, snapshot: DriverSnapshot | None = None) -> Driver:
    """Return a driver of the undecided height, restored from what was signed if anything was."""
    height = core.height.height
    committee = core.committee
    index = kind_index(height, core.genesis.closing_every)
    own = core.own_id if core.is_member else None

    def proposer(round_number: int) -> bytes:
        return committee.proposer(index, round_number).member_id

    if snapshot is None:
        return Driver(height=height, weights=committee, own=own, proposer=proposer)
    return Driver.restore(
        height=height, weights=committee, own=own, proposer=proposer, snapshot=snapshot
    )


def begin_height(core: Core) -> None:
    """Take messages of the height; its round 0 starts by the pace, or by Q FREEZEs [T5, T6]."""
    if core.height.driver is None:
        core.height.driver = make_driver(core)
    core.height.decided_at_ms = core.time_ms
    core.set_timer(TimerKind.RESEND, RESEND_MS, height=core.height.height)
    if is_closing(core):
        start_if_frozen(core)
        return
    core.height.is_paced = core.finality.has_certified_waiting()
    interval_ms = core.genesis.idle_interval_ms
    if core.height.is_paced:
        interval_ms = core.genesis.block_interval_ms
    core.set_timer(TimerKind.NEXT_HEIGHT, interval_ms, height=core.height.height)


def quicken(core: Core) -> None:
    """Bring the next proposal forward when a payment is certified at an idle pace [2.11]."""
    height = core.height
    if height.is_paced or height.driver is None or is_closing(core):
        return
    if height.driver.state.phase is Phase.UNSTARTED and core.finality.has_certified_waiting():
        height.is_paced = True
        elapsed_ms = core.time_ms - height.decided_at_ms
        delay_ms = min(
            max(core.genesis.block_interval_ms - elapsed_ms, 0), core.genesis.block_interval_ms
        )
        core.set_timer(TimerKind.NEXT_HEIGHT, delay_ms, height=height.height)


def start_if_frozen(core: Core) -> None:
    """Start round 0 of a closing height once Q FREEZEs are usable; serve a proposer that waits."""
    driver = core.height.driver
    if driver is None or not is_closing(core) or not has_freeze_quorum(core):
        return
    if driver.state.phase is Phase.UNSTARTED:
        run(core, driver.start())
    if core.height.asked_round is not None:
        round_number, core.height.asked_round = core.height.asked_round, None
        run(core, [GetValue(round_number)])


def on_round_timer(core: Core, timer: Timer) -> None:
    """Take the end of one of the paper's time-outs, or of the pause between heights."""
    driver = core.height.driver
    if driver is None or timer.height != core.height.height:
        return
    if timer.kind is TimerKind.NEXT_HEIGHT:
        if driver.state.phase is Phase.UNSTARTED and not is_closing(core):
            run(core, driver.start())
        return
    run(core, driver.on_timeout(_TIMEOUT_KINDS[timer.kind], timer.round))


def speak(core: Core) -> None:
    """Say what the round under way asked for while nothing could be signed [D3]."""
    height = core.height
    unsaid, height.unsaid = height.unsaid, []
    run(core, unsaid)
    if core.height is height and height.asked_round is not None:
        round_number, height.asked_round = height.asked_round, None
        run(core, [GetValue(round_number)])


def take_ballot(core: Core, ballot: Ballot) -> None:
    """Count a ballot of the undecided height."""
    if core.height.driver is not None:
        run(core, core.height.driver.on_vote(ballot))


def judge_proposals(core: Core, candidate: Candidate) -> None:
    """Hand the driver the proposals of a block whose verdict is known; their turn was checked."""
    driver = core.height.driver
    if driver is None or candidate.verdict is Verdict.OPEN:
        return
    proposals, candidate.proposals = candidate.proposals, []
    for proposal in proposals:
        run(core, driver.on_proposal(proposal, valid=candidate.verdict is Verdict.VALID))
        if core.height.driver is not driver:
            return


def run(core: Core, outputs: Sequence[DriverOutput]) -> None:
    """Carry out the driver's outputs, and those that our own messages bring, in order."""
    driver = core.height.driver
    queue = deque(outputs)
    while queue and driver is not None and core.height.driver is driver:
        output = queue.popleft()
        match output:
            case EnteredRound(round=round_number):
                core.height.asked_round = None
                # A restored driver says it again of its round, for which words may wait already.
                core.height.unsaid = [o for o in core.height.unsaid if o.round == round_number]
            case GetValue(round=round_number):
                queue.extend(_answer_value(core, driver, round_number))
            case SendProposal() | SendPrevote() | SendPrecommit() if not core.is_voting:
                core.height.unsaid.append(output)
            case SendProposal():
                queue.extend(_send_proposal(core, driver, output))
            case SendPrevote(round=round_number, value=value):
                queue.extend(_send_ballot(core, driver, BallotKind.PREVOTE, round_number, value))
            case SendPrecommit(round=round_number, value=value):
                queue.extend(_send_ballot(core, driver, BallotKind.PRECOMMIT, round_number, value))
            case ScheduleTimeout(kind=kind, round=round_number):
                _schedule(core, kind, round_number)
            case Decide(round=round_number, value=value):
                commit_decision(core, core.height.candidates[value], round_number)
                begin_height(core)
            case Equivocated(first=first, second=second):
                accuse_pair(core, first, second)
            case _:
                assert_never(output)


def _schedule(core: Core, kind: TimeoutKind, round_number: int) -> None:
    if kind is TimeoutKind.PROPOSE:
        delay_ms = PROPOSE_TIMEOUT_MS + PROPOSE_TIMEOUT_STEP_MS * round_number
    else:
        delay_ms = VOTE_TIMEOUT_MS + VOTE_TIMEOUT_STEP_MS * round_number
    height = core.height.height
    core.set_timer(_TIMER_KINDS[kind], delay_ms, height=height, round_number=round_number)


def _answer_value(core: Core, driver: Driver, round_number: int) -> list[DriverOutput]:
    """Make a block for our turn; it waits while we are silent, a closing one for Q FREEZEs [T6]."""
    can_propose = core.is_voting and (not is_closing(core) or has_freeze_quorum(core))
    candidate = make_candidate(core) if can_propose else None
    if candidate is None:
        core.height.asked_round = round_number
        return []
    return driver.on_value(round_number, candidate.block_id)


def _send_proposal(core: Core, driver: Driver, output: SendProposal) -> list[DriverOutput]:
    height = core.height.height
    digest = make_proposal_digest(
        chain_id=core.chain_id,
        height=height,
        round_number=output.round,
        block_id=output.value,
        valid_round=output.valid_round,
    )
    proposal = Proposal(
        height,
        output.round,
        output.value,
        output.valid_round,
        core.own_id or b"",
        core.sign(digest),
    )
    core.height.own_proposals[output.round] = proposal
    _record(core, driver, round_number=output.round, value=output.value, proposal=proposal)
    core.broadcast(make_message(core, driver, proposal))
    return driver.on_proposal(proposal, valid=True)


def _send_ballot(
    core: Core, driver: Driver, kind: BallotKind, round_number: int, value: bytes | None
) -> list[DriverOutput]:
    time_ms = 0
    if kind is BallotKind.PRECOMMIT and value is not None:
        time_ms = max(core.time_ms, core.height.candidates[value].header.time_ms + 1)
    height = core.height.height
    digest = make_ballot_digest(
        chain_id=core.chain_id,
        kind=kind,
        height=height,
        round_number=round_number,
        block_id=value,
        time_ms=time_ms,
    )
    ballot = Ballot(
        kind, height, round_number, value, time_ms, core.own_id or b"", core.sign(digest)
    )
    core.height.own_ballots[round_number, kind] = ballot
    _record(core, driver, round_number=round_number, value=value, ballot=ballot)
    core.broadcast(ballot)
    return driver.on_vote(ballot)


def _record(
    core: Core,
    driver: Driver,
    *,
    round_number: int,
    value: bytes | None,
    proposal: Proposal | None = None,
    ballot: Ballot | None = None,
) -> None:
    """Journal what is about to be sent, with lock, valid value, POLC and block behind it [2.6]."""
    state = driver.state
    height = core.height
    record = RoundSigned(
        height=height.height,
        round=round_number,
        proposal=None,
        ballot=None,
        locked_round=state.locked_round,
        locked_value=state.locked_value,
        valid_round=state.valid_round,
        valid_value=state.valid_value,
        block=None,
        polc=(),
    )
    for block_id in (value, state.locked_value, state.valid_value):
        if block_id is not None and block_id not in height.recorded_blocks:
            height.recorded_blocks[block_id] = None
            held = (*((proposal,) if proposal else ()), *driver.valid_proposals())
            word = next(other for other in held if other.block_id == block_id)
            core.persist(replace(record, block=make_message(core, driver, word)))
    polc: tuple[Ballot, ...] = ()
    if state.valid_value is not None:
        key = (state.valid_round, state.valid_value)
        if key not in height.recorded_polcs:
            height.recorded_polcs[key] = None
            polc = driver.votes.votes_for(state.valid_round, BallotKind.PREVOTE, state.valid_value)
    core.persist(replace(record, proposal=proposal, ballot=ballot, polc=polc))


def make_message(core: Core, driver: Driver, proposal: Proposal) -> ProposalMessage:
    """Return a proposal with its block, and with the POLC where it proposes again [T10]."""
    polc: tuple[Ballot, ...] = ()
    if driver.votes.has_quorum(proposal.valid_round, BallotKind.PREVOTE, proposal.block_id):
        polc = driver.votes.votes_for(proposal.valid_round, BallotKind.PREVOTE, proposal.block_id)
    return ProposalMessage(proposal, core.height.candidates[proposal.block_id].body.block, polc)
