"""One epoch of the fast path against a naive count, and its locks, promises and bounds [B3, B4]."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.consensus.finality import Progress, TransactionFinality
from lockstep.errors import Misuse
from lockstep.primitives.bitmap import bitmap_bytes, collect_bits
from lockstep.primitives.committee import Committee, Member
from lockstep.primitives.params import UNKNOWN_ENTRIES_MAX
from lockstep.primitives.votes import Entry, Vote, VoteKind

TXIDS = [bytes([i]) * 32 for i in range(8)]
BATCHES = [bytes([0xB0 + i]) * 32 for i in range(4)]


def committee_of(weights: list[int]) -> Committee:
    return Committee(
        Member(bytes([i]) * 32, bytes([i]) * 32, bytes([i]) * 32, weight, weight, bytes(32))
        for i, weight in enumerate(weights)
    )


contents = st.lists(
    st.lists(st.sampled_from(TXIDS), min_size=1, max_size=12), min_size=4, max_size=4
)
words = st.tuples(
    st.sampled_from(VoteKind),
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2**12 - 1)), min_size=1, max_size=3),
)


def say(word: tuple[VoteKind, int, list[tuple[int, int]]], batches: list[list[bytes]]) -> Vote:
    """Make a vote; bits beyond its batch make an entry that does not fit."""
    kind, member, rows = word
    entries = tuple(
        Entry(
            BATCHES[i], bits.to_bytes((max(len(batches[i]), bits.bit_length()) + 7) // 8, "little")
        )
        for i, bits in rows
    )
    signature = repr((kind, member, rows)).encode().ljust(64)[:64]
    return Vote(kind, 0, bytes([member]) * 32, entries, signature)


@settings(max_examples=150)
@given(
    st.lists(st.integers(1, 7), min_size=6, max_size=6),
    contents,
    st.lists(words, max_size=25),
    st.permutations(range(4)),
    st.data(),
)
def test_count_is_a_set_of_members_whatever_came_when(
    weights: list[int],
    batches: list[list[bytes]],
    said: list[tuple[VoteKind, int, list[tuple[int, int]]]],
    order: list[int],
    data: st.DataObject,
) -> None:
    """Order, repetition, regrouping, aliases, votes before their batch: all the same [B3, B4]."""
    committee = committee_of(weights)
    votes = [say(word, batches) for word in said]
    events: list[int | Vote] = [*votes, *votes[:5]]
    events = data.draw(st.permutations([*events, *order]))
    finality = TransactionFinality(0, committee)
    told: dict[tuple[VoteKind, bytes], int] = {}
    for event in events:
        if isinstance(event, int):
            progress = finality.add_batch(BATCHES[event], tuple(batches[event]))
        else:
            progress = finality.count(event)
        note(progress, told)
    plain: dict[tuple[VoteKind, bytes], dict[int, None]] = {}
    for kind, member, rows in said:
        for i, bits in rows:
            if bits >> len(batches[i]):
                continue  # It does not fit its batch, so it says nothing.
            for position, txid in enumerate(batches[i]):
                if bits >> position & 1:
                    plain.setdefault((kind, txid), {})[member] = None
    for txid in {txid for batch in batches for txid in batch}:
        home = finality.home_of(txid)
        assert home is not None
        for kind in VoteKind:
            weight = sum(weights[m] for m in plain.get((kind, txid), {}))
            assert home[0].weight_at(kind, home[1]) == weight
            assert told.get((kind, txid), 0) == (weight >= committee.quorum)
        assert finality.is_certified(txid) == bool(told.get((VoteKind.VOTE, txid)))
        assert finality.is_final(txid) == bool(told.get((VoteKind.CONFIRM, txid)))
    assert not finality.unknown_batches()


@given(contents, st.lists(st.integers(0, 3) | st.sampled_from([*TXIDS, bytes(32)]), max_size=6))
def test_places_are_found_one_by_one_and_by_whole_batches(
    batches: list[list[bytes]], asked: list[int | bytes]
) -> None:
    """[T8, B4] A block's payments, those of some batches on end, and what no batch has."""
    finality = TransactionFinality(0, committee_of([1] * 4))
    for batch_id, batch in zip(BATCHES, batches, strict=True):
        finality.add_batch(batch_id, tuple(batch))
    txids: list[bytes] = []
    for each in asked:
        txids += batches[each] if isinstance(each, int) else [each]
    plain: dict[bytes, int] = {}
    for txid in txids:
        home = finality.home_of(txid)
        if home is not None:
            plain[home[0].batch_id] = plain.get(home[0].batch_id, 0) | 1 << home[1]
    assert finality.bits_of(tuple(txids)) == plain
    finality.mark_included(tuple(txids))
    assert {i: tally.included for i, tally in finality.batches.items() if tally.included} == plain


def note(progress: Progress, told: dict[tuple[VoteKind, bytes], int]) -> None:
    for tally, kind, bits in progress.reached:
        for position, txid in enumerate(tally.txids):
            if bits >> position & 1:
                told[kind, txid] = told.get((kind, txid), 0) + 1


