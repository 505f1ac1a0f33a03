"""The books of the model's vote keeper, compared entry by entry with what ours holds."""

from collections.abc import Collection
from typing import Any

from lockstep.consensus.votekeeper import VoteKeeper
from lockstep.primitives.block import Ballot, BallotKind
from lockstep.sim.conformance.mismatch import Mismatch, compare, compare_sets
from lockstep.sim.conformance.words import BookWord, TraceWeights, to_ballot, to_value

Entries = dict[tuple[int, str], Any]
"""What stands in the books of a round, by the round and the name of the entry."""


def compare_books(
    number: int,
    who: str,
    *,
    book: BookWord,
    keeper: VoteKeeper,
    weights: TraceWeights,
    given: Collection[Ballot],
) -> Mismatch | None:
    """Compare the books of one member, or return the mismatch.

    Args:
        number: The step.
        who: Whose books they are.
        book: What the model has written.
        keeper: What ours has counted.
        weights: The committee.
        given: All ballots the member was given, those that do not count included.
    """
    heights = [ballot.height for ballot in given] + [v.height for v in book.rounds.values()]
    strangers = [height for height in heights if height != book.height]
    received = [
        to_ballot(vote)
        for votes in book.rounds.values()
        for count in (votes.prevotes, votes.precommits)
        for vote in count.received_votes
    ]
    # Where these differ a step is missing from the trace, perhaps of a ballot that does not count.
    return (
        compare_sets(number, f"ballots{who}", expected=received, found=given)
        or compare(number, f"committee{who}", expected=book.validator_set, found=weights.members)
        or compare(number, f"other heights{who}", expected=[], found=strangers)
        or compare(
            number,
            f"weights{who}",
            expected=_entries_written(book),
            found=_entries_counted(keeper, weights),
        )
    )


def _entries_written(book: BookWord) -> Entries:
    entries: Entries = {}
    for round_number, votes in book.rounds.items():
        entries[round_number, "round"] = votes.round
        entries[round_number, "voters"] = votes.votes_addresses_weights
        for kind, count in (
            (BallotKind.PREVOTE, votes.prevotes),
            (BallotKind.PRECOMMIT, votes.precommits),
        ):
            values = {to_value(value): weight for value, weight in count.values_weights.items()}
            entries[round_number, f"{kind.name} of"] = count.total_weight
            entries[round_number, f"{kind.name} by"] = sorted(count.votes_addresses)
            entries[round_number, f"{kind.name} for"] = values
    return entries


def _entries_counted(keeper: VoteKeeper, weights: TraceWeights) -> Entries:
    ballots = [b for name in weights.members for b in keeper.votes_of(name.encode())]
    entries: Entries = {}
    for round_number in sorted({ballot.round for ballot in ballots}):
        here = [ballot for ballot in ballots if ballot.round == round_number]
        voters = {ballot.voter.decode(): weights.weight_of(ballot.voter) for ballot in here}
        entries[round_number, "round"] = round_number
        entries[round_number, "voters"] = voters
        for kind in BallotKind:
            of_kind = [ballot for ballot in here if ballot.kind is kind]
            entries[round_number, f"{kind.name} of"] = weights.total_weight
            entries[round_number, f"{kind.name} by"] = sorted(
                {ballot.voter.decode() for ballot in of_kind}
            )
            entries[round_number, f"{kind.name} for"] = {
                ballot.block_id: keeper.weight_for(round_number, kind, ballot.block_id)
                for ballot in of_kind
            }
    return entries
