"""Bit-sliced counters against plain addition, for any weights [B4]."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.consensus.tally import BatchTally, WeightPlanes
from lockstep.primitives.bitmap import bitmap_bytes, iterate_bits
from lockstep.primitives.committee import Committee, Member
from lockstep.primitives.votes import Entry, Vote, VoteKind

COUNT = 21
BATCH = b"\xbb" * 32
TXIDS = tuple(bytes([i]) * 32 for i in range(COUNT))

bitmaps = st.integers(0, 2**COUNT - 1)


def vote(kind: VoteKind, voter: bytes, bits: int, serial: int = 0) -> Vote:
    entry = Entry(BATCH, bitmap_bytes(bits, COUNT))
    return Vote(kind, 0, voter, (entry,), serial.to_bytes(64, "big"))


@given(
    st.integers(1, 2**41),
    st.lists(st.tuples(bitmaps, st.one_of(st.integers(1, 9), st.integers(1, 2**40))), max_size=40),
)
def test_planes_add_and_compare_as_plain_integers_do(
    threshold: int, additions: list[tuple[int, int]]
) -> None:
    planes = WeightPlanes(COUNT, threshold)
    plain = [0] * COUNT
    for bits, weight in additions:
        planes.add(bits, weight)
        for position in iterate_bits(bits):
            plain[position] += weight
        reached = sum(1 << i for i, total in enumerate(plain) if total >= threshold)
        assert planes.reached() == reached
    assert [planes.weight_at(i) for i in range(COUNT)] == plain
    for bits, _ in additions:
        if bits:
            assert planes.least_weight(bits) == min(plain[i] for i in iterate_bits(bits))


@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=7),
    st.lists(st.tuples(st.sampled_from(VoteKind), st.integers(0, 6), bitmaps), max_size=40),
)
def test_a_member_counts_once_for_a_transaction_and_kind(
    weights: list[int], said: list[tuple[VoteKind, int, int]]
) -> None:
    """Weight is of distinct members, and each quorum is told once [M1, B4]."""
    committee = Committee(
        Member(bytes([i]) * 32, bytes(32), bytes(32), weight, weight, bytes(32))
        for i, weight in enumerate(weights)
    )
    tally = BatchTally(BATCH, TXIDS, committee.quorum)
    plain: dict[tuple[VoteKind, int], dict[int, None]] = {}
    told = dict.fromkeys(VoteKind, 0)
    for serial, (kind, member, bits) in enumerate(said):
        index = member % len(weights)
        message = vote(kind, committee.members[index].member_id, bits, serial)
        reached = tally.count(message, bits, member_index=index, weight=weights[index])
        assert not reached & told[kind]
        told[kind] |= reached
        for position in iterate_bits(bits):
            plain.setdefault((kind, position), {})[index] = None
    for kind in VoteKind:
        for position in range(COUNT):
            voters = sorted(plain.get((kind, position), {}))
            weight = sum(weights[i] for i in voters)
            assert tally.weight_at(kind, position) == weight
            assert told[kind] >> position & 1 == (3 * weight > 2 * sum(weights))
            ids = [committee.members[i].member_id for i in voters]
            assert tally.members_at(kind, position, committee) == ids
            # The messages kept for a transaction make up its certificate by themselves.
            kept = {message.voter for message in tally.messages(kind, 1 << position)}
            assert kept == set(ids)
    assert (tally.certified, tally.final) == (told[VoteKind.VOTE], told[VoteKind.CONFIRM])


def test_what_says_nothing_new_is_not_kept() -> None:
    """A repetition costs no memory, however often it comes [B4]."""
    tally = BatchTally(BATCH, TXIDS, 3)
    voter = b"v" * 32
    for serial in range(100):
        tally.count(vote(VoteKind.VOTE, voter, 7, serial), 7, member_index=0, weight=1)
    assert len(tally.all_messages()) == 1
