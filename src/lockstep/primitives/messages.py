"""What masternodes say to each other about payments and blocks, as one closed union.

The session's own words (HELLO, PING, GOODBYE) belong to the `net` room; these here reach the
replica.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from lockstep.primitives import codec
from lockstep.primitives.block import (
    MEMBERS_MAX,
    Ballot,
    Block,
    CommitCertificate,
    CompactBlock,
    Proposal,
)
from lockstep.primitives.evidence import Evidence
from lockstep.primitives.ids import Counter, Hash, Small
from lockstep.primitives.params import (
    CLOSING_BLOCK_BYTES_MAX,
    FRAME_BYTES_MAX,
    PAGE_BYTES_MAX,
)
from lockstep.primitives.transaction import BATCH_BYTES_MAX
from lockstep.primitives.votes import Freeze, Vote

BATCH_IDS_MAX = 64
OWN_WORDS_PAGES_MAX = 64
OWN_WORDS_A_PAGE_MAX = 16_384
DECIDED_BYTES_MAX = CLOSING_BLOCK_BYTES_MAX + FRAME_BYTES_MAX


class BatchBody(Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """The encoded bytes of a batch, which hash to its id [B1]."""

    body: Annotated[bytes, Meta(max_length=BATCH_BYTES_MAX)]


class GetBatches(Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """A request for the bodies of batches that a vote or block named [B3]."""

    batch_ids: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=BATCH_IDS_MAX)]


class GetVotes(Struct, frozen=True, array_like=True, tag=4, forbid_unknown_fields=True):
    """A request for all Votes and Confirms held on these batches: their certificates [F2, B3]."""

    epoch: Counter
    batch_ids: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=BATCH_IDS_MAX)]


class ProposalMessage(Struct, frozen=True, array_like=True, tag=7, forbid_unknown_fields=True):
    """A proposal with its block, and with the POLC where it proposes again [T1, T10]."""

    proposal: Proposal
    block: CompactBlock
    polc: Annotated[tuple[Ballot, ...], Meta(max_length=MEMBERS_MAX)]


class Status(Struct, frozen=True, array_like=True, tag=10, forbid_unknown_fields=True):
    """The sender's last decided height and epoch, said on connect and at each decision [T9]."""

    height: Counter
    block_id: Hash
    epoch: Counter


class GetBlock(Struct, frozen=True, array_like=True, tag=11, forbid_unknown_fields=True):
    """A request for one page of a decided block with its certificate [T9]."""

    height: Counter
    page: Small


class BlockPage(Struct, frozen=True, array_like=True, tag=12, forbid_unknown_fields=True):
    """One page of an encoded `DecidedBlock` [T9]."""

    height: Counter
    page: Small
    pages: Small
    data: Annotated[bytes, Meta(max_length=PAGE_BYTES_MAX)]


class EvidenceFound(Struct, frozen=True, array_like=True, tag=13, forbid_unknown_fields=True):
    """A piece of evidence, passed on until it stands in a block [N4]."""

    evidence: Evidence


class GetOwnWords(Struct, frozen=True, array_like=True, tag=14, forbid_unknown_fields=True):
    """A member's question on its start: what do you hold that my key signed [D3]?

    `question` comes back in the answer, so that one to an earlier start is known as such.
    """

    question: Counter


class OwnWords(Struct, frozen=True, array_like=True, tag=15, forbid_unknown_fields=True):
    """One page of the answer: words of the asker's key, and how far the one who answers is [D3].

    They are Votes and Confirms of the answerer's epoch or later, FREEZEs without their lists, and
    proposals and ballots of its undecided height or later.
    """

    question: Counter
    height: Counter
    epoch: Counter
    page: Small
    pages: Annotated[int, Meta(ge=1, le=OWN_WORDS_PAGES_MAX)]
    votes: Annotated[tuple[Vote, ...], Meta(max_length=OWN_WORDS_A_PAGE_MAX)]
    freezes: Annotated[tuple[Freeze, ...], Meta(max_length=OWN_WORDS_A_PAGE_MAX)]
    proposals: Annotated[tuple[Proposal, ...], Meta(max_length=OWN_WORDS_A_PAGE_MAX)]
    ballots: Annotated[tuple[Ballot, ...], Meta(max_length=OWN_WORDS_A_PAGE_MAX)]


class DecidedBlock(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block and the precommits that decided it: all that a node needs to follow [T9]."""

    block: Block
    certificate: CommitCertificate


Message = (
    BatchBody
    | GetBatches
    | Vote
    | GetVotes
    | Freeze
    | ProposalMessage
    | Ballot
    | Status
    | GetBlock
    | BlockPage
    | EvidenceFound
    | GetOwnWords
    | OwnWords
)


_PAYMENT_HEADS = tuple(
    bytes((0x90 | len(shape.__struct_fields__) + 1, tag))
    for shape, tag in ((BatchBody, 1), (Vote, 3))
)


def is_payment_frame(data: bytes) -> bool:
    """Tell from its first bytes whether a frame carries a batch or a Vote: the bulk of traffic.

    Everything else is what a height or a fetch waits for, and must not queue behind the bulk.
    """
    return data.startswith(_PAYMENT_HEADS)


def encode_message(message: Message) -> bytes:
    """Encode a message for a frame."""
    return codec.encode(message)


def decode_message(data: bytes) -> Message:
    """Decode the content of a frame.

    Raises:
        Oversize: If it exceeds the frame cap.
        Malformed: If it is no known message in canonical form.
    """
    shape: Any = Message
    message: Message = codec.decode(shape, data, size_max=FRAME_BYTES_MAX)
    return message
