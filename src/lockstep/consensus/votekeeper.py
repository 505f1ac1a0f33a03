"""Tally of the ballots of one height, by round, kind and value [T1, B4].

A member counts once for each value it signed, once for "any value" and once for a round skip: a
quorum for a value must be found even where a Byzantine member signed something else before. Each
threshold is announced once; every announcement can be asked for again as a level.

Bounds. Of a member at most `VALUES_PER_MEMBER_MAX` values are kept a round and kind; the third
comes in only inside a certificate, which is judged by itself. Rounds up to the next one are kept
until the height is decided, because lines 28 and 49 look back. Of rounds further ahead each member
holds `ROUNDS_AHEAD_MAX`, the highest: honest members resend their newest ballots [T10], so the
newest rounds are those a round skip will need, and a liar can only push out its own ballots.

It knows no proposal, no phase and no clock; signatures were checked before.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Protocol

from msgspec import Struct

from lockstep.errors import Rejected
from lockstep.primitives.block import Ballot, BallotKind, Proposal

VALUES_PER_MEMBER_MAX: Final = 2
"""Values of one member, round and kind that are counted."""
ROUNDS_AHEAD_MAX: Final = 4
"""Rounds beyond the next one of which a member's ballots are held."""


class UnknownVoter(Rejected):
    """The ballot is signed by nobody with weight in the committee."""

    code = "ballot.unknown_voter"


class InvalidCertificate(Rejected):
    """The ballots are not those of a quorum of distinct members for one value of one round."""

    code = "certificate.invalid"


class Weights(Protocol):
    """What the tally asks of a committee."""

    @property
    def total_weight(self) -> int:
        """Return W, the weight of all members."""
        ...

    def weight_of(self, member_id: bytes, /) -> int:
        """Return the member's weight, 0 for a stranger."""
        ...


class ThresholdKind(IntEnum):
    """What a weight of ballots can amount to; names follow the paper's lines."""

    SKIP = 0
    POLKA_VALUE = 1
    POLKA_NIL = 2
    POLKA_ANY = 3
    PRECOMMIT_VALUE = 4
    PRECOMMIT_ANY = 5


class Threshold(Struct, frozen=True):
    """A threshold that is reached in `round`; `value` is set in the two kinds that name one."""

    kind: ThresholdKind
    round: int
    value: bytes | None = None


class Equivocated(Struct, frozen=True):
    """Two messages of one signer and place that contradict each other [N4]."""

    first: Ballot | Proposal
    second: Ballot | Proposal


class _Tally:
    """Ballots of one round and kind: who signed what, and the weight behind each value."""

    __slots__ = ("any_weight", "ballots", "weights")

    def __init__(self) -> None:
        self.ballots: dict[bytes, list[Ballot]] = {}
        self.weights: dict[bytes | None, int] = {}
        self.any_weight = 0


class _RoundVotes:
    """Both tallies of one round and what was announced of it."""

    __slots__ = ("announced", "skip_weight", "tallies")

    def __init__(self) -> None:
        self.tallies = {kind: _Tally() for kind in BallotKind}
        self.skip_weight = 0
        self.announced: dict[Threshold, None] = {}

    def has_voter(self, voter: bytes) -> bool:
        """Tell whether the member is heard in this round, by either kind."""
        return any(voter in tally.ballots for tally in self.tallies.values())


