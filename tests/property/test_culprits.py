"""Two quorums that contradict each other name more than a third of the weight [R2]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from building import make_genesis
from lockstep.ledger.culprits import (
    Culprits,
    NamingNeedsPrevotes,
    NoConflict,
    culprits_of_commits,
    culprits_of_confirms,
)
from lockstep.primitives.block import Ballot, BallotKind, CommitCertificate, CommitSignature
from lockstep.primitives.committee import Committee
from lockstep.primitives.votes import Entry, Vote, VoteKind

ONE, TWO, THREE = (bytes([i]) * 32 for i in (1, 2, 3))
WEIGHTS = st.lists(st.sampled_from([1, 1, 2, 5, 10, 100]), min_size=4, max_size=9)


@st.composite
def committees(draw: st.DrawFn) -> Committee:
    return make_genesis(tuple(draw(WEIGHTS))).committee


@st.composite
def quorums(draw: st.DrawFn, committee: Committee) -> list[bytes]:
    """Draw members of quorum weight: a shuffled prefix that suffices, and perhaps more."""
    ids = draw(st.permutations([member.member_id for member in committee.members]))
    least = next(
        n for n in range(len(ids) + 1) if committee.weight_of_ids(ids[:n]) >= committee.quorum
    )
    return ids[: draw(st.integers(least, len(ids)))]


def commit(round_number: int, block_id: bytes, voters: list[bytes]) -> CommitCertificate:
    signatures = tuple(CommitSignature(voter, 1, bytes(64)) for voter in sorted(voters))
    return CommitCertificate(7, round_number, block_id, signatures)


def prevotes(round_number: int, block_id: bytes | None, voters: list[bytes]) -> list[Ballot]:
    return [
        Ballot(BallotKind.PREVOTE, 7, round_number, block_id, 0, voter, bytes(64))
        for voter in voters
    ]


def confirms(epoch: int, voters: list[bytes]) -> list[Vote]:
    entry = Entry(bytes(32), b"\x01")
    return [Vote(VoteKind.CONFIRM, epoch, voter, (entry,), bytes(64)) for voter in voters]


def holds(found: Culprits, committee: Committee, sides: tuple[list[bytes], list[bytes]]) -> None:
    """More than a third, and nobody who stands on one side only."""
    assert list(found.members) == sorted(m for m in sides[0] if m in sides[1])
    assert found.weight == committee.weight_of_ids(found.members)
    assert 3 * found.weight > committee.total_weight


@given(st.data(), committees())
def test_two_decisions_of_one_round(data: st.DataObject, committee: Committee) -> None:
    """[R2] Whoever signed both."""
    one, other = data.draw(quorums(committee)), data.draw(quorums(committee))
    first, second = commit(3, ONE, one), commit(3, TWO, other)
    holds(culprits_of_commits(first, second, committee), committee, (one, other))
    assert culprits_of_commits(second, first, committee) == culprits_of_commits(
        first, second, committee
    )


@given(st.data(), committees())
def test_two_final_payments_of_one_epoch(data: st.DataObject, committee: Committee) -> None:
    """[R2] Whoever confirmed both."""
    one, other = data.draw(quorums(committee)), data.draw(quorums(committee))
    found = culprits_of_confirms(confirms(4, one), confirms(4, other), committee)
    holds(found, committee, (one, other))
    with pytest.raises(NoConflict):
        culprits_of_confirms(confirms(4, one), confirms(5, other), committee)


@given(st.data(), committees())
def test_decisions_of_two_rounds(data: st.DataObject, committee: Committee) -> None:
    """[R2] Those who left their lock before anybody had a reason to; not who did so after."""
    locked, late = data.draw(quorums(committee)), data.draw(quorums(committee))
    breakers, followers = data.draw(quorums(committee)), data.draw(quorums(committee))
    first, second = commit(1, ONE, locked), commit(6, TWO, late)
    said = [
        *prevotes(2, None, late),
        *prevotes(3, ONE, locked),
        *prevotes(4, TWO, breakers),
        *prevotes(5, THREE, followers),
        *prevotes(6, TWO, followers),
    ]
    said = data.draw(st.permutations(said))
    holds(culprits_of_commits(second, first, committee, said), committee, (locked, breakers))
    with pytest.raises(NamingNeedsPrevotes):
        culprits_of_commits(first, second, committee)
    with pytest.raises(NamingNeedsPrevotes):
        culprits_of_commits(first, second, committee, prevotes(3, ONE, locked))


@given(st.data(), committees())
def test_a_quorum_of_the_first_round_itself(data: st.DataObject, committee: Committee) -> None:
    """[R2] It frees every lock, so that only who prevoted twice in that round is to blame."""
    locked, late = data.draw(quorums(committee)), data.draw(quorums(committee))
    one, other = data.draw(quorums(committee)), data.draw(quorums(committee))
    first, second = commit(1, ONE, locked), commit(2, TWO, late)
    said = [*prevotes(1, ONE, one), *prevotes(1, TWO, other), *prevotes(2, TWO, late)]
    holds(culprits_of_commits(first, second, committee, said), committee, (one, other))
    with pytest.raises(NamingNeedsPrevotes):
        culprits_of_commits(first, second, committee, prevotes(1, TWO, other))


def test_no_conflict_names_nobody() -> None:
    """[R2] One block, two heights, or less than a quorum."""
    committee = make_genesis((1, 1, 1, 1)).committee
    ids = [member.member_id for member in committee.members]
    whole, half = commit(1, ONE, ids), commit(2, TWO, ids[:2])
    other_height = CommitCertificate(8, 2, TWO, whole.signatures)
    for rival in (whole, commit(2, ONE, ids), half, other_height):
        with pytest.raises(NoConflict):
            culprits_of_commits(whole, rival, committee)
    with pytest.raises(NoConflict):
        culprits_of_confirms(confirms(1, ids), confirms(1, ids[:2]), committee)
