"""A signature is good for one kind, chain, epoch, height and round, and for nothing else [M2]."""

from building import secret
from lockstep.crypto.keys import verify
from lockstep.primitives.block import BallotKind, make_ballot_digest, make_proposal_digest
from lockstep.primitives.transaction import make_spend_digest
from lockstep.primitives.votes import Entry, VoteKind, make_freeze_digest, make_vote_digest

CHAINS = (b"\x01" * 32, b"\x02" * 32)
VALUE = b"\x09" * 32
ENTRIES = (Entry(VALUE, b"\x01"),)


def make_digests() -> dict[tuple[object, ...], bytes]:
    """Return the digest of one content under every kind, chain and place in time."""
    digests: dict[tuple[object, ...], bytes] = {}
    for chain in CHAINS:
        digests["spend", chain] = make_spend_digest(chain, VALUE)
        for epoch in (1, 2):
            digests["freeze", chain, epoch] = make_freeze_digest(
                chain_id=chain, epoch=epoch, digest=VALUE
            )
            for kind in VoteKind:
                digests[kind, chain, epoch] = make_vote_digest(
                    chain_id=chain, kind=kind, epoch=epoch, entries=ENTRIES
                )
        for height, round_number in ((1, 1), (1, 2), (2, 1)):
            for valid_round in (-1, 0):
                digests["proposal", chain, height, round_number, valid_round] = (
                    make_proposal_digest(
                        chain_id=chain,
                        height=height,
                        round_number=round_number,
                        block_id=VALUE,
                        valid_round=valid_round,
                    )
                )
            for ballot in BallotKind:
                for value in (VALUE, None):
                    for time_ms in (0, 1):
                        place = (ballot, chain, height, round_number, value, time_ms)
                        digests[place] = make_ballot_digest(
                            chain_id=chain,
                            kind=ballot,
                            height=height,
                            round_number=round_number,
                            block_id=value,
                            time_ms=time_ms,
                        )
    return digests


def test_every_meaning_has_its_own_digest() -> None:
    """[M2, L2]."""
    digests = make_digests()
    assert len(digests) == 74
    assert len(set(digests.values())) == len(digests)


def test_no_signature_can_be_replayed_as_another() -> None:
    """[M2] The whole square: each signature verifies for its own meaning alone."""
    key = secret(5)
    chosen = [
        (place, digest)
        for place, digest in make_digests().items()
        if len(place) < 5 or place[2:4] == (1, 1)
    ]
    assert len({(type(place[0]), place[0]) for place, _ in chosen}) == 7
    for place, digest in chosen:
        signature = key.sign(digest)
        for other, message in chosen:
            assert verify(key.public_key, message, signature) == (place == other)


def test_entries_cannot_be_regrouped_under_one_signature() -> None:
    """[B2] Batch, bitmap and their order are all in what is signed."""
    first, second = Entry(VALUE, b"\x01"), Entry(bytes(32), b"\x01")
    lists: list[tuple[Entry, ...]] = [
        (first,),
        (second,),
        (first, second),
        (second, first),
        (first, first),
        (Entry(VALUE, b"\x02"),),
        (Entry(VALUE, b"\x01\x01"),),
    ]
    digests = {
        make_vote_digest(chain_id=VALUE, kind=VoteKind.VOTE, epoch=1, entries=entries)
        for entries in lists
    }
    assert len(digests) == len(lists)