class VoteKeeper:
    """Counts the ballots of one height; owned by that height's driver and freed with it."""

    __slots__ = ("_ahead", "_round", "_rounds", "_weights")

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._rounds: dict[int, _RoundVotes] = {}
        self._round = -1
        self._ahead: dict[bytes, list[int]] = {}

    def enter_round(self, round_number: int) -> None:
        """Note the current round, from which the bound on rounds ahead is measured."""
        self._round = round_number
        self._ahead = {
            voter: kept
            for voter, rounds in self._ahead.items()
            if (kept := [r for r in rounds if self._is_ahead(r)])
        }

    def add(self, ballot: Ballot) -> tuple[Threshold | Equivocated, ...]:
        """Count one ballot and return what it newly amounts to, an equivocation first.

        Repetitions, a member's third value and rounds beyond its bound change nothing.

        Raises:
            UnknownVoter: If the voter has no weight here.
        """
        weight = self._weigh(ballot.voter)
        held = self._held(ballot)
        if any(other.block_id == ballot.block_id for other in held):
            return ()
        if len(held) >= VALUES_PER_MEMBER_MAX or not self._make_room(ballot):
            return ()
        reached = self._count(ballot, weight)
        if len(held) == 1:
            return (Equivocated(held[0], ballot), *reached)
        return reached

    def add_certificate(self, ballots: Sequence[Ballot]) -> tuple[Threshold | Equivocated, ...]:
        """Count a quorum that arrived as a whole, judged by itself and never by what was seen [B4].

        Raises:
            UnknownVoter: If a voter has no weight here.
            InvalidCertificate: If kind, round or value differ, a voter stands twice or the weight
                is below a quorum.
        """
        self._check_certificate(ballots)
        outputs: list[Threshold | Equivocated] = []
        for ballot in ballots:
            ahead = self._ahead.get(ballot.voter, [])
            if ballot.round in ahead:
                # What proves a quorum must not be pushed out by later rounds.
                ahead.remove(ballot.round)
            held = self._held(ballot)
            if any(other.block_id == ballot.block_id for other in held):
                continue
            if len(held) == 1:
                outputs.append(Equivocated(held[0], ballot))
            outputs.extend(self._count(ballot, self._weigh(ballot.voter)))
        return tuple(outputs)

    def weight_for(self, round_number: int, kind: BallotKind, value: bytes | None) -> int:
        """Return the weight of the distinct members that signed this value."""
        votes = self._rounds.get(round_number)
        return 0 if votes is None else votes.tallies[kind].weights.get(value, 0)

    def has_quorum(self, round_number: int, kind: BallotKind, value: bytes | None) -> bool:
        """Tell whether members of quorum weight signed this value."""
        return self._is_quorum(self.weight_for(round_number, kind, value))

    def has_any_quorum(self, round_number: int, kind: BallotKind) -> bool:
        """Tell whether members of quorum weight signed any values of this kind."""
        votes = self._rounds.get(round_number)
        return votes is not None and self._is_quorum(votes.tallies[kind].any_weight)

    def find_skip_round(self, *, above: int) -> int | None:
        """Return the highest round above `above` that over a third of the weight is in, or None."""
        rounds = [r for r, v in self._rounds.items() if r > above and self._is_skip(v.skip_weight)]
        return max(rounds, default=None)

    def votes_for(
        self, round_number: int, kind: BallotKind, value: bytes | None
    ) -> tuple[Ballot, ...]:
        """Return the ballots for this value, a member once, by voter: a certificate's content."""
        votes = self._rounds.get(round_number)
        if votes is None:
            return ()
        ballots = votes.tallies[kind].ballots
        return tuple(b for voter in sorted(ballots) for b in ballots[voter] if b.block_id == value)

    def votes_of(self, voter: bytes) -> tuple[Ballot, ...]:
        """Return all ballots held of one member, by round and kind: its own, for re-sending."""
        return tuple(
            ballot
            for round_number in sorted(self._rounds)
            for tally in self._rounds[round_number].tallies.values()
            for ballot in tally.ballots.get(voter, ())
        )

    def count_ballots(self) -> int:
        """Return how many ballots are held, for metrics and the tests of the bounds."""
        return sum(
            len(ballots)
            for votes in self._rounds.values()
            for tally in votes.tallies.values()
            for ballots in tally.ballots.values()
        )

    def _weigh(self, voter: bytes) -> int:
        weight = self._weights.weight_of(voter)
        if weight <= 0:
            raise UnknownVoter(f"{voter.hex()} has no weight in this committee")
        return weight

    def _held(self, ballot: Ballot) -> tuple[Ballot, ...]:
        votes = self._rounds.get(ballot.round)
        if votes is None:
            return ()
        return tuple(votes.tallies[ballot.kind].ballots.get(ballot.voter, ()))

    def _check_certificate(self, ballots: Sequence[Ballot]) -> None:
        if len({(b.kind, b.height, b.round, b.block_id) for b in ballots}) != 1:
            raise InvalidCertificate("a certificate is for one value of one round")
        if len({b.voter for b in ballots}) != len(ballots):
            raise InvalidCertificate("a member stands in a certificate once")
        weight = sum(self._weigh(b.voter) for b in ballots)
        if not self._is_quorum(weight):
            raise InvalidCertificate(f"{weight} of {self._weights.total_weight} is no quorum")

    def _make_room(self, ballot: Ballot) -> bool:
        """Keep the voter's rounds ahead within the bound; tell whether this ballot may stay."""
        votes = self._rounds.get(ballot.round)
        if not self._is_ahead(ballot.round) or (votes and votes.has_voter(ballot.voter)):
            return True
        ahead = self._ahead.setdefault(ballot.voter, [])
        if len(ahead) >= ROUNDS_AHEAD_MAX:
            if ballot.round < ahead[0]:
                return False
            self._drop(ahead.pop(0), ballot.voter)
        ahead.append(ballot.round)
        ahead.sort()
        return True

    def _count(self, ballot: Ballot, weight: int) -> tuple[Threshold, ...]:
        """Enter the ballot and return the thresholds it brought about."""
        votes = self._rounds.get(ballot.round)
        if votes is None:
            votes = self._rounds[ballot.round] = _RoundVotes()
        tally = votes.tallies[ballot.kind]
        if not votes.has_voter(ballot.voter):
            votes.skip_weight += weight
        if ballot.voter not in tally.ballots:
            tally.any_weight += weight
        tally.ballots.setdefault(ballot.voter, []).append(ballot)
        tally.weights[ballot.block_id] = tally.weights.get(ballot.block_id, 0) + weight
        if not self._is_skip(votes.skip_weight):
            return ()  # Whoever is in a quorum of this round is among those that are in the round.
        reached = tuple(
            [
                threshold
                for threshold in _candidates(ballot)
                if self._holds(votes, threshold) and threshold not in votes.announced
            ]
        )
        votes.announced.update(dict.fromkeys(reached))
        return reached

    def _drop(self, round_number: int, voter: bytes) -> None:
        """Forget a member's ballots of a round; what no longer holds may be announced again."""
        votes = self._rounds[round_number]
        weight = self._weigh(voter)
        votes.skip_weight -= weight
        for tally in votes.tallies.values():
            ballots = tally.ballots.pop(voter, [])
            tally.any_weight -= weight if ballots else 0
            for ballot in ballots:
                tally.weights[ballot.block_id] -= weight
                if not tally.weights[ballot.block_id]:
                    del tally.weights[ballot.block_id]
        votes.announced = {t: None for t in votes.announced if self._holds(votes, t)}
        if not votes.skip_weight:
            del self._rounds[round_number]

    def _holds(self, votes: _RoundVotes, threshold: Threshold) -> bool:
        prevotes = votes.tallies[BallotKind.PREVOTE]
        precommits = votes.tallies[BallotKind.PRECOMMIT]
        match threshold.kind:
            case ThresholdKind.SKIP:
                return self._is_skip(votes.skip_weight)
            case ThresholdKind.POLKA_VALUE | ThresholdKind.POLKA_NIL:
                return self._is_quorum(prevotes.weights.get(threshold.value, 0))
            case ThresholdKind.POLKA_ANY:
                return self._is_quorum(prevotes.any_weight)
            case ThresholdKind.PRECOMMIT_VALUE:
                return self._is_quorum(precommits.weights.get(threshold.value, 0))
            case ThresholdKind.PRECOMMIT_ANY:
                return self._is_quorum(precommits.any_weight)

    def _is_quorum(self, weight: int) -> bool:
        return 3 * weight > 2 * self._weights.total_weight

    def _is_skip(self, weight: int) -> bool:
        return 3 * weight > self._weights.total_weight

    def _is_ahead(self, round_number: int) -> bool:
        return round_number > self._round + 1


def _candidates(ballot: Ballot) -> tuple[Threshold, ...]:
    """Return the thresholds that this ballot can have brought about, the most telling first."""
    skip = Threshold(ThresholdKind.SKIP, ballot.round)
    if ballot.kind is BallotKind.PRECOMMIT:
        precommit_any = Threshold(ThresholdKind.PRECOMMIT_ANY, ballot.round)
        if ballot.block_id is None:
            return (skip, precommit_any)
        value = Threshold(ThresholdKind.PRECOMMIT_VALUE, ballot.round, ballot.block_id)
        return (skip, value, precommit_any)
    polka_any = Threshold(ThresholdKind.POLKA_ANY, ballot.round)
    if ballot.block_id is None:
        return (skip, Threshold(ThresholdKind.POLKA_NIL, ballot.round), polka_any)
    return (skip, Threshold(ThresholdKind.POLKA_VALUE, ballot.round, ballot.block_id), polka_any)
