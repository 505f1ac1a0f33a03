"""Evidence: each kind holds as it was made, and in no other way [N4]."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from building import Chain, make_genesis
from lockstep.errors import Rejected
from lockstep.ledger.evidence import (
    check_evidence_list,
    is_used,
    note_used,
    verify_evidence,
)
from lockstep.ledger.state import ChainState, initial_state
from lockstep.primitives import codec
from lockstep.primitives.block import BallotKind
from lockstep.primitives.evidence import (
    ConflictingBallots,
    ConflictingFreezes,
    ConflictingProposals,
    ConflictingVotes,
    Evidence,
    OmittedConfirm,
    SignedDigest,
    SpokenPayment,
    decode_evidence,
    evidence_subject,
    make_conflicting_freezes,
    make_conflicting_votes,
)
from lockstep.primitives.params import EVIDENCE_BYTES_MAX
from lockstep.primitives.transaction import make_txid
from lockstep.primitives.votes import VoteKind
from unit.ledger.accusing import VERIFIER, Accuser, Ledger
from unit.ledger.planting import chain_at, reheaded
from unit.ledger.planting import code_of as planted_code

GENESIS = make_genesis(coins=32, closing_every=4)
ACCUSER = Accuser(GENESIS)
KINDS = ACCUSER.all_kinds(1)
NAMES = [f"{type(piece).__name__}-{place}" for place, piece in enumerate(KINDS)]


def state_at(height: int, *, used: tuple[tuple[int, bytes], ...] = ()) -> ChainState:
    """The state of a chain of this height, as far as evidence looks at it."""
    epoch = height // GENESIS.closing_every
    return replace(initial_state(GENESIS), height=height, epoch=epoch, evidence_used=used)


def code_of(
    evidence: Evidence,
    *,
    height: int = 3,
    view: Ledger | None = None,
    used: tuple[tuple[int, bytes], ...] = (),
) -> str:
    """Return the code under which a piece is refused, or "" where it holds."""
    try:
        verify_evidence(
            evidence,
            genesis=GENESIS,
            state=state_at(height, used=used),
            view=view or Ledger(),
            verifier=VERIFIER,
        )
    except Rejected as fault:
        return fault.code
    return ""


@pytest.mark.parametrize("piece", KINDS, ids=NAMES)
def test_every_kind_holds_for_a_hundred_epochs(piece: Evidence) -> None:
    """[N4] And it survives its encoding."""
    assert decode_evidence(codec.encode(piece)) == piece
    assert [code_of(piece, height=height) for height in (3, 4, 40, 403)] == [""] * 4
    assert code_of(piece, height=404) == "evidence.expired"


@pytest.mark.parametrize("piece", ACCUSER.all_kinds(2, epoch=5), ids=NAMES)
def test_no_piece_holds_before_its_time(piece: Evidence) -> None:
    """[N4] A FREEZE is judged only from the closing height on."""
    assert code_of(piece, height=19) == "evidence.early"
    expected = "evidence.early" if isinstance(piece, OmittedConfirm) else ""
    assert [code_of(piece, height=height) for height in (20, 22, 23)] == [expected, expected, ""]


@pytest.mark.parametrize("piece", KINDS, ids=NAMES)
def test_a_member_and_epoch_is_used_once(piece: Evidence) -> None:
    """[N4] Another member's, or another epoch's, says nothing."""
    member = piece.member
    assert code_of(piece, used=((0, member),)) == "evidence.used"
    others = tuple(sorted([(0, ACCUSER.ids[0]), (0, ACCUSER.ids[2]), (1, member)]))
    assert code_of(piece, used=others) == ""


def changed_leaves(value: Any) -> Iterator[Any]:
    """Yield the value with one of its parts changed, each part in its turn."""
    if isinstance(value, bool | None):
        return
    if isinstance(value, BallotKind | VoteKind):
        yield type(value)(3 - value)
    elif isinstance(value, int):
        yield value + 1
        if value:
            yield value - 1
    elif isinstance(value, bytes):
        yield bytes([value[0] ^ 1]) + value[1:] if value else b"\x01" * 32
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            for other in changed_leaves(part):
                yield (*value[:place], other, *value[place + 1 :])
        yield (*value, b"\x55" * 32)
    else:
        for field in value.__struct_fields__:
            for other in changed_leaves(getattr(value, field)):
                yield replace(value, **{field: other})


@pytest.mark.parametrize("piece", KINDS, ids=NAMES)
def test_no_part_of_a_piece_may_differ(piece: Evidence) -> None:
    """[N4, M2] Whatever is changed, nothing is proved any more; only prices of entries may lie."""
    spared = 0
    for bad in changed_leaves(piece):
        code = code_of(bad)
        # The number of entries is signed by nobody and only tells left from right: another number
        # that gives the same turns shows the same entry of the same message.
        if code == "" and describes_the_same(bad, piece):
            spared += 1
            continue
        assert code.startswith("evidence."), (code, bad)
    assert spared <= 2


def describes_the_same(one: Evidence, other: Evidence) -> bool:
    """Tell whether two pieces differ in the number of entries alone."""

    def blank(evidence: Evidence) -> Evidence:
        fields = {
            name: replace(half, entry_count=0)
            for name in evidence.__struct_fields__
            if isinstance(half := getattr(evidence, name), SpokenPayment)
        }
        return replace(evidence, **fields)

    return one != other and blank(one) == blank(other)


FALSE: dict[str, tuple[str, Callable[[], Evidence]]] = {
    "a stranger": ("evidence.stranger", lambda: replace(KINDS[2], member=b"\x99" * 32)),
    "another member": ("evidence.signature", lambda: replace(KINDS[2], member=ACCUSER.ids[0])),
    "another chain": (
        "evidence.signature",
        lambda: Accuser(make_genesis(coins=31, closing_every=4)).freezes(1),
    ),
    "one digest": ("evidence.order", lambda: ACCUSER.freezes(1, lists=((), ()))),
    "one value": (
        "evidence.order",
        lambda: ACCUSER.ballots(1, values=(b"\x07" * 32, b"\x07" * 32)),
    ),
    "nil twice": ("evidence.order", lambda: ACCUSER.ballots(1, values=(None, None))),
    "times alone": (
        "evidence.order",
        lambda: ACCUSER.ballots(
            1, kind=BallotKind.PRECOMMIT, values=(b"\x07" * 32, b"\x07" * 32), times=(5, 6)
        ),
    ),
    "one word": (
        "evidence.order",
        lambda: ACCUSER.proposals(1, words=((b"\x01" * 32, 0), (b"\x01" * 32, 0))),
    ),
    "another epoch's height": (
        "evidence.epoch",
        lambda: replace(ACCUSER.ballots(1), epoch=1),
    ),
    "no height": ("evidence.epoch", lambda: replace(ACCUSER.ballots(1), height=0)),
    "no shared input": (
        "evidence.inputs",
        lambda: ACCUSER.votes(1, payments=(ACCUSER.payment(0), ACCUSER.payment(1))),
    ),
    "one payment in two batches": (
        "evidence.order",
        lambda: ACCUSER.votes(1, payments=(ACCUSER.payment(0), ACCUSER.payment(0))),
    ),
    "a listed payment": (
        "evidence.list",
        lambda: ACCUSER.omission(1, listed=[make_txid(ACCUSER.payment(21, 22).body)]),
    ),
    "a list out of order": (
        "evidence.list",
        lambda: replace(ACCUSER.omission(1), listed=b"\x02" * 32 + b"\x01" * 32),
    ),
    "a list with a txid twice": (
        "evidence.list",
        lambda: replace(ACCUSER.omission(1), listed=b"\x02" * 64),
    ),
    "half a txid": ("evidence.list", lambda: replace(ACCUSER.omission(1), listed=b"\x02" * 16)),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_pieces_have_their_own_codes(name: str) -> None:
    """[N4]."""
    expected, make = FALSE[name]
    assert code_of(make(), height=7) == expected


def test_a_vote_and_a_confirm_are_no_pair() -> None:
    """[N4] Nor are two epochs' Votes: the one signature that does not fit shows it."""
    vote, confirm = ACCUSER.votes(1), ACCUSER.votes(1, kind=VoteKind.CONFIRM)
    mixed = make_conflicting_votes(
        member=vote.member, epoch=0, kind=VoteKind.VOTE, words=(vote.first, confirm.second)
    )
    later = make_conflicting_votes(
        member=vote.member,
        epoch=0,
        kind=VoteKind.VOTE,
        words=(vote.first, ACCUSER.votes(1, epoch=1).second),
    )
    assert [code_of(mixed), code_of(later)] == ["evidence.signature"] * 2


