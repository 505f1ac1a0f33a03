"""Who is to blame when two decisions contradict each other: members named by quorums [R2].

Two quorums share members of more than a third of the weight, and no honest member is among those
that signed both sides. The quorums' signatures were checked by whoever brings them.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from lockstep.errors import Rejected, Unavailable
from lockstep.primitives.block import Ballot, BallotKind, CommitCertificate
from lockstep.primitives.committee import Committee
from lockstep.primitives.votes import Vote, VoteKind


class NoConflict(Rejected):
    """The two sides do not contradict each other, or one of them is no quorum [R2]."""

    code = "culprits.no_conflict"


class NamingNeedsPrevotes(Unavailable):
    """Two rounds' decisions prove a fault; naming needs the prevotes of the rounds between [R2]."""

    code = "culprits.prevotes"
    hint = "give the prevotes of the rounds after the first decision, up to the second's"


class Culprits(Struct, frozen=True):
    """Members that broke the rules for certain, by member id, and their weight together."""

    members: tuple[bytes, ...]
    weight: int


def culprits_of_commits(
    first: CommitCertificate,
    second: CommitCertificate,
    committee: Committee,
    prevotes: Sequence[Ballot] = (),
) -> Culprits:
    """Name who signed two commit certificates of one height for different blocks [R2].

    Of one round it is whoever signed both. Of different rounds, whoever precommitted the first
    block was locked on it, and might prevote another only once a quorum had prevoted that one in
    the first round or later. Before the earliest such quorum there was none, so its members that
    precommitted the first block broke their lock; where it is of the first round itself, those that
    prevoted both blocks there are to blame. `prevotes` must be all of the rounds from the first
    decision to the second: where an earlier quorum is held back, honest members would be named.

    Raises:
        NoConflict: If the certificates agree, are of different heights, or one is no quorum.
        NamingNeedsPrevotes: If the rounds differ and no such quorum is among `prevotes`.
    """
    if first.height != second.height or first.block_id == second.block_id:
        raise NoConflict("the certificates are not for two blocks of one height")
    early, late = sorted((first, second), key=lambda certificate: certificate.round)
    signers = [signature.voter for signature in early.signatures]
    rivals = [signature.voter for signature in late.signatures]
    for voters in (signers, rivals):
        _check_quorum(voters, committee)
    if early.round != late.round:
        signers, rivals = _between(early, late, committee, prevotes)
    return _common(signers, rivals, committee)


def culprits_of_confirms(
    first: Sequence[Vote], second: Sequence[Vote], committee: Committee
) -> Culprits:
    """Name who stands in the Confirms of both of two payments that share an input [R2].

    Each side has the messages for one of the payments, all of one epoch; that they name it is the
    caller's to check.

    Raises:
        NoConflict: If not all are Confirms of one epoch, or a side is no quorum.
    """
    said = {(vote.kind, vote.epoch): None for vote in (*first, *second)}
    if len(said) != 1 or next(iter(said))[0] is not VoteKind.CONFIRM:
        raise NoConflict("the messages are not Confirms of one epoch")
    signers = [vote.voter for vote in first]
    rivals = [vote.voter for vote in second]
    for voters in (signers, rivals):
        _check_quorum(voters, committee)
    return _common(signers, rivals, committee)


def _between(
    early: CommitCertificate,
    late: CommitCertificate,
    committee: Committee,
    prevotes: Sequence[Ballot],
) -> tuple[list[bytes], list[bytes]]:
    """Return the two quorums whose common members broke the rules, of decisions of two rounds."""
    voters: dict[tuple[int, bytes], list[bytes]] = {}
    for ballot in prevotes:
        if (
            ballot.kind is BallotKind.PREVOTE
            and ballot.height == early.height
            and early.round <= ballot.round <= late.round
            and ballot.block_id is not None
        ):
            voters.setdefault((ballot.round, ballot.block_id), []).append(ballot.voter)
    polkas = [
        key for key in sorted(voters) if committee.weight_of_ids(voters[key]) >= committee.quorum
    ]
    rival = next((key for key in polkas if key[1] != early.block_id), None)
    locked = [signature.voter for signature in early.signatures]
    if rival is not None and rival[0] > early.round:
        return locked, voters[rival]
    own = (early.round, early.block_id)
    if rival is not None and own in polkas:
        return voters[own], voters[rival]
    raise NamingNeedsPrevotes(
        f"the decisions of rounds {early.round} and {late.round} contradict each other; who broke "
        "a lock is told by the prevotes from the one to the other"
    )


def _check_quorum(voters: Iterable[bytes], committee: Committee) -> None:
    weight = committee.weight_of_ids(voters)
    if weight < committee.quorum:
        raise NoConflict(f"a side has weight {weight} where {committee.quorum} is the quorum")


def _common(one: Iterable[bytes], other: Iterable[bytes], committee: Committee) -> Culprits:
    shared = dict.fromkeys(one)
    members = sorted(m for m in dict.fromkeys(other) if m in shared and m in committee)
    return Culprits(tuple(members), committee.weight_of_ids(members))
