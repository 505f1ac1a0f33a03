"""The ingress finds each bad signature, refuses what carries it alone, keeps the order [B5, M2]."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.keys import SecretKey, SignatureCheck, SodiumVerifier
from lockstep.errors import Rejected
from lockstep.primitives import codec
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    BlockHeader,
    CommitCertificate,
    CommitSignature,
    CompactBlock,
    InlinePart,
    Proposal,
    make_ballot_digest,
    make_block_id,
    make_proposal_digest,
)
from lockstep.primitives.committee import Committee, Member, make_member_id
from lockstep.primitives.messages import (
    BatchBody,
    BlockPage,
    GetBatches,
    Message,
    ProposalMessage,
    Status,
    encode_message,
)
from lockstep.primitives.transaction import (
    Batch,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.primitives.votes import (
    Entry,
    Freeze,
    Vote,
    VoteKind,
    make_freeze_digest,
    make_vote_digest,
)
from lockstep.replica.events import (
    BallotsReceived,
    BatchReceived,
    FreezeReceived,
    ProposalReceived,
    RequestReceived,
    StatusReceived,
    VotesReceived,
)
from lockstep.replica.ingress import (
    Fault,
    Judged,
    PageReceived,
    judge_frames,
    make_batch,
    prepare_batch,
)
from lockstep.replica.witnesses import verify_transaction

CHAIN = b"\x01" * 32
PEER, OTHER = b"\x07" * 32, b"\x08" * 32
KEYS = [SecretKey(bytes([i]) * 32) for i in range(1, 5)]
COMMITTEE = Committee(
    Member(make_member_id(k.public_key), k.public_key, k.public_key, 1, 10, bytes(32)) for k in KEYS
)
NOBODY = SecretKey(b"\x63" * 32)


class Known:
    """Committees of the first two epochs of ten heights each."""

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        return COMMITTEE if epoch < 2 else None

    def committee_for_height(self, height: int) -> Committee | None:
        return self.committee_for_epoch((height - 1) // 10)


class OneCall(SodiumVerifier):
    """Counts the calls and the signatures of each."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        self.calls.append(len(checks))
        return super().verify_many(checks)


def payment(number: int, *, threshold: int = 1, keys: int = 1) -> Transaction:
    owners = [SecretKey(bytes([number % 200 + 20, i]) * 16) for i in range(keys)]
    policy = Policy(threshold, tuple(owner.public_key for owner in owners))
    output = TransactionOutput(1000 + number, make_lock(policy))
    body = TransactionBody(1, (number.to_bytes(36, "big"),), (output,), b"")
    digest = make_spend_digest(CHAIN, make_txid(body))
    signatures = tuple(owner.sign(digest) for owner in owners[:threshold])
    return Transaction(body, (Witness(policy, (1 << threshold) - 1, signatures),))


def vote(key: SecretKey, *, epoch: int = 0, kind: VoteKind = VoteKind.VOTE) -> Vote:
    entries = (Entry(b"\x05" * 32, b"\x01"),)
    digest = make_vote_digest(chain_id=CHAIN, kind=kind, epoch=epoch, entries=entries)
    return Vote(kind, epoch, make_member_id(key.public_key), entries, key.sign(digest))


def freeze(key: SecretKey) -> Freeze:
    digest = make_freeze_digest(chain_id=CHAIN, epoch=0, digest=b"\x06" * 32)
    voter = make_member_id(key.public_key)
    return Freeze(0, voter, (), b"\x06" * 32, key.sign(digest))


def ballot(key: SecretKey, *, kind: BallotKind = BallotKind.PREVOTE, height: int = 2) -> Ballot:
    digest = make_ballot_digest(
        chain_id=CHAIN, kind=kind, height=height, round_number=0, block_id=None, time_ms=0
    )
    voter = make_member_id(key.public_key)
    return Ballot(kind, height, 0, None, 0, voter, key.sign(digest))


def certificate(height: int, block_id: bytes) -> CommitCertificate:
    digest = make_ballot_digest(
        chain_id=CHAIN,
        kind=BallotKind.PRECOMMIT,
        height=height,
        round_number=0,
        block_id=block_id,
        time_ms=9,
    )
    signatures = tuple(
        CommitSignature(make_member_id(k.public_key), 9, k.sign(digest)) for k in KEYS[:3]
    )
    return CommitCertificate(height, 0, block_id, signatures)


def proposal(key: SecretKey, *, height: int = 2) -> ProposalMessage:
    voter = make_member_id(key.public_key)
    hashes = [bytes([i]) * 32 for i in range(6)]
    header = BlockHeader(
        1,
        CHAIN,
        height,
        hashes[0],
        CHAIN,
        0,
        9,
        hashes[1],
        hashes[2],
        hashes[3],
        hashes[4],
        voter,
        None,
    )
    block = CompactBlock(
        header, certificate(1, hashes[0]), (InlinePart((payment(77), payment(78))),), (), ()
    )
    block_id = make_block_id(header)
    digest = make_proposal_digest(
        chain_id=CHAIN, height=height, round_number=0, block_id=block_id, valid_round=-1
    )
    signed = Proposal(height, 0, block_id, -1, voter, key.sign(digest))
    return ProposalMessage(signed, block, (ballot(KEYS[0]), ballot(KEYS[1])))