@pytest.mark.parametrize(
    ("weights", "voters", "is_quorum"),
    [
        ([1, 1, 1, 1], [0, 1, 2], True),
        ([1, 1, 1, 1], [0, 1], False),
        ([4, 3, 2, 2], [0, 1], False),  # 7 of 11 where floor(22 / 3) + 1 = 8 are due.
        ([4, 3, 2, 2], [0, 2, 3], True),
        ([4, 3, 2, 2], [1, 2, 3], False),
        ([10, 1, 1, 1], [1, 2, 3], False),
        ([10, 1, 1, 1], [0], True),
        ([2, 2, 2], [0, 1], False),  # Two thirds are not more than two thirds.
    ],
)
def test_quorum_is_weight_of_members_and_never_a_number_of_votes(
    weights: list[int], voters: list[int], *, is_quorum: bool
) -> None:
    """Q = floor(2W/3) + 1 of all the set's weight [M1, F2, F4]."""
    finality = TransactionFinality(0, committee_of(weights))
    finality.add_batch(BATCHES[0], (TXIDS[0],))
    for voter in voters * 3:
        for kind in VoteKind:
            finality.count(Vote(kind, 0, bytes([voter]) * 32, (Entry(BATCHES[0], b"\1"),), b""))
    assert finality.is_certified(TXIDS[0]) is is_quorum
    assert finality.is_final(TXIDS[0]) is is_quorum


def test_kinds_and_epochs_are_never_added_up() -> None:
    """Votes are no Confirms; another epoch's and a stranger's votes are not counted [M2, M4]."""
    finality = TransactionFinality(3, committee_of([1, 1, 1, 1]))
    finality.add_batch(BATCHES[0], (TXIDS[0],))
    entry = (Entry(BATCHES[0], b"\1"),)
    for voter in (0, 1):
        finality.count(Vote(VoteKind.VOTE, 3, bytes([voter]) * 32, entry, b""))
    finality.count(Vote(VoteKind.CONFIRM, 3, bytes([2]) * 32, entry, b""))
    assert not finality.is_certified(TXIDS[0])
    for epoch, voter in ((2, 2), (4, 2), (3, 9)):
        with pytest.raises(Misuse):
            finality.count(Vote(VoteKind.VOTE, epoch, bytes([voter]) * 32, entry, b""))


def test_entries_for_unknown_batches_are_bounded_a_voter_and_what_falls_out_is_missed() -> None:
    """At most 1,000 a voter, the oldest dropped, and asked for when their batch comes [B3]."""
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    names = [i.to_bytes(32, "big") for i in range(UNKNOWN_ENTRIES_MAX + 50)]
    for voter in (0, 1):
        for start in range(0, len(names), 7):
            rows = tuple(Entry(name, b"\1") for name in names[start : start + 7])
            progress = finality.count(
                Vote(VoteKind.VOTE, 0, bytes([voter]) * 32, rows, b"%d" % start)
            )
            assert progress.unknown == [row.batch_id for row in rows]
    named = dict(finality.unknown_batches())
    assert list(named) == names[50:]
    assert set(map(tuple, named.values())) == {(bytes([0]) * 32, bytes([1]) * 32)}
    assert list(finality.missed) == names[:50]
    for name in names[49:51]:
        finality.add_batch(name, (name,))
    late, kept = (finality.batches[name].weight_at(VoteKind.VOTE, 0) for name in names[49:51])
    assert (late, kept) == (0, 2)
    assert not finality.is_named(names[50])


outpoints = st.lists(st.sampled_from([bytes([i]) * 36 for i in range(6)]), min_size=1, unique=True)


@given(st.lists(st.tuples(st.sampled_from(TXIDS), outpoints), max_size=30))
def test_locks_are_taken_all_or_none_and_never_given_back(
    tries: list[tuple[bytes, list[bytes]]],
) -> None:
    """One txid for an outpoint and epoch, with all its inputs or with none [F1]."""
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    plain: dict[bytes, bytes] = {}
    for txid, inputs in tries:
        free = all(plain.get(outpoint, txid) == txid for outpoint in inputs)
        assert finality.lock(txid, inputs) is free
        if free:
            plain.update(dict.fromkeys(inputs, txid))
        for outpoint in (bytes([i]) * 36 for i in range(6)):
            assert finality.holder_of(outpoint) == plain.get(outpoint)


def test_a_rival_of_what_was_confirmed_is_found_on_any_input() -> None:
    """No other txid on any of its inputs is confirmed in the epoch [F3]."""
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    a, b, c = (bytes([i]) * 36 for i in range(3))
    finality.confirm(TXIDS[0], [a, b])
    assert finality.confirmed_rival(TXIDS[1], [c, b]) == TXIDS[0]
    assert finality.confirmed_rival(TXIDS[0], [a, b]) is None
    assert finality.confirmed_rival(TXIDS[1], [c]) is None


