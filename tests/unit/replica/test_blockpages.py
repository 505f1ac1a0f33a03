"""Fetched blocks: pages in order and bounded, and no body passes under another's header [T9]."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from lockstep.crypto.hashing import merkle_root
from lockstep.crypto.keys import SecretKey, SignatureCheck, SodiumVerifier
from lockstep.errors import LockstepError
from lockstep.primitives import codec
from lockstep.primitives.block import (
    BallotKind,
    Block,
    BlockHeader,
    CommitCertificate,
    CommitSignature,
    make_ballot_digest,
    make_block_id,
    make_commit_hash,
    make_evidence_root,
)
from lockstep.primitives.committee import Committee, Member, make_member_id
from lockstep.primitives.messages import BlockPage, DecidedBlock
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    VerifiedTransaction,
    Witness,
    make_leaf,
    make_spend_digest,
    make_txid,
)
from lockstep.replica.blockpages import PAGES_MAX, BlockAssembler, NextPage, WholeBlock, judge_block
from lockstep.replica.events import BlockFetched
from lockstep.replica.witnesses import derive_transaction

CHAIN = b"\x01" * 32
EMPTY: Mapping[bytes, VerifiedTransaction] = MappingProxyType({})
PEER, OTHER = b"\x07" * 32, b"\x08" * 32
KEYS = [SecretKey(bytes([i]) * 32) for i in range(1, 5)]
COMMITTEE = Committee(
    Member(make_member_id(k.public_key), k.public_key, k.public_key, 1, 10, bytes(32)) for k in KEYS
)


class Known:
    """One committee for the first ten heights."""

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        return COMMITTEE if epoch == 0 else None

    def committee_for_height(self, height: int) -> Committee | None:
        return COMMITTEE if height <= 10 else None


class Counting(SodiumVerifier):
    """Notes how many checks each call was for."""

    asked: ClassVar[list[int]] = []

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        self.asked.append(len(checks))
        return super().verify_many(checks)


def payment(number: int) -> Transaction:
    body = TransactionBody(1, (number.to_bytes(36),), (TransactionOutput(9000, bytes(32)),), b"")
    signature = KEYS[0].sign(make_spend_digest(CHAIN, make_txid(body)))
    return Transaction(body, (Witness(Policy(1, (KEYS[0].public_key,)), 1, (signature,)),))


def certify(header: BlockHeader, *, signers: list[SecretKey] = KEYS[:3]) -> CommitCertificate:
    block_id = make_block_id(header)
    digest = make_ballot_digest(
        chain_id=CHAIN,
        kind=BallotKind.PRECOMMIT,
        height=header.height,
        round_number=0,
        block_id=block_id,
        time_ms=5,
    )
    signatures = tuple(
        CommitSignature(make_member_id(k.public_key), 5, k.sign(digest)) for k in signers
    )
    return CommitCertificate(header.height, 0, block_id, signatures)


def decided(*payments: Transaction, height: int = 2) -> DecidedBlock:
    transactions = payments or (payment(1), payment(2))
    leaves = [make_leaf(make_txid(t.body), t.witnesses) for t in transactions]
    header = BlockHeader(
        version=1,
        chain_id=CHAIN,
        height=height,
        previous=bytes(32),
        previous_closing=CHAIN,
        epoch=0,
        time_ms=4,
        transaction_root=merkle_root(leaves),
        set_hash=COMMITTEE.set_hash,
        evidence_root=make_evidence_root(()),
        previous_commit_hash=make_commit_hash(None),
        proposer=bytes(32),
        closing=None,
    )
    return DecidedBlock(Block(header, None, transactions, (), ()), certify(header))


def judge(
    block: DecidedBlock, *, height: int = 2, held: Mapping[bytes, VerifiedTransaction] = EMPTY
) -> BlockFetched:
    return judge_block(
        codec.encode(block),
        height=height,
        peer=PEER,
        chain_id=CHAIN,
        lookup=Known(),
        verifier=Counting(),
        find_verified=held.get,
    )


def refusal(block: DecidedBlock, *, height: int = 2) -> str:
    with pytest.raises(LockstepError) as caught:
        judge(block, height=height)
    return caught.value.code


def test_a_good_block_is_fetched_with_its_transactions() -> None:
    fetched = judge(decided())
    assert fetched.decided == decided()
    assert [v.transaction for v in fetched.transactions] == [payment(1), payment(2)]


def test_a_held_payment_is_verified_again_only_where_other_witnesses_stand_in_the_block() -> None:
    """[T9] What was judged in a batch is known by txid and leaf; a txid alone says nothing."""
    good = decided()
    first, second = (derive_transaction(row) for row in good.block.transactions)
    forged = structs.replace(
        payment(1), witnesses=(Witness(Policy(1, (KEYS[1].public_key,)), 1, (bytes(64),)),)
    )
    Counting.asked.clear()
    assert judge(good, held={first.txid: first}) == judge(good)
    assert judge(good, held={first.txid: derive_transaction(forged)}) == judge(good)
    alone = len(good.certificate.signatures)
    assert Counting.asked == [alone + 1, alone + 2, alone + 2, alone + 2]
    with pytest.raises(LockstepError):
        judge(decided(forged, payment(2)), held={first.txid: first, second.txid: second})


def test_another_body_under_a_good_header_is_refused() -> None:
    """Otherwise one peer could make a node believe that a certified block is invalid [T9]."""
    good = decided()
    other = certify(good.block.header)
    for changes in (
        {"transactions": (payment(1),)},
        {"transactions": (payment(2), payment(1))},
        {"transactions": (payment(1), payment(2), payment(2))},
        {"previous_commit": other},
    ):
        block = structs.replace(good.block, **changes)
        assert refusal(structs.replace(good, block=block)) == "block.wrong"
    spoilt = structs.replace(payment(2), witnesses=payment(1).witnesses)
    block = structs.replace(good.block, transactions=(payment(1), spoilt))
    assert refusal(structs.replace(good, block=block)) == "block.wrong"


def test_a_certificate_must_be_of_this_block_with_quorum_of_distinct_members() -> None:
    good = decided()
    header = good.block.header
    other = structs.replace(header, time_ms=9)
    for certificate in (
        certify(other),
        certify(header, signers=KEYS[:2]),
        certify(header, signers=[*KEYS[:2], KEYS[0]]),
        structs.replace(good.certificate, height=3),
    ):
        assert refusal(structs.replace(good, certificate=certificate)) == "block.wrong"
    stranger = certify(header, signers=[*KEYS[:3], SecretKey(b"\x63" * 32)])
    assert refusal(structs.replace(good, certificate=stranger)) == "message.stranger"
    later = structs.replace(good.certificate, round=1)
    assert refusal(structs.replace(good, certificate=later)) == "message.signature"
    assert refusal(good, height=3) == "block.wrong"
    assert refusal(decided(height=11), height=11) == "committee.unknown"


@given(st.binary(max_size=3 * PAGE_BYTES_MAX // 2), st.integers(1, 3))
def test_pages_come_together_again(tail: bytes, full: int) -> None:
    data = b"\x05" * PAGE_BYTES_MAX * full + tail
    pieces = [data[i : i + PAGE_BYTES_MAX] for i in range(0, len(data), PAGE_BYTES_MAX)]
    assembler = BlockAssembler()
    assembler.ask(PEER, 4)
    for number, piece in enumerate(pieces):
        page = BlockPage(4, number, len(pieces), piece)
        assert assembler.add(OTHER, page) is None
        assert assembler.add(PEER, structs.replace(page, height=5)) is None
        result = assembler.add(PEER, page)
        if number + 1 < len(pieces):
            assert result == NextPage(4, number + 1)
            assert assembler.add(PEER, page) is None
        else:
            assert result == WholeBlock(4, data)
    assert assembler.add(PEER, BlockPage(4, 0, len(pieces), pieces[0])) is None


def test_a_block_asked_for_again_goes_on_where_it_stood() -> None:
    assembler = BlockAssembler()
    assembler.ask(PEER, 4)
    pages = [BlockPage(4, number, 3, bytes([number]) * PAGE_BYTES_MAX) for number in range(3)]
    assert assembler.add(PEER, pages[0]) == NextPage(4, 1)
    assert assembler.add(PEER, pages[1]) == NextPage(4, 2)
    assembler.ask(PEER, 4)
    assert assembler.add(PEER, pages[0]) == NextPage(4, 2)
    assert assembler.add(PEER, pages[0]) is None, "a repeated page alone asks for nothing"
    whole = b"".join(page.data for page in pages)
    assert assembler.add(PEER, pages[2]) == WholeBlock(4, whole)


@pytest.mark.parametrize(
    "page",
    [
        BlockPage(4, 0, 0, b""),
        BlockPage(4, 0, PAGES_MAX + 1, b"\x00" * PAGE_BYTES_MAX),
        BlockPage(4, 0, 2, b"short"),
    ],
)
def test_a_page_that_can_be_of_no_block_ends_the_request(page: BlockPage) -> None:
    assembler = BlockAssembler()
    assembler.ask(PEER, 4)
    with pytest.raises(LockstepError) as caught:
        assembler.add(PEER, page)
    assert caught.value.code == "page.wrong"
    assert assembler.add(PEER, BlockPage(4, 0, 1, b"x")) is None


def test_what_a_peer_was_asked_is_forgotten_with_it() -> None:
    assembler = BlockAssembler()
    for peer in (PEER, OTHER):
        assembler.ask(peer, 4)
    assembler.forget_peer(PEER)
    page = BlockPage(4, 0, 1, b"x")
    assert assembler.add(PEER, page) is None
    assert assembler.add(OTHER, page) == WholeBlock(4, b"x")
