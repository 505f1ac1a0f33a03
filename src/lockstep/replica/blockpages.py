"""Decided blocks fetched from peers: pages put together, then judged as a whole [T9].

The assembler holds only blocks that were asked for, and bounds what one may hold. A block is judged
by itself and its height's committee: what it says must be what its certificate covers, so that a
peer can never pass off a wrong body under a good header.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from lockstep.crypto.keys import Verifier
from lockstep.errors import Rejected
from lockstep.primitives import codec
from lockstep.primitives.block import (
    Block,
    make_block_id,
    make_commit_hash,
    make_evidence_root,
    make_justification_hash,
    make_transaction_root,
)
from lockstep.primitives.messages import DECIDED_BYTES_MAX, BlockPage, DecidedBlock
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.replica.events import BlockFetched
from lockstep.replica.signatures import (
    BadMessageSignature,
    CommitteeLookup,
    certificate_checks,
    committee_of_height,
)
from lockstep.replica.witnesses import derive_transactions, spend_checks

PAGES_MAX: Final = -(-DECIDED_BYTES_MAX // PAGE_BYTES_MAX)
"""Pages of the largest decided block."""

FindVerified = Callable[[bytes], VerifiedTransaction | None]
"""Answers at once, on any thread, with a held payment whose witnesses were found good."""


class WrongPage(Rejected):
    """A page of a block contradicts the pages before it, or cannot be part of a block."""

    code = "page.wrong"


class WrongBlock(Rejected):
    """A fetched block is not the one that was asked for, or not what its certificate covers."""

    code = "block.wrong"


class NextPage(Struct, frozen=True):
    """The page to ask the same peer for next."""

    height: int
    page: int


class WholeBlock(Struct, frozen=True):
    """All pages are there: the bytes to judge."""

    height: int
    data: bytes


class BlockAssembler:
    """Puts the pages of decided blocks together; owned by the shell, one for all peers.

    Pages come in order, because each is asked for when the one before has come. A page nobody asked
    for, late or repeated, is ignored: it may answer a request given up. A block that is asked for
    again goes on where it stood, or one of many pages would never come over a slow link.
    """

    def __init__(self) -> None:
        """Start with nothing asked for."""
        self._asked: dict[tuple[bytes, int], list[bytes]] = {}
        self._asked_again: dict[tuple[bytes, int], None] = {}

    def ask(self, peer: bytes, height: int) -> None:
        """Note that the peer is asked for the first page of this block, perhaps once more."""
        if self._asked.setdefault((peer, height), []):
            self._asked_again[peer, height] = None

    def add(self, peer: bytes, page: BlockPage) -> NextPage | WholeBlock | None:
        """Take a page in; return what follows from it, None where it was not asked for.

        Raises:
            WrongPage: If the page cannot be part of a block; the request is then given up.
        """
        key = (peer, page.height)
        parts = self._asked.get(key)
        if parts is None:
            return None
        if page.page != len(parts):
            if page.page == 0 and key in self._asked_again:
                del self._asked_again[key]
                return NextPage(height=page.height, page=len(parts))
            return None
        last = page.page + 1 == page.pages
        if not page.page < page.pages <= PAGES_MAX or (
            not last and len(page.data) != PAGE_BYTES_MAX
        ):
            self._give_up(key)
            raise WrongPage(f"page {page.page} of {page.pages} cannot be part of a block")
        parts.append(page.data)
        if not last:
            return NextPage(height=page.height, page=page.page + 1)
        self._give_up(key)
        return WholeBlock(height=page.height, data=b"".join(parts))

    def forget_peer(self, peer: bytes) -> None:
        """Give up all that this peer was asked for."""
        for key in [key for key in self._asked if key[0] == peer]:
            self._give_up(key)

    def _give_up(self, key: tuple[bytes, int]) -> None:
        del self._asked[key]
        self._asked_again.pop(key, None)


def judge_block(
    data: bytes,
    *,
    height: int,
    peer: bytes,
    chain_id: bytes,
    lookup: CommitteeLookup,
    verifier: Verifier,
    find_verified: FindVerified,
) -> BlockFetched:
    """Judge a fetched block: its bytes, its certificate and every witness [T9].

    A payment that `find_verified` knows by its txid had its witnesses judged when it came; where it
    stands in the block with those very witnesses they are not judged again.

    Raises:
        Oversize: If there are more bytes than a decided block may have.
        Malformed: If the bytes are not a decided block in canonical form.
        WrongBlock: If it is not of this height, or not what its certificate covers.
        BadMessageSignature: If a precommit or a witness does not hold.
        UnknownCommittee: If the height's committee is not known here.
    """
    decided = codec.decode(DecidedBlock, data, size_max=DECIDED_BYTES_MAX)
    block, certificate = decided.block, decided.certificate
    if not block.header.height == certificate.height == height:
        raise WrongBlock(f"the block is not that of height {height}")
    if make_block_id(block.header) != certificate.block_id:
        raise WrongBlock("the certificate is for another block")
    committee = committee_of_height(lookup, height)
    voters = [precommit.voter for precommit in certificate.signatures]
    if len(dict.fromkeys(voters)) != len(voters):
        raise WrongBlock("the certificate counts a member twice")
    if committee.weight_of_ids(voters) < committee.quorum:
        raise WrongBlock("the certificate is below quorum")
    opened = derive_transactions(block.transactions)
    transactions = tuple(opened.derived)
    _check_body(block, make_transaction_root([derived.node for derived in transactions]))
    checks = certificate_checks(certificate, lookup=lookup, chain_id=chain_id)
    fresh = [at for at, each in enumerate(transactions) if not _is_held(each, find_verified)]
    checks += spend_checks(opened.only(fresh), chain_id=chain_id)
    if not all(verifier.verify_many(checks)):
        raise BadMessageSignature("a signature of the block does not hold")
    return BlockFetched(peer=peer, decided=decided, transactions=transactions)


def _is_held(derived: VerifiedTransaction, find_verified: FindVerified) -> bool:
    held = find_verified(derived.txid)
    return held is not None and held.leaf == derived.leaf


def _check_body(block: Block, transaction_root: bytes) -> None:
    header = block.header
    closing = header.closing
    justified = (
        block.justification == ()
        if closing is None
        else make_justification_hash(block.justification) == closing.justification_hash
    )
    if (
        not justified
        or header.transaction_root != transaction_root
        or header.previous_commit_hash != make_commit_hash(block.previous_commit)
        or header.evidence_root != make_evidence_root(block.evidence)
    ):
        raise WrongBlock("the body is not the one that the header names")
