"""The proposals of one height, each with the verdict on its block [T1].

A proposer that signs two words in one round is reported. Both are kept, because a quorum may have
gathered behind either; a third comes in only where a quorum demands it. Of rounds further ahead
than the next one a proposer holds `ROUNDS_AHEAD_MAX`, the highest: they are sent again [T10].
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from lockstep.consensus.rounds import NO_ROUND
from lockstep.consensus.votekeeper import Equivocated
from lockstep.errors import Rejected
from lockstep.primitives.block import Proposal

PROPOSALS_PER_ROUND_MAX: Final = 2
"""Proposals of one round held; more only where a quorum demands one."""
ROUNDS_AHEAD_MAX: Final = 4
"""Rounds beyond the next one of which a proposer's word is held."""


class WrongProposer(Rejected):
    """The proposal is signed by a member whose turn it is not."""

    code = "proposal.wrong_proposer"


class InvalidValidRound(Rejected):
    """The proposal names a valid round that is not below its own."""

    code = "proposal.invalid_valid_round"


class JudgedProposal(Struct, frozen=True):
    """A proposal and the verdict on its block."""

    proposal: Proposal
    valid: bool


class ProposalKeeper:
    """Holds the proposals of one height within bounds; owned by that height's driver."""

    __slots__ = ("_proposer", "_rounds")

    def __init__(self, proposer: Callable[[int], bytes]) -> None:
        self._proposer = proposer
        self._rounds: dict[int, list[JudgedProposal]] = {}

    def check(self, proposal: Proposal) -> None:
        """Refuse a proposal that no honest member sends.

        Raises:
            WrongProposer: If it is not its signer's turn.
            InvalidValidRound: If its valid round is not below its round.
        """
        if proposal.proposer != self._proposer(proposal.round):
            raise WrongProposer(f"round {proposal.round} is not {proposal.proposer.hex()}'s")
        if not NO_ROUND <= proposal.valid_round < proposal.round:
            raise InvalidValidRound(f"{proposal.valid_round} is not below {proposal.round}")

    def add(
        self, judged: JudgedProposal, *, current_round: int, demanded: bool
    ) -> Equivocated | None:
        """Keep a checked proposal and return the equivocation it completes, if it is one.

        Args:
            judged: The proposal with its verdict.
            current_round: From where rounds ahead are measured.
            demanded: Whether a quorum voted for its value in its round.
        """
        proposal = judged.proposal
        held = self.in_round(proposal.round)
        if any(_says_the_same(other.proposal, proposal) for other in held):
            return None
        if len(held) >= PROPOSALS_PER_ROUND_MAX and not demanded:
            return None
        self._rounds.setdefault(proposal.round, []).append(judged)
        self._bound_rounds_ahead(proposal.proposer, current_round)
        return Equivocated(held[0].proposal, proposal) if len(held) == 1 else None

    def in_round(self, round_number: int) -> tuple[JudgedProposal, ...]:
        """Return the proposals of a round, in order of arrival."""
        return tuple(self._rounds.get(round_number, ()))

    def valid_values(self, round_number: int) -> list[bytes]:
        """Return the values of a round's valid proposals, in order of arrival."""
        return [j.proposal.block_id for j in self._rounds.get(round_number, ()) if j.valid]

    def rounds(self) -> Sequence[int]:
        """Return the rounds of which a proposal is held, lowest first."""
        return sorted(self._rounds)

    def _bound_rounds_ahead(self, proposer: bytes, current_round: int) -> None:
        ahead = [
            round_number
            for round_number, held in self._rounds.items()
            if round_number > current_round + 1 and held[0].proposal.proposer == proposer
        ]
        if len(ahead) > ROUNDS_AHEAD_MAX:
            del self._rounds[min(ahead)]


def _says_the_same(first: Proposal, second: Proposal) -> bool:
    """Tell whether two proposals of one round carry the same word [N4]."""
    return (first.block_id, first.valid_round) == (second.block_id, second.valid_round)
