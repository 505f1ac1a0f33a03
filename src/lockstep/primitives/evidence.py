"""Evidence: what a member signed that no honest member signs, for anybody to check [N4].

Each piece is against one member and for one epoch, and is complete by itself: signatures, entries,
Merkle paths and bodies. Of the two halves the lesser stands first, so that the same pair gives the
same bytes whoever found it. Whether a piece holds is for the ledger to say.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from lockstep.crypto.hashing import merkle_path, tagged_hash
from lockstep.errors import Misuse
from lockstep.primitives import codec
from lockstep.primitives.block import Ballot, BallotKind, Proposal
from lockstep.primitives.ids import Counter, Hash, Round, Signature, SignedRound, Small
from lockstep.primitives.params import EVIDENCE_BYTES_MAX
from lockstep.primitives.transaction import (
    Batch,
    Transaction,
    TransactionBody,
    VerifiedBatch,
    make_txid,
)
from lockstep.primitives.votes import Entry, Vote, VoteKind, make_entry_leaf

PATH_MAX: Final = 16
"""Siblings of a Merkle path: enough for the entries of a message and the leaves of a batch."""
_TXID_BYTES: Final = 32

Path = Annotated[tuple[Hash, ...], Meta(max_length=PATH_MAX)]
TxidList = Annotated[bytes, Meta(max_length=EVIDENCE_BYTES_MAX)]
"""Txids in ascending order, one after the other: what a FREEZE's digest is the hash of [T5]."""