def swapped(piece: Evidence) -> Evidence:
    """The same piece with its halves in the other order."""
    assert isinstance(
        piece, ConflictingVotes | ConflictingFreezes | ConflictingBallots | ConflictingProposals
    )
    return replace(piece, first=piece.second, second=piece.first)


def test_a_pair_has_one_form() -> None:
    """[N4] Whoever found it, in whichever order."""
    for piece in KINDS[:-1]:
        assert code_of(swapped(piece)) == "evidence.order"
    pair = (ACCUSER.payment(0, 1), ACCUSER.payment(0, 2))
    assert ACCUSER.freezes(1, lists=((), (b"\x05" * 32,))) == ACCUSER.freezes(
        1, lists=((b"\x05" * 32,), ())
    )
    assert ACCUSER.ballots(1, values=(None, b"\x07" * 32)) == ACCUSER.ballots(
        1, values=(b"\x07" * 32, None)
    )
    one, other = ACCUSER.votes(1, payments=pair), ACCUSER.votes(1, payments=(pair[1], pair[0]))
    assert [make_txid(one.first.body), make_txid(one.second.body)] == [
        make_txid(other.first.body),
        make_txid(other.second.body),
    ]


def test_the_chain_excuses_what_a_freeze_need_not_list() -> None:
    """[N4, T5] In the chain below, or an input gone: an honest member might have done it."""
    piece = ACCUSER.omission(1)
    txid = make_txid(piece.confirm.body)
    view = Ledger()
    for height, expected in ((1, "evidence.excused"), (3, "evidence.excused"), (4, ""), (9, "")):
        view.heights[txid] = height
        assert code_of(piece, height=12, view=view) == expected
    # In the closing block its inputs are gone by itself, which excuses nothing.
    view.gone[piece.confirm.body.inputs[1]] = None
    assert code_of(piece, height=12, view=view) == ""
    del view.heights[txid]
    assert code_of(piece, height=12, view=view) == "evidence.unclear"


