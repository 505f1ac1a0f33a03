"""Who spoke for two payments that share an input, against a naive search over all words [N4]."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.consensus.finality import TransactionFinality
from lockstep.consensus.rivals import Conflict
from lockstep.primitives.votes import Entry, Vote, VoteKind
from unit.consensus.test_finality import BATCHES, TXIDS, committee_of, contents, say, words

COINS = [bytes([0xC0 + i]) * 36 for i in range(6)]
spending = st.lists(
    st.lists(st.sampled_from(COINS), min_size=1, max_size=3, unique=True), min_size=8, max_size=8
)


@settings(max_examples=200)
@given(spending, contents, st.lists(words, max_size=25), st.permutations(range(4)), st.data())
def test_whoever_speaks_for_rivals_is_found_whatever_came_when(
    spends: list[list[bytes]],
    batches: list[list[bytes]],
    said: list[tuple[VoteKind, int, list[tuple[int, int]]]],
    order: list[int],
    data: st.DataObject,
) -> None:
    """[N4, B4] Votes before their batch, repeated, regrouped, on copies in other batches."""
    inputs = dict(zip(TXIDS, spends, strict=True))
    votes = [say(word, batches) for word in said]
    events: list[int | Vote] = [*votes, *votes[:4], *order]
    events = data.draw(st.permutations(events))
    finality = TransactionFinality(0, committee_of([1] * 6))
    found: list[Conflict] = []
    for event in events:
        if isinstance(event, int):
            txids = tuple(batches[event])
            progress = finality.add_batch(BATCHES[event], txids, [inputs[t] for t in txids])
        else:
            progress = finality.count(event)
        found += progress.conflicts

    spoken: dict[tuple[VoteKind, int], dict[bytes, None]] = {}
    for vote in votes:
        for entry in vote.entries:
            txids = tuple(batches[BATCHES.index(entry.batch_id)])
            bits = int.from_bytes(entry.bitmap, "little")
            if len(entry.bitmap) == (len(txids) + 7) // 8 and not bits >> len(txids):
                for place, txid in enumerate(txids):
                    if bits >> place & 1:
                        spoken.setdefault((vote.kind, vote.voter[0]), {})[txid] = None
    guilty = {
        index
        for (_, index), txids in spoken.items()
        if any(a != b and set(inputs[a]) & set(inputs[b]) for a in txids for b in txids)
    }
    assert {conflict.member_index for conflict in found} == guilty
    assert len(found) == len(guilty), "each is named once"
    for kind, index, first, second in found:
        assert first != second
        assert set(inputs[first]) & set(inputs[second])
        assert {first, second} <= spoken[kind, index].keys()


def test_an_uncontested_coin_costs_nothing() -> None:
    """[N4] No transaction is marked, so that a count looks at one number and goes on."""
    finality = TransactionFinality(0, committee_of([1, 1, 1, 1]))
    finality.add_batch(BATCHES[0], tuple(TXIDS[:3]), [[coin] for coin in COINS[:3]])
    finality.add_batch(BATCHES[1], (TXIDS[0], TXIDS[3]), [[COINS[0]], [COINS[3]]])
    assert [tally.contested for tally in finality.batches.values()] == [0, 0]
    finality.add_batch(BATCHES[2], (TXIDS[4],), [[COINS[1], COINS[5]]])
    assert [tally.contested for tally in finality.batches.values()] == [0b10, 0, 0b1]
    entry = Entry(BATCHES[0], b"\x07")
    progress = finality.count(Vote(VoteKind.VOTE, 0, bytes(32), (entry,), bytes(64)))
    assert progress.conflicts == []