class SpokenPayment(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """That a signed Vote or Confirm is for one payment, as it is shown to a third party [B2].

    The entry is the one at `entry_place` of the `entry_count` of the message, the payment the one
    at `place` of the `count` of the entry's batch.
    """

    entry: Entry
    entry_place: Small
    entry_count: Small
    entry_path: Path
    place: Small
    count: Small
    path: Path
    witness_hash: Hash
    body: TransactionBody
    signature: Signature


class SignedDigest(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A FREEZE without its list [T5]."""

    digest: Hash
    signature: Signature


class SignedValue(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a prevote or precommit is for; None is nil [T1]."""

    block_id: Hash | None
    time_ms: Counter
    signature: Signature


class SignedWord(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a proposal says [T1]."""

    block_id: Hash
    valid_round: SignedRound
    signature: Signature


class ConflictingVotes(Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """Two Votes, or two Confirms, of one epoch for payments that share an input [N4]."""

    member: Hash
    epoch: Counter
    kind: VoteKind
    first: SpokenPayment
    second: SpokenPayment


class ConflictingFreezes(Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """Two FREEZEs of one epoch with different hashes [N4]."""

    member: Hash
    epoch: Counter
    first: SignedDigest
    second: SignedDigest


class ConflictingBallots(Struct, frozen=True, array_like=True, tag=3, forbid_unknown_fields=True):
    """Two prevotes, or two precommits, of one (height, round) for different values [N4]."""

    member: Hash
    epoch: Counter
    kind: BallotKind
    height: Counter
    round: Round
    first: SignedValue
    second: SignedValue


class ConflictingProposals(Struct, frozen=True, array_like=True, tag=4, forbid_unknown_fields=True):
    """Two proposals of one (height, round) with different (block id, validRound) [N4]."""

    member: Hash
    epoch: Counter
    height: Counter
    round: Round
    first: SignedWord
    second: SignedWord


class OmittedConfirm(Struct, frozen=True, array_like=True, tag=5, forbid_unknown_fields=True):
    """A Confirm of a payment that the member's FREEZE of the epoch does not list [N4, T5].

    `listed` hashes to the digest that was signed. It is evidence only where the chain below the
    closing height does not excuse the omission.
    """

    member: Hash
    epoch: Counter
    confirm: SpokenPayment
    listed: TxidList
    signature: Signature


Evidence = (
    ConflictingVotes
    | ConflictingFreezes
    | ConflictingBallots
    | ConflictingProposals
    | OmittedConfirm
)

Subject = tuple[bytes, int]
"""(member id, epoch): against whom a piece is, and for when; one piece each is enough."""


def evidence_subject(evidence: Evidence) -> Subject:
    """Return the member and the epoch that the piece is about [N4]."""
    return evidence.member, evidence.epoch


def decode_evidence(data: bytes) -> Evidence:
    """Decode a piece of evidence as a block carries it.

    Raises:
        Oversize: If it alone exceeds what a block may carry.
        Malformed: If it is none in canonical form.
    """
    shape: Any = Evidence
    evidence: Evidence = codec.decode(shape, data, size_max=EVIDENCE_BYTES_MAX)
    return evidence


def make_spoken_payment(vote: Vote, batch: VerifiedBatch, place: int) -> SpokenPayment:
    """Show that the message is for the transaction at `place` of the batch [B2].

    Raises:
        Misuse: If no entry of the message sets this bit of the batch.
    """
    entry_place = next((i for i, e in enumerate(vote.entries) if _covers(e, batch, place)), None)
    if entry_place is None:
        raise Misuse("the message is not for this transaction of this batch")
    transaction = _transaction_at(batch, place)
    leaves = [make_entry_leaf(entry) for entry in vote.entries]
    return SpokenPayment(
        entry=vote.entries[entry_place],
        entry_place=entry_place,
        entry_count=len(vote.entries),
        entry_path=merkle_path(leaves, entry_place),
        place=place,
        count=len(batch.leaves),
        path=merkle_path(batch.leaves, place),
        witness_hash=tagged_hash("witness", codec.encode(transaction.witnesses)),
        body=transaction.body,
        signature=vote.signature,
    )


def make_conflicting_votes(
    *, member: bytes, epoch: int, kind: VoteKind, words: tuple[SpokenPayment, SpokenPayment]
) -> ConflictingVotes:
    """Put two Votes, or two Confirms, of a member together."""
    first, second = sorted(words, key=lambda word: make_txid(word.body))
    return ConflictingVotes(member, epoch, kind, first, second)


def make_conflicting_freezes(
    *, member: bytes, epoch: int, words: tuple[SignedDigest, SignedDigest]
) -> ConflictingFreezes:
    """Put two FREEZEs of a member together."""
    first, second = sorted(words, key=lambda word: word.digest)
    return ConflictingFreezes(member, epoch, first, second)


def make_conflicting_ballots(one: Ballot, other: Ballot, *, epoch: int) -> ConflictingBallots:
    """Put two ballots of one kind, height, round and voter together."""
    first, second = sorted(
        (SignedValue(b.block_id, b.time_ms, b.signature) for b in (one, other)), key=value_order
    )
    return ConflictingBallots(one.voter, epoch, one.kind, one.height, one.round, first, second)


def make_conflicting_proposals(
    one: Proposal, other: Proposal, *, epoch: int
) -> ConflictingProposals:
    """Put two proposals of one height, round and proposer together."""
    first, second = sorted(
        (SignedWord(p.block_id, p.valid_round, p.signature) for p in (one, other)), key=word_order
    )
    return ConflictingProposals(one.proposer, epoch, one.height, one.round, first, second)


def make_omitted_confirm(
    *, member: bytes, epoch: int, confirm: SpokenPayment, txids: Iterable[bytes], signature: bytes
) -> OmittedConfirm:
    """Put a Confirm and the FREEZE that lists `txids` without its payment together."""
    return OmittedConfirm(member, epoch, confirm, b"".join(sorted(txids)), signature)


def value_order(value: SignedValue) -> bytes:
    """Return what the two halves of conflicting ballots are ordered by: nil is the least."""
    return value.block_id or b""


def word_order(word: SignedWord) -> tuple[bytes, int]:
    """Return what the two halves of conflicting proposals are ordered by."""
    return word.block_id, word.valid_round


def split_txids(listed: bytes) -> list[bytes] | None:
    """Return the txids of a list, None where it is not whole ones in ascending order."""
    txids = [listed[i : i + _TXID_BYTES] for i in range(0, len(listed), _TXID_BYTES)]
    if len(listed) % _TXID_BYTES or any(later <= earlier for earlier, later in pairwise(txids)):
        return None
    return txids


def spent_outpoints(batch: VerifiedBatch) -> Iterator[tuple[bytes, ...]]:
    """Yield what each transaction of a batch spends, those with a bad witness included."""
    if not batch.faults:
        return iter([each.inputs for each in batch.transactions if each is not None])
    return iter([transaction.body.inputs for transaction in _transactions_of(batch)])


def _transactions_of(batch: VerifiedBatch) -> Sequence[Transaction]:
    return codec.decode(Batch, batch.body, size_max=len(batch.body)).transactions


def _covers(entry: Entry, batch: VerifiedBatch, place: int) -> bool:
    bits = int.from_bytes(entry.bitmap, "little")
    return entry.batch_id == batch.batch_id and bool(bits >> place & 1)


def _transaction_at(batch: VerifiedBatch, place: int) -> Transaction:
    verified = batch.transactions[place]
    return _transactions_of(batch)[place] if verified is None else verified.transaction