def batch(*transactions: Transaction) -> BatchBody:
    return BatchBody(codec.encode(Batch(transactions)))


def judge(messages: Sequence[Message | bytes], verifier: OneCall | None = None) -> Judged:
    frames = [(PEER, m if isinstance(m, bytes) else encode_message(m)) for m in messages]
    return judge_frames(
        frames, chain_id=CHAIN, lookup=Known(), verifier=verifier or SodiumVerifier()
    )


SIGNED: list[Callable[[], Message]] = [
    lambda: vote(KEYS[0]),
    lambda: freeze(KEYS[1]),
    lambda: ballot(KEYS[2]),
    lambda: proposal(KEYS[3]),
    lambda: vote(KEYS[3], kind=VoteKind.CONFIRM),
]


def signatures_in(data: bytes) -> list[int]:
    """Return where the 64-byte strings of an encoded message begin: its signatures."""
    return [i + 2 for i in range(len(data) - 65) if data[i : i + 2] == b"\xc4\x40"]


@given(st.data())
def test_a_flipped_bit_in_any_signature_refuses_that_message_alone(data: st.DataObject) -> None:
    frames = [encode_message(make()) for make in SIGNED]
    chosen = data.draw(st.integers(0, len(frames) - 1))
    start = data.draw(st.sampled_from(signatures_in(frames[chosen])))
    place = start * 8 + data.draw(st.integers(0, 64 * 8 - 1))
    bad = bytearray(frames[chosen])
    bad[place >> 3] ^= 1 << (place & 7)
    good = judge(frames).outcomes
    assert not any(isinstance(outcome, Fault) for outcome in good)
    found = judge([bytes(bad) if i == chosen else f for i, f in enumerate(frames)]).outcomes
    assert len(found) == len(good)
    for position, outcome in enumerate(found):
        if position == chosen:
            assert isinstance(outcome, Fault)
            assert outcome.code == "message.signature"
            assert outcome.peer == PEER
        else:
            assert outcome == good[position]


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=6),
    st.data(),
)
def test_a_flipped_bit_in_a_witness_refuses_that_transaction_alone(
    thresholds: list[int], data: st.DataObject
) -> None:
    payments = [payment(i, threshold=t, keys=3) for i, t in enumerate(thresholds)]
    chosen = data.draw(st.integers(0, len(payments) - 1))
    witness = payments[chosen].witnesses[0]
    which = data.draw(st.integers(0, len(witness.signatures) - 1))
    bit = data.draw(st.integers(0, 511))
    signature = bytearray(witness.signatures[which])
    signature[bit >> 3] ^= 1 << (bit & 7)
    signatures = list(witness.signatures)
    signatures[which] = bytes(signature)
    spoilt = Transaction(
        payments[chosen].body, (Witness(witness.policy, witness.signers, tuple(signatures)),)
    )
    mixed = [spoilt if i == chosen else p for i, p in enumerate(payments)]
    judged = prepare_batch(batch(*mixed).body, chain_id=CHAIN, verifier=SodiumVerifier())
    assert judged.faults == {chosen: "tx.signature"}
    for position, verified in enumerate(judged.transactions):
        if position == chosen:
            assert verified is None
        else:
            assert verified is not None
            assert verified.transaction == payments[position]
            assert verified.size_bytes == len(codec.encode(payments[position]))
            assert verified.txid == judged.txids[position] == make_txid(payments[position].body)
    # What is left over after the bad one is the batch that would have been made without it.
    rest, faults = make_batch(mixed, chain_id=CHAIN, verifier=SodiumVerifier())
    good = [p for i, p in enumerate(payments) if i != chosen]
    assert faults == judged.faults
    if not good:
        assert rest is None
    else:
        assert rest == prepare_batch(batch(*good).body, chain_id=CHAIN, verifier=SodiumVerifier())


def test_all_signatures_of_a_call_go_in_one_group() -> None:
    verifier = OneCall()
    judged = judge([make() for make in SIGNED] + [batch(payment(1), payment(2))], verifier)
    # The proposal has its own, two of its POLC, three of its certificate and two inline witnesses.
    assert verifier.calls == [4 + 8 + 2] == [judged.signatures]


def test_another_chain_or_epoch_or_kind_does_not_verify() -> None:
    """What is signed covers chain, kind and epoch, so that a signature has one meaning [M2]."""
    honest = vote(KEYS[0])
    for changed in (
        Vote(VoteKind.CONFIRM, 0, honest.voter, honest.entries, honest.signature),
        Vote(VoteKind.VOTE, 1, honest.voter, honest.entries, honest.signature),
    ):
        assert [o.code for o in judge([changed]).outcomes if isinstance(o, Fault)] == [
            "message.signature"
        ]
    frame = encode_message(honest)
    judged = judge_frames(
        [(PEER, frame)], chain_id=bytes(32), lookup=Known(), verifier=SodiumVerifier()
    )
    assert isinstance(judged.outcomes[0], Fault)


