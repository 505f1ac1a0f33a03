"""One specimen of every shape that is hashed, signed, stored or sent, the same in every run."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from building import VERIFIER, Chain, lock_of, make_body, make_genesis, pay, secret, sign
from lockstep.ledger.blocks import make_block
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    CompactBlock,
    InlinePart,
    NamedPart,
    Proposal,
    make_ballot_digest,
    make_proposal_digest,
)
from lockstep.primitives.codec import encode
from lockstep.primitives.evidence import (
    Evidence,
    SignedDigest,
    make_conflicting_ballots,
    make_conflicting_freezes,
    make_conflicting_proposals,
    make_conflicting_votes,
    make_omitted_confirm,
    make_spoken_payment,
)
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.messages import (
    BatchBody,
    BlockPage,
    DecidedBlock,
    EvidenceFound,
    GetBatches,
    GetBlock,
    GetVotes,
    Message,
    ProposalMessage,
    Status,
)
from lockstep.primitives.transaction import (
    Batch,
    Policy,
    Transaction,
    Witness,
    make_batch_id,
    make_leaf,
    make_spend_digest,
    make_txid,
)
from lockstep.primitives.votes import (
    Entry,
    Freeze,
    Vote,
    VoteKind,
    make_freeze_digest,
    make_freeze_list_digest,
    make_vote_digest,
)
from lockstep.replica.ingress import prepare_batch

GENESIS: Final = make_genesis((4, 3, 2, 2))
CHAIN_ID: Final = GENESIS.chain_id
VOTER: Final = GENESIS.committee.members[0].member_id
KEY: Final = secret(77)
EPOCH: Final = 3

SINGLE: Final = pay(
    [(make_outpoint(b"\x01" * 32, 0), 1), (make_outpoint(b"\x02" * 32, 70_000), 2)],
    [(546, lock_of(3)), (5_000_000_000, lock_of(4)), (10**18, lock_of(5))],
    chain_id=CHAIN_ID,
    memo=b"for the boat",
).transaction

MULTISIG_POLICY: Final = Policy(2, tuple(secret(i).public_key for i in (6, 7, 8)))
_BODY: Final = make_body([make_outpoint(b"\x03" * 32, 1)], [(123_456, lock_of(9))])
MULTISIG: Final = Transaction(
    _BODY,
    (
        Witness(
            MULTISIG_POLICY,
            0b101,
            tuple(secret(i).sign(make_spend_digest(CHAIN_ID, make_txid(_BODY))) for i in (6, 8)),
        ),
    ),
)
TRANSACTIONS: Final = (SINGLE, MULTISIG, sign(_BODY, [6], chain_id=CHAIN_ID))
BATCH: Final = Batch(TRANSACTIONS)
LEAVES: Final = [make_leaf(make_txid(item.body), item.witnesses) for item in TRANSACTIONS]
BATCH_ID: Final = make_batch_id(LEAVES)
ENTRIES: Final = (Entry(BATCH_ID, b"\x05"), Entry(b"\x44" * 32, b"\xff\x01"))


def make_vote(kind: VoteKind) -> Vote:
    digest = make_vote_digest(chain_id=CHAIN_ID, kind=kind, epoch=EPOCH, entries=ENTRIES)
    return Vote(kind, EPOCH, VOTER, ENTRIES, KEY.sign(digest))


VOTE: Final = make_vote(VoteKind.VOTE)
CONFIRM: Final = make_vote(VoteKind.CONFIRM)
LIST_DIGEST: Final = make_freeze_list_digest([b"\x02" * 32, b"\x01" * 32])
FREEZE: Final = Freeze(
    EPOCH,
    VOTER,
    ENTRIES,
    LIST_DIGEST,
    KEY.sign(make_freeze_digest(chain_id=CHAIN_ID, epoch=EPOCH, digest=LIST_DIGEST)),
)


def make_ballot(kind: BallotKind, block_id: bytes | None, time_ms: int) -> Ballot:
    digest = make_ballot_digest(
        chain_id=CHAIN_ID,
        kind=kind,
        height=9,
        round_number=2,
        block_id=block_id,
        time_ms=time_ms,
    )
    return Ballot(kind, 9, 2, block_id, time_ms, VOTER, KEY.sign(digest))


def _chain_of(count: int) -> Chain:
    chain = Chain(GENESIS)
    chain.grow(count)
    return chain


_ORDINARY_CHAIN: Final = _chain_of(1)
_PAID: Final = pay(
    [(_ORDINARY_CHAIN.coin(0), 0)],
    [(GENESIS.coins[0].amount - 2_000, lock_of(9))],
    chain_id=CHAIN_ID,
)
ORDINARY: Final = make_block(_ORDINARY_CHAIN.assemble([_PAID], fees=2_000))
_CLOSING_CHAIN: Final = _chain_of(3)
_MEMBERS: Final = [member.member_id for member in GENESIS.committee.members]
CLOSING: Final = make_block(
    _CLOSING_CHAIN.assemble(
        [_PAID],
        fees=2_000,
        freezes=[
            (_CLOSING_CHAIN.freeze(_MEMBERS[0], [_PAID.txid]), [_PAID.txid]),
            *((_CLOSING_CHAIN.freeze(member), []) for member in _MEMBERS[1:]),
        ],
    )
)
FIRST: Final = make_block(Chain(GENESIS).assemble())
PROPOSAL: Final = Proposal(
    9,
    2,
    b"\x09" * 32,
    -1,
    VOTER,
    KEY.sign(
        make_proposal_digest(
            chain_id=CHAIN_ID, height=9, round_number=2, block_id=b"\x09" * 32, valid_round=-1
        )
    ),
)
PREVOTE: Final = make_ballot(BallotKind.PREVOTE, b"\x09" * 32, 0)
COMPACT: Final = CompactBlock(
    CLOSING.header,
    CLOSING.previous_commit,
    (InlinePart(CLOSING.transactions[:1]), NamedPart(BATCH_ID, b"\x02")),
    CLOSING.justification,
    (),
)
_CERTIFICATE: Final = _CLOSING_CHAIN.certificate
assert _CERTIFICATE is not None
DECIDED: Final = DecidedBlock(CLOSING, replace(_CERTIFICATE, round=1))

VERIFIED: Final = prepare_batch(encode(BATCH), chain_id=CHAIN_ID, verifier=VERIFIER)
WORDS: Final = (make_spoken_payment(VOTE, VERIFIED, 2), make_spoken_payment(VOTE, VERIFIED, 0))
EVIDENCE: Final[dict[str, Evidence]] = {
    "conflicting votes": make_conflicting_votes(
        member=VOTER, epoch=EPOCH, kind=VoteKind.VOTE, words=WORDS
    ),
    "conflicting freezes": make_conflicting_freezes(
        member=VOTER,
        epoch=EPOCH,
        words=(
            SignedDigest(FREEZE.digest, FREEZE.signature),
            SignedDigest(bytes(32), VOTE.signature),
        ),
    ),
    "conflicting ballots": make_conflicting_ballots(
        PREVOTE, make_ballot(BallotKind.PREVOTE, None, 0), epoch=2
    ),
    "conflicting proposals": make_conflicting_proposals(
        PROPOSAL, replace(PROPOSAL, valid_round=1), epoch=2
    ),
    "omitted confirm": make_omitted_confirm(
        member=VOTER,
        epoch=EPOCH,
        confirm=make_spoken_payment(CONFIRM, VERIFIED, 2),
        txids=[b"\x02" * 32, b"\x01" * 32],
        signature=FREEZE.signature,
    ),
}

SHAPES: Final[dict[str, Struct]] = {
    "policy": MULTISIG_POLICY,
    "transaction": SINGLE,
    "transaction with 2 of 3 keys": MULTISIG,
    "coinbase": CLOSING.transactions[0],
    "batch": BATCH,
    "genesis": GENESIS,
    "certificate": _CERTIFICATE,
    "first block": FIRST,
    "ordinary block": ORDINARY,
    "closing block": CLOSING,
    "compact block": COMPACT,
    "decided block": DECIDED,
    **EVIDENCE,
}

MESSAGES: Final[dict[str, Message]] = {
    "batch body": BatchBody(b"\x91\x90"),
    "get batches": GetBatches((BATCH_ID, b"\x44" * 32)),
    "vote": VOTE,
    "confirm": CONFIRM,
    "get votes": GetVotes(EPOCH, (BATCH_ID,)),
    "freeze": FREEZE,
    "empty freeze": replace(FREEZE, entries=()),
    "proposal": ProposalMessage(PROPOSAL, COMPACT, ()),
    "proposal again": ProposalMessage(replace(PROPOSAL, valid_round=1), COMPACT, (PREVOTE,)),
    "prevote": PREVOTE,
    "nil prevote": make_ballot(BallotKind.PREVOTE, None, 0),
    "precommit": make_ballot(BallotKind.PRECOMMIT, b"\x09" * 32, 1_700_000_000_123),
    "nil precommit": make_ballot(BallotKind.PRECOMMIT, None, 0),
    "status": Status(300, b"\x09" * 32, 70),
    "get block": GetBlock(301, 2),
    "block page": BlockPage(301, 2, 3, b"page"),
    "evidence": EvidenceFound(EVIDENCE["conflicting ballots"]),
}
