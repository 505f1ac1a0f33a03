"""Blocks, their headers, the votes on them and commit certificates [T2, T3].

A block's id is the hash of its header; the header commits to all the rest.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from lockstep.crypto.hashing import merkle_root, merkle_root_above, tagged_hash
from lockstep.primitives.codec import encode
from lockstep.primitives.ids import Bitmap, Counter, Hash, Round, Signature, SignedRound, Small
from lockstep.primitives.params import EVIDENCE_BYTES_MAX
from lockstep.primitives.transaction import Transaction
from lockstep.primitives.votes import BatchBitmap, FreezeProof

BLOCK_VERSION: Final = 1
NO_STATE_COMMITMENT: Final = bytes(32)
MEMBERS_MAX: Final = 1024
"""Members of a set, and so signatures of a certificate."""
PARTS_MAX: Final = 32_768
"""Parts that a proposed block names its transactions by."""
EVIDENCE_MAX: Final = 4_096
"""Pieces of evidence that a block carries; their bytes bound them sooner [N4]."""

EvidenceBytes = Annotated[bytes, Meta(min_length=1, max_length=EVIDENCE_BYTES_MAX)]
"""A piece of evidence, encoded: the block's root is over these bytes [T2]."""
EvidencePieces = Annotated[tuple[EvidenceBytes, ...], Meta(max_length=EVIDENCE_MAX)]


class CommitSignature(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One member's precommit inside a certificate; `time_ms` is its clock [T3]."""

    voter: Hash
    time_ms: Counter
    signature: Signature


class CommitCertificate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Precommits of quorum weight for one block id in one round [T2]."""

    height: Counter
    round: Round
    block_id: Hash
    signatures: Annotated[tuple[CommitSignature, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]


class ClosingHeader(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the header of a closing block says in addition [T2, S1]."""

    next_set_hash: Hash
    state_commitment: Hash
    justification_members: Bitmap
    justification_hash: Hash


class BlockHeader(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The header of a block; `closing` is None in an ordinary one [T2]."""

    version: Small
    chain_id: Hash
    height: Counter
    previous: Hash
    previous_closing: Hash
    epoch: Counter
    time_ms: Counter
    transaction_root: Hash
    set_hash: Hash
    evidence_root: Hash
    previous_commit_hash: Hash
    proposer: Hash
    closing: ClosingHeader | None

    @property
    def is_closing(self) -> bool:
        """Tell whether this block ends its epoch [M4]."""
        return self.closing is not None


class Block(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A whole block as it is stored, synced and judged [T2].

    `previous_commit` is None at height 1 only. `justification` is J, in order of member id;
    `evidence` stands in order of epoch and member id [N4].
    """

    header: BlockHeader
    previous_commit: CommitCertificate | None
    transactions: tuple[Transaction, ...]
    justification: Annotated[tuple[FreezeProof, ...], Meta(max_length=MEMBERS_MAX)]
    evidence: EvidencePieces


class NamedPart(Struct, frozen=True, array_like=True, tag=0, forbid_unknown_fields=True):
    """Transactions of a proposed block that stand in a batch, in ascending order [T2]."""

    batch_id: Hash
    bitmap: BatchBitmap


class InlinePart(Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """Transactions of a proposed block that stand in no batch [T2]."""

    transactions: Annotated[tuple[Transaction, ...], Meta(min_length=1)]


class CompactBlock(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block whose transactions are named by batch, as a proposal carries it [T2]."""

    header: BlockHeader
    previous_commit: CommitCertificate | None
    parts: Annotated[tuple[NamedPart | InlinePart, ...], Meta(max_length=PARTS_MAX)]
    justification: Annotated[tuple[FreezeProof, ...], Meta(max_length=MEMBERS_MAX)]
    evidence: EvidencePieces


class Proposal(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The proposer's signed word on one (height, round) [T1]."""

    height: Counter
    round: Round
    block_id: Hash
    valid_round: SignedRound
    proposer: Hash
    signature: Signature


class BallotKind(IntEnum):
    """The two kinds of vote on a block."""

    PREVOTE = 1
    PRECOMMIT = 2


class Ballot(Struct, frozen=True, array_like=True, tag=8, forbid_unknown_fields=True):
    """A prevote or precommit; `block_id` None is nil, `time_ms` is 0 but in precommits [T3]."""

    kind: BallotKind
    height: Counter
    round: Round
    block_id: Hash | None
    time_ms: Counter
    voter: Hash
    signature: Signature


def make_block_id(header: BlockHeader) -> bytes:
    """Return the block's id, the hash of its header [T2]."""
    return tagged_hash("block", encode(header))


def make_commit_hash(certificate: CommitCertificate | None) -> bytes:
    """Return the hash by which the next header names this certificate [T2]."""
    return tagged_hash("commit", encode(certificate))


def make_transaction_root(nodes: Sequence[bytes]) -> bytes:
    """Return the root by which a header names its transactions, given their leaves' nodes [T2]."""
    return merkle_root_above(nodes)


def make_justification_hash(justification: tuple[FreezeProof, ...]) -> bytes:
    """Return the hash by which a closing header names J [T2]."""
    return tagged_hash("justification", encode(justification))


def make_evidence_root(evidence: tuple[bytes, ...]) -> bytes:
    """Return the root by which a header names its evidence list [T2]."""
    return merkle_root(evidence)


def make_proposal_digest(
    *, chain_id: bytes, height: int, round_number: int, block_id: bytes, valid_round: int
) -> bytes:
    """Return the 32 bytes a proposal signs [M2]."""
    return tagged_hash("proposal", encode((chain_id, height, round_number, block_id, valid_round)))


def make_ballot_digest(
    *,
    chain_id: bytes,
    kind: BallotKind,
    height: int,
    round_number: int,
    block_id: bytes | None,
    time_ms: int,
) -> bytes:
    """Return the 32 bytes a prevote or precommit signs [M2, T3]."""
    fields = (chain_id, int(kind), height, round_number, block_id, time_ms)
    return tagged_hash("ballot", encode(fields))
