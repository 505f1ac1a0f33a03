"""First words: what each member said first in each place, so that a second one is noticed [N4].

The paths that count messages drop what they have no use for: a third value, a FREEZE that is held
already, a ballot of a height just decided. Before that, everything passes here. Kept are the
heights around the tip and the epochs around the current one, of each member a bounded number of
rounds; the oldest fall out.
"""

from typing import Final, TypeVar

from lockstep.primitives.block import Ballot, BallotKind, Proposal
from lockstep.primitives.evidence import SignedDigest

HEIGHTS_AROUND: Final = 2
"""Heights below the tip, and above it, of which first words are kept."""
EPOCHS_AROUND: Final = 1
"""Epochs before the current one, and after it, of which FREEZEs are kept."""
PLACES_MAX: Final = 64
"""First words of one member and height that are kept."""

Place = tuple[int, BallotKind | None]
"""A round, and the kind of ballot; None is a proposal."""
Word = Ballot | Proposal
Heard = TypeVar("Heard")


class FirstWords:
    """The first word of each member and place; owned by the replica."""

    def __init__(self) -> None:
        """Have heard nothing."""
        self._words: dict[int, dict[bytes, dict[Place, Word]]] = {}
        self._freezes: dict[int, dict[bytes, SignedDigest]] = {}

    def take_ballot(self, ballot: Ballot, *, tip: int) -> Ballot | None:
        """Note a ballot; return the member's first one of this place if its value differs."""
        place = (ballot.round, ballot.kind)
        first = self._first(ballot.voter, ballot.height, place, ballot, tip=tip)
        if isinstance(first, Ballot) and first.block_id != ballot.block_id:
            return first
        return None

    def take_proposal(self, proposal: Proposal, *, tip: int) -> Proposal | None:
        """Note a proposal; return the member's first one of this round if it says another thing."""
        place = (proposal.round, None)
        first = self._first(proposal.proposer, proposal.height, place, proposal, tip=tip)
        if isinstance(first, Proposal) and (first.block_id, first.valid_round) != (
            proposal.block_id,
            proposal.valid_round,
        ):
            return first
        return None

    def take_freeze(
        self, member: bytes, epoch: int, word: SignedDigest, *, current: int
    ) -> SignedDigest | None:
        """Note a FREEZE; return the member's first one of the epoch if its digest differs."""
        if abs(epoch - current) > EPOCHS_AROUND:
            return None
        _trim(self._freezes, current - EPOCHS_AROUND)
        first = self._freezes.setdefault(epoch, {}).setdefault(member, word)
        return None if first.digest == word.digest else first

    def _first(
        self, member: bytes, height: int, place: Place, word: Word, *, tip: int
    ) -> Word | None:
        if abs(height - tip) > HEIGHTS_AROUND:
            return None
        if height not in self._words:
            _trim(self._words, tip - HEIGHTS_AROUND)
        words = self._words.setdefault(height, {}).setdefault(member, {})
        first = words.setdefault(place, word)
        if len(words) > PLACES_MAX:
            del words[next(iter(words))]
        return first


def _trim(
    table: dict[int, dict[bytes, dict[Place, Word]]] | dict[int, dict[bytes, SignedDigest]],
    least: int,
) -> None:
    for key in [key for key in table if key < least]:
        del table[key]