def test_faults_name_their_sender_and_the_others_go_on_in_order() -> None:
    frames = [
        (PEER, encode_message(vote(KEYS[0]))),
        (PEER, encode_message(vote(KEYS[1]))),
        (OTHER, encode_message(vote(KEYS[2]))),
        (OTHER, b"\x93\x63nonsense"),
        (PEER, encode_message(vote(NOBODY))),
        (PEER, encode_message(ballot(KEYS[0]))),
        (PEER, encode_message(ballot(KEYS[1]))),
        (OTHER, encode_message(Status(3, CHAIN, 0))),
        (OTHER, encode_message(GetBatches((CHAIN,)))),
        (PEER, encode_message(BlockPage(1, 0, 1, b"x"))),
    ]
    judged = judge_frames(frames, chain_id=CHAIN, lookup=Known(), verifier=SodiumVerifier())
    assert judged.outcomes == (
        VotesReceived(PEER, (vote(KEYS[0]), vote(KEYS[1]))),
        VotesReceived(OTHER, (vote(KEYS[2]),)),
        Fault(OTHER, "bytes.malformed", judged.outcomes[2].sentence),  # type: ignore[union-attr]  # Asserted by the equation.
        Fault(PEER, "message.stranger", "the signer is not in the committee"),
        BallotsReceived(PEER, (ballot(KEYS[0]), ballot(KEYS[1]))),
        StatusReceived(OTHER, Status(3, CHAIN, 0)),
        RequestReceived(OTHER, GetBatches((CHAIN,))),
        PageReceived(PEER, BlockPage(1, 0, 1, b"x")),
    )


def test_a_message_of_an_unknown_committee_is_left_out_and_counted() -> None:
    judged = judge(
        [vote(KEYS[0], epoch=2), ballot(KEYS[0], height=21), proposal(KEYS[0], height=21)]
    )
    assert (judged.outcomes, judged.left_out, judged.signatures) == ((), 3, 0)


def test_a_known_batch_is_not_verified_again() -> None:
    first, second = batch(payment(1)), batch(payment(2))
    known = prepare_batch(first.body, chain_id=CHAIN, verifier=SodiumVerifier()).batch_id
    judged = judge_frames(
        [(PEER, encode_message(first)), (PEER, encode_message(second))],
        chain_id=CHAIN,
        lookup=Known(),
        verifier=SodiumVerifier(),
        is_known_batch=lambda batch_id: batch_id == known,
    )
    assert (judged.known, judged.signatures) == (1, 1)
    [outcome] = judged.outcomes
    assert isinstance(outcome, BatchReceived)
    assert outcome.batch.body == second.body


def test_events_carry_what_was_sent() -> None:
    outcomes = judge([make() for make in SIGNED[:4]]).outcomes
    assert outcomes[0] == VotesReceived(PEER, (vote(KEYS[0]),))
    assert outcomes[1] == FreezeReceived(PEER, freeze(KEYS[1]))
    assert outcomes[2] == BallotsReceived(PEER, (ballot(KEYS[2]),))
    received = outcomes[3]
    assert isinstance(received, ProposalReceived)
    assert received.message == proposal(KEYS[3])
    assert [v.transaction for v in received.inline] == [payment(77), payment(78)]


def test_a_proposal_beside_another_block_is_a_fault() -> None:
    ours, theirs = proposal(KEYS[0]), proposal(KEYS[1])
    mixed = ProposalMessage(ours.proposal, theirs.block, ())
    [outcome] = judge([mixed]).outcomes
    assert isinstance(outcome, Fault)
    assert outcome.code == "proposal.mismatch"


@pytest.mark.parametrize(
    ("threshold", "signers", "signatures"),
    [(2, 0b01, 1), (1, 0b11, 2), (1, 0b10, 2), (3, 0b11, 2), (1, 0b100, 1)],
)
def test_a_policy_takes_exactly_its_threshold(
    threshold: int, signers: int, signatures: int
) -> None:
    """One signature more or less than the policy says is refused before any is judged [L3]."""
    owners = [SecretKey(bytes([i]) * 32) for i in (40, 41)]
    policy = Policy(threshold, tuple(owner.public_key for owner in owners))
    body = payment(1).body
    digest = make_spend_digest(CHAIN, make_txid(body))
    given = tuple(owner.sign(digest) for owner in owners[:signatures])
    transaction = Transaction(body, (Witness(policy, signers, given),))
    with pytest.raises(Rejected) as caught:
        verify_transaction(transaction, chain_id=CHAIN, verifier=SodiumVerifier())
    assert caught.value.code == "tx.policy"
    judged = prepare_batch(batch(transaction).body, chain_id=CHAIN, verifier=SodiumVerifier())
    assert judged.faults == {0: "tx.policy"}
