"""One height: turns proposals, ballots and time-outs into triggers of the phase table [T1, T10].

The driver owns the height's state (round, phase, lock, valid value), its proposals and its vote
keeper. The rules of the paper are conditions, not events: after every input the driver looks which
of them hold and fires them until none does, so the order in which messages arrive means nothing.

The caller checks signatures, judges blocks, keeps the clock and makes durable before it sends. Own
messages come back through `on_proposal` and `on_vote` like anybody's: an output counts for nothing
until the caller has persisted it. It knows no block, no ledger and no clock.
"""

from collections.abc import Callable, Sequence
from typing import Final, Self, assert_never

from msgspec import Struct
from msgspec.structs import replace

from lockstep.consensus.proposals import JudgedProposal, ProposalKeeper
from lockstep.consensus.rounds import (
    NO_ROUND,
    Decide,
    GetValue,
    Phase,
    RoundInput,
    RoundState,
    ScheduleTimeout,
    SendPrecommit,
    SendPrevote,
    SendProposal,
    SkipTo,
    TimeoutKind,
    Trigger,
    advance,
)
from lockstep.consensus.snapshot import DriverSnapshot, check_snapshot
from lockstep.consensus.votekeeper import Equivocated, Threshold, VoteKeeper, Weights
from lockstep.errors import Misuse
from lockstep.primitives.block import Ballot, BallotKind, Proposal

_TIMEOUT_TRIGGERS: Final = {
    TimeoutKind.PROPOSE: Trigger.PROPOSE_TIMEOUT,
    TimeoutKind.PREVOTE: Trigger.PREVOTE_TIMEOUT,
    TimeoutKind.PRECOMMIT: Trigger.PRECOMMIT_TIMEOUT,
}


class EnteredRound(Struct, frozen=True):
    """The member is in `round` now."""

    round: int


DriverOutput = (
    EnteredRound
    | GetValue
    | SendProposal
    | SendPrevote
    | SendPrecommit
    | ScheduleTimeout
    | Decide
    | Equivocated
)