def list_code(pieces: list[bytes], *, height: int = 7, certified: bool = False) -> str:
    try:
        check_evidence_list(
            pieces,
            genesis=GENESIS,
            state=state_at(height),
            view=Ledger(),
            verifier=None if certified else VERIFIER,
            known={},
        )
    except Rejected as fault:
        return fault.code
    return ""


def test_a_blocks_list_is_in_order_and_names_each_once() -> None:
    """[N4, T2]."""
    pieces = [make(i, epoch) for epoch in (0, 1) for i in range(4) for make in (ACCUSER.freezes,)]
    ordered = [codec.encode(p) for p in sorted(pieces, key=lambda p: (p.epoch, p.member))]
    assert list_code(ordered) == ""
    assert list_code(ordered[::-1]) == "block.evidence"
    assert list_code([*ordered[:3], *ordered[2:]]) == "block.evidence"
    again = codec.encode(ACCUSER.ballots(ACCUSER.ids.index(decode_evidence(ordered[0]).member)))
    assert list_code([ordered[0], again]) == "block.evidence"
    assert list_code([*ordered, b"\x00"]) == "bytes.malformed"


def test_a_certificate_vouches_for_signatures_alone() -> None:
    """[T9] Everything else of a certified block's evidence is judged as ever."""
    piece = ACCUSER.freezes(1)
    unsigned = replace(piece, first=replace(piece.first, signature=bytes(64)))
    assert list_code([codec.encode(unsigned)]) == "evidence.signature"
    assert list_code([codec.encode(unsigned)], certified=True) == ""
    assert list_code([codec.encode(swapped(piece))], certified=True) == "evidence.order"