def test_what_was_locked_and_confirmed_is_a_rival_though_nobody_noted_its_coins() -> None:
    """[F3] The bit of a payment that was voted for is enough, wherever it is counted."""
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    a, b, c = (bytes([i]) * 36 for i in range(3))
    finality.add_batch(BATCHES[0], tuple(TXIDS[:2]), [[a, b], [c]])
    finality.add_batch(BATCHES[1], (TXIDS[2], TXIDS[0]), [[b], [a, b]])
    assert finality.lock(TXIDS[0], [a, b])
    assert finality.lock(TXIDS[1], [c])
    assert finality.confirmed_rival(TXIDS[2], [b]) is None
    finality.mark_own(VoteKind.CONFIRM, BATCHES[1], 0b10)
    assert finality.confirmed_rival(TXIDS[2], [b]) == TXIDS[0]
    assert not finality.confirm(TXIDS[2], [b])
    assert finality.confirmed_rival(TXIDS[0], [a, b]) is None
    assert finality.confirm(TXIDS[2], [c])
    assert finality.confirmed_rival(TXIDS[1], [c]) == TXIDS[2]


def test_together_all_coins_are_locked_or_none() -> None:
    """[F1]."""
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    a, b, c = (bytes([i]) * 36 for i in range(3))
    assert finality.lock_all({a: TXIDS[0], b: TXIDS[0]})
    assert not finality.lock_all({c: TXIDS[1], b: TXIDS[1]})
    assert [finality.holder_of(coin) for coin in (a, b, c)] == [TXIDS[0], TXIDS[0], None]


def test_a_batch_with_one_transaction_twice_counts_it_once() -> None:
    """A txid is counted as such, in whichever place of whichever batch [B4]."""
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    finality.add_batch(BATCHES[0], (TXIDS[0], TXIDS[0]))
    finality.add_batch(BATCHES[1], (TXIDS[1], TXIDS[0]))
    both = bitmap_bytes(collect_bits([0, 1]), 2)
    for voter, rows in (
        (0, (Entry(BATCHES[0], both),)),
        (1, (Entry(BATCHES[1], both), Entry(BATCHES[0], both))),
        (1, (Entry(BATCHES[0], b"\2"),)),
    ):
        finality.count(Vote(VoteKind.VOTE, 0, bytes([voter]) * 32, rows, bytes([len(rows)])))
    tally, position = finality.place_of(TXIDS[0])
    assert (tally.batch_id, position) == (BATCHES[0], 0)
    assert tally.weight_at(VoteKind.VOTE, 0) == 2
    with pytest.raises(Misuse):
        finality.place_of(TXIDS[5])


@settings(max_examples=200)
@given(
    st.lists(st.integers(1, 7), min_size=6, max_size=6),
    contents,
    st.lists(words, max_size=12),
    st.lists(words, min_size=1, max_size=4),
    st.lists(st.integers(0, 3), unique=True),
)
def test_words_that_may_complete_nothing_complete_nothing(
    weights: list[int],
    batches: list[list[bytes]],
    said: list[tuple[VoteKind, int, list[tuple[int, int]]]],
    waiting: list[tuple[VoteKind, int, list[tuple[int, int]]]],
    held: list[int],
) -> None:
    """Who waits because of that loses nothing, in whatever order the words come [F2, F4]."""
    finality = TransactionFinality(0, committee_of(weights))
    for place in held:
        finality.add_batch(BATCHES[place], tuple(batches[place]))
    for word in said:
        finality.count(say(word, batches))
    votes = [say(word, batches) for word in waiting]
    voters: dict[tuple[VoteKind, bytes], set[bytes]] = {}
    for vote in votes:
        for entry in vote.entries:
            voters.setdefault((vote.kind, entry.batch_id), set()).add(vote.voter)
    if any(finality.may_complete(kind, at, names) for (kind, at), names in voters.items()):
        return
    for vote in votes:
        progress = finality.count(vote)
        assert progress.reached == []
        assert progress.unknown == []


def test_one_word_of_two_that_are_needed_may_wait_and_so_may_a_fourth() -> None:
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    names = [bytes([i]) * 32 for i in range(4)]
    assert finality.may_complete(VoteKind.VOTE, BATCHES[0], names[:1])
    finality.add_batch(BATCHES[0], (TXIDS[0], TXIDS[1]))
    assert not finality.may_complete(VoteKind.VOTE, BATCHES[0], names[:2])
    assert not finality.may_complete(VoteKind.VOTE, BATCHES[0], [*names[:2], b"?" * 32])
    assert finality.may_complete(VoteKind.VOTE, BATCHES[0], names[:3])
    for member in (0, 1):
        finality.count(say((VoteKind.VOTE, member, [(0, 0b11)]), [[*TXIDS[:2]]]))
    assert not finality.may_complete(VoteKind.CONFIRM, BATCHES[0], names[:1])
    assert not finality.may_complete(VoteKind.VOTE, BATCHES[0], names[1:2])
    assert finality.may_complete(VoteKind.VOTE, BATCHES[0], names[2:3])
    finality.count(say((VoteKind.VOTE, 2, [(0, 0b01)]), [[*TXIDS[:2]]]))
    assert finality.may_complete(VoteKind.VOTE, BATCHES[0], names[3:])
    finality.count(say((VoteKind.VOTE, 2, [(0, 0b10)]), [[*TXIDS[:2]]]))
    assert not finality.may_complete(VoteKind.VOTE, BATCHES[0], names[3:])