class Driver:
    """Drives one height for one member, or for a follower that signs nothing (`own` None).

    Attributes:
        state: Round, phase, lock and valid value, to be persisted with what was just signed.
        votes: The ballots of the height, to make certificates of.
        decision: The decision, once there is one.
    """

    __slots__ = (
        "_own",
        "_proposals",
        "_proposer",
        "_resumed",
        "_signed",
        "_timed",
        "decision",
        "state",
        "votes",
    )

    def __init__(
        self,
        *,
        height: int,
        weights: Weights,
        own: bytes | None,
        proposer: Callable[[int], bytes],
    ) -> None:
        """Prepare a height; messages are taken at once, `start` begins its first round.

        Args:
            height: The height that is driven.
            weights: The committee that signs this height.
            own: Our member id, or None to follow without signing.
            proposer: Member id of the proposer of a round.
        """
        self.state = RoundState(height=height)
        self.votes = VoteKeeper(weights)
        self.decision: Decide | None = None
        self._own = own
        self._proposer = proposer
        self._proposals = ProposalKeeper(proposer)
        self._signed = DriverSnapshot()
        self._timed: list[TimeoutKind] = []
        self._resumed = False

    @classmethod
    def restore(
        cls,
        *,
        height: int,
        weights: Weights,
        own: bytes | None,
        proposer: Callable[[int], bytes],
        snapshot: DriverSnapshot,
    ) -> Self:
        """Resume at the highest round signed in, bound to what was signed there [D2].

        `start` then returns what the round still waits for; what was signed is not asked for again:
        the caller re-sends it byte for byte [T10].

        Raises:
            SnapshotContradiction: If the snapshot is of no state a driver can have been in.
        """
        check_snapshot(snapshot)
        driver = cls(height=height, weights=weights, own=own, proposer=proposer)
        phase = Phase.UNSTARTED
        if snapshot.precommit is not None:
            phase = Phase.PRECOMMIT
        elif snapshot.prevote is not None:
            phase = Phase.PREVOTE
        elif snapshot.proposal is not None:
            phase = Phase.PROPOSE
        signed = phase is not Phase.UNSTARTED
        # Where nothing was signed the round is entered anew, with its proposer's duties.
        entered = snapshot.round if signed else snapshot.round - 1
        driver.state = RoundState(
            height=height,
            round=entered,
            phase=phase,
            locked_value=snapshot.locked_value,
            locked_round=snapshot.locked_round,
            valid_value=snapshot.valid_value,
            valid_round=snapshot.valid_round,
        )
        driver.votes.enter_round(entered)
        driver._signed = snapshot
        driver._resumed = signed
        return driver

    def snapshot(self) -> DriverSnapshot:
        """Return what must be durable before anything this driver asked to sign is sent [D2]."""
        return replace(
            self._signed,
            locked_value=self.state.locked_value,
            locked_round=self.state.locked_round,
            valid_value=self.state.valid_value,
            valid_round=self.state.valid_round,
        )

    def start(self, round_number: int = 0) -> list[DriverOutput]:
        """Begin the first round, or go on in the round a restored driver resumed at.

        Does nothing where messages have already started a round [T6].
        """
        if self.state.phase is Phase.UNSTARTED:
            return [*self._enter(max(round_number, self.state.round + 1)), *self._settle()]
        if not self._resumed:
            return []
        self._resumed = False
        outputs: list[DriverOutput] = [EnteredRound(self.state.round)]
        if self.state.phase is Phase.PROPOSE:
            outputs.append(ScheduleTimeout(TimeoutKind.PROPOSE, self.state.round))
        return [*outputs, *self._settle()]

    def on_proposal(self, proposal: Proposal, *, valid: bool) -> list[DriverOutput]:
        """Take a proposal whose block has been judged; valid() is a function of the block id.

        Raises:
            WrongProposer: If it is not its signer's turn.
            InvalidValidRound: If its valid round is not below its round.
            Misuse: If it is of another height.
        """
        self._check_height(proposal.height)
        self._proposals.check(proposal)
        demanded = any(
            self.votes.has_quorum(proposal.round, kind, proposal.block_id) for kind in BallotKind
        )
        equivocated = self._proposals.add(
            JudgedProposal(proposal, valid), current_round=self.state.round, demanded=demanded
        )
        return [equivocated, *self._settle()] if equivocated else self._settle()

    def on_vote(self, ballot: Ballot) -> list[DriverOutput]:
        """Count a ballot, our own included, and act on what it amounts to.

        Raises:
            UnknownVoter: If the voter has no weight here.
            Misuse: If it is of another height.
        """
        self._check_height(ballot.height)
        return self._take(self.votes.add(ballot))

    def on_certificate(self, ballots: Sequence[Ballot]) -> list[DriverOutput]:
        """Count a quorum that came as a whole: a POLC or a commit certificate [B4, T10].

        Raises:
            UnknownVoter: If a voter has no weight here.
            InvalidCertificate: If it is not a quorum for one value of one round.
            Misuse: If it is of another height.
        """
        for ballot in ballots:
            self._check_height(ballot.height)
        return self._take(self.votes.add_certificate(ballots))

    def on_timeout(self, kind: TimeoutKind, round_number: int) -> list[DriverOutput]:
        """Take the end of a time; one of another round or phase changes nothing [57, 61, 65]."""
        event = RoundInput(_TIMEOUT_TRIGGERS[kind], round_number)
        return [*self._apply(event), *self._settle()]

    def on_value(self, round_number: int, value: bytes) -> list[DriverOutput]:
        """Take the answer to GetValue; one that is late, or second, changes nothing."""
        if round_number != self.state.round or not self._is_own_turn(round_number):
            return []
        if self._signed.proposal is not None:
            return []
        return self._apply(RoundInput(Trigger.VALUE_READY, round_number, value))

    def proposals_in(self, round_number: int) -> tuple[Proposal, ...]:
        """Return the proposals held of a round, in order of arrival."""
        return tuple(judged.proposal for judged in self._proposals.in_round(round_number))

    def proposals_of(self, proposer: bytes) -> tuple[Proposal, ...]:
        """Return the proposals held of one member, of valid blocks or not, lowest round first."""
        return tuple(
            judged.proposal
            for round_number in self._proposals.rounds()
            for judged in self._proposals.in_round(round_number)
            if judged.proposal.proposer == proposer
        )

    def valid_proposals(self) -> tuple[Proposal, ...]:
        """Return the proposals held of valid blocks, lowest round first."""
        return tuple(
            judged.proposal
            for round_number in self._proposals.rounds()
            for judged in self._proposals.in_round(round_number)
            if judged.valid
        )

    def _take(self, counted: Sequence[Threshold | Equivocated]) -> list[DriverOutput]:
        """Report equivocations, and look at the rules again where a threshold was reached."""
        outputs: list[DriverOutput] = [e for e in counted if isinstance(e, Equivocated)]
        if len(outputs) < len(counted):
            outputs.extend(self._settle())
        return outputs

    def _settle(self) -> list[DriverOutput]:
        """Fire the rules that hold until none does."""
        outputs: list[DriverOutput] = []
        while (event := self._find_trigger()) is not None:
            before = self.state
            fired = self._apply(event)
            if self.state == before and not fired:
                raise Misuse(f"{event.trigger.name} fired without effect")
            outputs.extend(fired)
        return outputs

    def _find_trigger(self) -> RoundInput | None:
        """Return the first rule that holds now, or None."""
        state = self.state
        if state.phase is Phase.COMMIT:
            return None
        for round_number in self._proposals.rounds():  # Line 49, whatever the round.
            for value in self._proposals.valid_values(round_number):
                if self.votes.has_quorum(round_number, BallotKind.PRECOMMIT, value):
                    return RoundInput(Trigger.PROPOSAL_AND_COMMIT, round_number, value)
        skip_round = self.votes.find_skip_round(above=state.round)
        if skip_round is not None:
            return RoundInput(Trigger.ROUND_SKIP, skip_round)
        match state.phase:
            case Phase.UNSTARTED:
                return self._find_start()
            case Phase.PROPOSE:
                return self._find_prevote() or self._find_timing()
            case _:
                return self._find_precommit() or self._find_timing()

    def _find_start(self) -> RoundInput | None:
        """A valid proposal starts its round for a member that still waits [T6]."""
        round_number = self.state.round + 1
        if self._proposals.valid_values(round_number):
            return RoundInput(Trigger.ROUND_SKIP, round_number)
        return None

    def _find_prevote(self) -> RoundInput | None:
        """Lines 22 and 28: the first proposal, or a later one that a quorum prevoted for."""
        current = self.state.round
        for place, judged in enumerate(self._proposals.in_round(current)):
            value = judged.proposal.block_id
            valid_round = judged.proposal.valid_round
            if place and not self.votes.has_quorum(current, BallotKind.PREVOTE, value):
                continue
            if not judged.valid:
                return RoundInput(Trigger.INVALID_PROPOSAL, current)
            if valid_round == NO_ROUND:
                return RoundInput(Trigger.PROPOSAL, current, value)
            if self.votes.has_quorum(valid_round, BallotKind.PREVOTE, value):
                return RoundInput(Trigger.REPROPOSAL_AND_POLKA, current, value, valid_round)
        return None

    def _find_precommit(self) -> RoundInput | None:
        """Lines 36, 44 and 34; the first sets the valid value even after a precommit for nil."""
        state = self.state
        for value in self._proposals.valid_values(state.round):
            polka = self.votes.has_quorum(state.round, BallotKind.PREVOTE, value)
            if polka and (state.phase is Phase.PREVOTE or state.valid_round != state.round):
                return RoundInput(Trigger.PROPOSAL_AND_POLKA, state.round, value)
        if state.phase is not Phase.PREVOTE:
            return None
        if self.votes.has_quorum(state.round, BallotKind.PREVOTE, None):
            return RoundInput(Trigger.POLKA_NIL, state.round)
        if TimeoutKind.PREVOTE in self._timed:
            return None
        if self.votes.has_any_quorum(state.round, BallotKind.PREVOTE):
            return RoundInput(Trigger.POLKA_ANY, state.round)
        return None

    def _find_timing(self) -> RoundInput | None:
        """Line 47: a quorum of precommits for anything ends the round in time."""
        if TimeoutKind.PRECOMMIT in self._timed:
            return None
        if self.votes.has_any_quorum(self.state.round, BallotKind.PRECOMMIT):
            return RoundInput(Trigger.PRECOMMIT_ANY, self.state.round)
        return None

    def _apply(self, event: RoundInput) -> list[DriverOutput]:
        """Put one trigger through the table and take note of what comes out."""
        self.state, fired = advance(self.state, event)
        outputs: list[DriverOutput] = []
        for output in fired:
            match output:
                case SkipTo(round=round_number):
                    outputs.extend(self._enter(round_number))
                    continue
                case SendPrevote() | SendPrecommit() if self._own is None:
                    continue  # A follower passes through the phases without signing.
                case SendProposal():
                    self._signed = replace(self._signed, proposal=output)
                case SendPrevote():
                    self._signed = replace(self._signed, prevote=output)
                case SendPrecommit():
                    self._signed = replace(self._signed, precommit=output)
                case ScheduleTimeout(kind=kind):
                    self._timed.append(kind)
                case Decide():
                    self.decision = output
                case GetValue():
                    pass
                case _:
                    assert_never(output)
            outputs.append(output)
        return outputs

    def _enter(self, round_number: int) -> list[DriverOutput]:
        """Start a round [11]."""
        self._timed = []
        self._signed = DriverSnapshot(round=round_number)
        self._resumed = False
        self.votes.enter_round(round_number)
        own_turn = self._is_own_turn(round_number)
        trigger = Trigger.NEW_ROUND_AS_PROPOSER if own_turn else Trigger.NEW_ROUND
        return [EnteredRound(round_number), *self._apply(RoundInput(trigger, round_number))]

    def _is_own_turn(self, round_number: int) -> bool:
        return self._own is not None and self._proposer(round_number) == self._own

    def _check_height(self, height: int) -> None:
        if height != self.state.height:
            raise Misuse(f"a message of height {height} came to the driver of {self.state.height}")