def test_a_list_is_bounded_in_bytes() -> None:
    """[N4] A megabyte in all; a list of txids that alone exceeds it is no evidence."""
    txids = [i.to_bytes(32, "big") for i in range(20_000)]
    rows = [codec.encode(ACCUSER.omission(i, listed=txids)) for i in range(4)]
    rows.sort(key=lambda row: decode_evidence(row).member)
    assert 2 * len(rows[0]) > EVIDENCE_BYTES_MAX
    assert list_code(rows[:1]) == ""
    assert list_code(rows[:2]) == "block.evidence"
    with pytest.raises(Rejected):
        decode_evidence(codec.encode(ACCUSER.omission(1, listed=[b"\x01" * 32] * 40_000)))


def test_what_is_used_is_forgotten_with_its_time() -> None:
    """[N4] The chain keeps the current epoch and the hundred before, in one order."""
    used: tuple[tuple[int, bytes], ...] = ()
    for epoch in range(150):
        subjects = [(ACCUSER.ids[i], max(0, epoch - i)) for i in range(3)]
        fresh = [s for s in subjects if not is_used(replace(state_at(0), evidence_used=used), s)]
        used = note_used(used, fresh, epoch=epoch)
        assert list(used) == sorted(set(used))
        assert all(epoch - row[0] <= 100 for row in used)
        state = replace(state_at(0), evidence_used=used)
        assert all(is_used(state, subject) for subject in subjects)
        assert not is_used(state, (ACCUSER.ids[3], epoch))
    assert {evidence_subject(piece) for piece in KINDS} == {(ACCUSER.ids[1], 0)}


def conflict(chain: Chain, member: int, *, memo: int = 0) -> bytes:
    """Evidence against a member for the chain's epoch, with real signatures."""
    name = chain.committee.members[member].member_id
    freezes = [chain.freeze(name, [bytes([i, memo]) * 16]) for i in (1, 2)]
    one, other = (SignedDigest(freeze.digest, freeze.signature) for freeze in freezes)
    epoch = chain.state.epoch
    return codec.encode(make_conflicting_freezes(member=name, epoch=epoch, words=(one, other)))


@pytest.mark.parametrize("height", [2, 4])
def test_blocks_of_both_kinds_carry_evidence_once(height: int) -> None:
    """[N4, T2] The root binds it, the state remembers it, the next block may not repeat it."""
    chain = chain_at(height)
    pieces = tuple(conflict(chain, member) for member in (0, 2, 3))
    plain = chain.assemble()
    block = reheaded(chain, replace(plain, evidence=pieces))
    for bad, code in (
        (replace(plain, evidence=pieces), "block.header"),
        (replace(block, evidence=()), "block.header"),
        (replace(block, evidence=pieces[:2]), "block.header"),
        (reheaded(chain, replace(block, evidence=pieces[::-1])), "block.evidence"),
        (reheaded(chain, replace(block, evidence=(*pieces, pieces[2]))), "block.evidence"),
        (reheaded(chain, replace(block, evidence=(*pieces, b"\x90"))), "bytes.malformed"),
    ):
        assert [planted_code(chain, bad, certified=c) for c in (False, True)] == [code] * 2
    chain.add(block)
    members = [chain.committee.members[place].member_id for place in (0, 2, 3)]
    assert chain.state.evidence_used == tuple((0, member) for member in members)
    for piece in (pieces[0], conflict(chain, 2, memo=9)):
        again = reheaded(chain, replace(chain.assemble(), evidence=(piece,)))
        expected = "" if height == 4 and piece != pieces[0] else "evidence.used"
        assert planted_code(chain, again) == expected
    chain.grow(4)
    assert chain.state.evidence_used == tuple((0, member) for member in members)
