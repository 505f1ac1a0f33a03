"""Blocks: how one is made over a state, and when one is valid there [T2, T3, T4, T7].

Proposer and judge share one derivation: a block is judged by making its header and coinbase again
from the chain below and comparing. Whether an ordinary block's payments are certified is not for
this room to say: certificates belong to the replica [T4].
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from lockstep.crypto.keys import Verifier
from lockstep.errors import Rejected
from lockstep.ledger.carried import block_time, check_carried
from lockstep.ledger.coins import CoinDelta, CoinView
from lockstep.ledger.evidence import check_evidence_list, note_used
from lockstep.ledger.justification import (
    BadJustification,
    check_justification,
    justification_members,
    make_justification,
)
from lockstep.ledger.known import Known
from lockstep.ledger.masternodes import next_set_hash
from lockstep.ledger.rewards import make_coinbase, participants_with, verify_coinbase
from lockstep.ledger.settlement import check_commitment, due_commitment, settle
from lockstep.ledger.state import ChainState, check_supply
from lockstep.ledger.transition import run_transactions
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.block import (
    BLOCK_VERSION,
    Block,
    BlockHeader,
    ClosingHeader,
    CommitCertificate,
    make_block_id,
    make_commit_hash,
    make_evidence_root,
    make_justification_hash,
    make_transaction_root,
)
from lockstep.primitives.committee import Committee
from lockstep.primitives.evidence import Subject
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.params import CLOSING_BLOCK_BYTES_MAX, ORDINARY_BLOCK_BYTES_MAX
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import Freeze, FreezeProof


class WrongHeader(Rejected):
    """A field of the header does not follow from the chain below and the body [T2, T3]."""

    code = "block.header"


class BlockOversize(Rejected):
    """The transactions exceed the capacity of this kind of block [2.11]."""

    code = "block.size"


class BadCoinbase(Rejected):
    """A closing block's first transaction is not the coinbase that is due [N3]."""

    code = "block.coinbase"


class AssembledBlock(Struct, frozen=True):
    """A block whose transactions' witnesses were found good; a closing one's coinbase is at 0."""

    header: BlockHeader
    previous_commit: CommitCertificate | None
    transactions: tuple[VerifiedTransaction, ...]
    justification: tuple[FreezeProof, ...]
    evidence: tuple[bytes, ...] = ()


def is_closing_height(height: int, closing_every: int) -> bool:
    """Tell whether the block at `height` ends its epoch [M4]."""
    return height % closing_every == 0


def kind_index(height: int, closing_every: int) -> int:
    """Return the number of heights below this one, from 1, that are of its kind [T1]."""
    closing_below = (height - 1) // closing_every
    if is_closing_height(height, closing_every):
        return closing_below
    return height - 1 - closing_below


def make_header(  # noqa: PLR0913  # Each is an input of a pure function.
    *,
    genesis: Genesis,
    state: ChainState,
    committee: Committee,
    previous_committee: Committee | None,
    previous_commit: CommitCertificate | None,
    transaction_root: bytes,
    justification: tuple[FreezeProof, ...],
    proposer: bytes,
    coins_sum: bytes | None,
    evidence: tuple[bytes, ...] = (),
) -> BlockHeader:
    """Make the one header that a block over `state` with this body and proposer can have [T2].

    `coins_sum` is that of the coins above the last closing block; None in an ordinary block [S1].

    Raises:
        BadJustification: If J's voters are not distinct members in order.
    """
    height = state.height + 1
    closing = None
    if is_closing_height(height, genesis.closing_every):
        members = justification_members(justification, committee)
        closing = ClosingHeader(
            next_set_hash=next_set_hash(genesis, state.epoch),
            state_commitment=due_commitment(genesis, state, coins_sum),
            justification_members=bitmap_bytes(members, len(committee)),
            justification_hash=make_justification_hash(justification),
        )
    return BlockHeader(
        version=BLOCK_VERSION,
        chain_id=genesis.chain_id,
        height=height,
        previous=state.block_id,
        previous_closing=state.closing_id,
        epoch=state.epoch,
        time_ms=block_time(state, previous_commit, previous_committee),
        transaction_root=transaction_root,
        set_hash=committee.set_hash,
        evidence_root=make_evidence_root(evidence),
        previous_commit_hash=make_commit_hash(previous_commit),
        proposer=proposer,
        closing=closing,
    )


def assemble_block(  # noqa: PLR0913  # Each is an input of a pure function; none has a default.
    *,
    genesis: Genesis,
    state: ChainState,
    committee: Committee,
    previous_committee: Committee | None,
    previous_commit: CommitCertificate | None,
    payments: Sequence[VerifiedTransaction],
    fees: int,
    freezes: Iterable[tuple[Freeze, Sequence[bytes]]],
    proposer: bytes,
    coins_sum: bytes | None,
    evidence: tuple[bytes, ...] = (),
) -> AssembledBlock:
    """Make the block a proposer proposes over `state`, with coinbase and J where it closes [T6].

    `payments` stand in topological order and pay `fees` together; `freezes` are FREEZEs of quorum
    weight, each with the txids it lists, and empty for an ordinary block. `coins_sum` is that of
    the coins above the last closing block; None in an ordinary block [S1]. `evidence` is encoded
    and in its order [N4].

    Raises:
        Misuse: If a FREEZE lists what is not among the payments.
    """
    transactions = tuple(payments)
    justification: tuple[FreezeProof, ...] = ()
    height = state.height + 1
    if is_closing_height(height, genesis.closing_every):
        listed = list(freezes)
        coinbase, _, _ = make_coinbase(
            genesis=genesis,
            height=height,
            time_ms=block_time(state, previous_commit, previous_committee),
            state=state,
            committee=committee,
            participants=participants_with(
                state,
                committee,
                previous_commit=previous_commit,
                freeze_voters=[freeze.voter for freeze, _ in listed],
            ),
            proposer=proposer,
            fees=fees,
        )
        transactions = (verify_coinbase(coinbase), *transactions)
        justification = make_justification(listed, transactions)
    header = make_header(
        genesis=genesis,
        state=state,
        committee=committee,
        previous_committee=previous_committee,
        previous_commit=previous_commit,
        transaction_root=make_transaction_root([verified.node for verified in transactions]),
        justification=justification,
        proposer=proposer,
        coins_sum=coins_sum,
        evidence=evidence,
    )
    return AssembledBlock(header, previous_commit, transactions, justification, evidence)


def make_block(assembled: AssembledBlock) -> Block:
    """Return the block as it is stored and sent."""
    return Block(
        header=assembled.header,
        previous_commit=assembled.previous_commit,
        transactions=tuple([verified.transaction for verified in assembled.transactions]),
        justification=assembled.justification,
        evidence=assembled.evidence,
    )


def check_block(  # noqa: PLR0913  # Each is an input of a pure function.
    block: AssembledBlock,
    *,
    genesis: Genesis,
    state: ChainState,
    committee: Committee,
    previous_committee: Committee | None,
    view: CoinView,
    verifier: Verifier,
    certified: bool,
    coins_sum: bytes | None,
    known: Known | None = None,
) -> tuple[CoinDelta, ChainState]:
    """Return what a block changes, if it is valid over `state` and its coins [T2, T3, T4, T7].

    `committee` is that of the block's epoch, `previous_committee` of the height below, None at
    height 1; `coins_sum` is that of the coins above the last closing block, None in an ordinary
    block [S1]. Signatures of the carried certificate and of witnesses were checked before; vote
    certificates of ordinary blocks are the caller's to check. With `certified` a commit certificate
    vouches for the block and the signatures in J and in evidence are not looked at [T9]. `known` is
    what was found out before.

    Raises:
        WrongHeader, WrongCommitment, BadCarriedCertificate, BlockOversize, BadCoinbase,
        DuplicateTransaction, BadOrder, InvalidTransaction, BadJustification, BadEvidenceList:
            Each as its class says; what the verifier of evidence raises.
        SupplyBroken: If the supply does not add up below or above the block [L6].
    """
    header, known, signatures = block.header, known or Known(), None if certified else verifier
    _check_place(header, genesis, state)
    check_carried(block.previous_commit, state, previous_committee)
    closing = is_closing_height(header.height, genesis.closing_every)
    if closing:
        check_justification(
            block.justification,
            txids=[verified.txid for verified in block.transactions],
            committee=committee,
            chain_id=genesis.chain_id,
            epoch=state.epoch,
            verifier=signatures,
            known_freezes=known.freezes,
        )
    elif block.justification:
        raise BadJustification("an ordinary block carries FREEZEs")
    root = known.root or make_transaction_root([each.node for each in block.transactions])
    _check_header(block, genesis, state, committee, previous_committee, root, coins_sum)
    _check_size(block.transactions, closing=closing)
    delta, fees = run_transactions(
        block.transactions,
        view=view,
        height=header.height,
        has_coinbase=closing,
        known_fees=known.fees,
    )
    subjects = check_evidence_list(
        block.evidence,
        genesis=genesis,
        state=state,
        view=view,
        verifier=signatures,
        known=known.evidence,
    )
    after = _next_state(block, genesis, state, committee, delta=delta, fees=fees, subjects=subjects)
    after = settle(genesis, header, state, after, coins_sum)
    check_supply(genesis, after)
    return delta, after


def _check_place(header: BlockHeader, genesis: Genesis, state: ChainState) -> None:
    if header.chain_id != genesis.chain_id:
        raise WrongHeader("the block is of another chain")
    if header.height != state.height + 1:
        raise WrongHeader(f"the block is of height {header.height}, not {state.height + 1}")
    if header.previous != state.block_id:
        raise WrongHeader("the block does not stand on the tip of this chain")


def _check_header(
    block: AssembledBlock,
    genesis: Genesis,
    state: ChainState,
    committee: Committee,
    previous_committee: Committee | None,
    root: bytes,
    coins_sum: bytes | None,
) -> None:
    if block.header.proposer not in committee:
        raise WrongHeader("the proposer is not in the set of the epoch")
    due = make_header(
        genesis=genesis,
        state=state,
        committee=committee,
        previous_committee=previous_committee,
        previous_commit=block.previous_commit,
        transaction_root=root,
        justification=block.justification,
        proposer=block.header.proposer,
        coins_sum=coins_sum,
        evidence=block.evidence,
    )
    check_commitment(block.header, due)
    for field in BlockHeader.__struct_fields__:
        if getattr(block.header, field) != getattr(due, field):
            raise WrongHeader(f"the header's {field} does not follow from chain and body")


def _check_size(transactions: Sequence[VerifiedTransaction], *, closing: bool) -> None:
    if closing and not transactions:
        raise BadCoinbase("a closing block begins with its coinbase")
    capacity = CLOSING_BLOCK_BYTES_MAX if closing else ORDINARY_BLOCK_BYTES_MAX
    size = sum([verified.size_bytes for verified in transactions])
    if size > capacity:
        raise BlockOversize(f"transactions of {size} bytes where {capacity} are allowed")


def _next_state(
    block: AssembledBlock,
    genesis: Genesis,
    state: ChainState,
    committee: Committee,
    *,
    delta: CoinDelta,
    fees: int,
    subjects: Sequence[Subject],
) -> ChainState:
    """Check the coinbase where one is due and return the state above the block [N3, T8]."""
    header = block.header
    block_id = make_block_id(header)
    participants = participants_with(
        state,
        committee,
        previous_commit=block.previous_commit,
        freeze_voters=[proof.voter for proof in block.justification],
    )
    issued = burnt = 0
    if header.is_closing:
        coinbase, issued, burnt = make_coinbase(
            genesis=genesis,
            height=header.height,
            time_ms=header.time_ms,
            state=state,
            committee=committee,
            participants=participants,
            proposer=header.proposer,
            fees=fees,
        )
        if block.transactions[0].transaction != coinbase:
            raise BadCoinbase("the first transaction is not the coinbase that is due")
    made = sum([coin.amount for _, coin in delta.created])
    made -= sum([coin.amount for _, coin in delta.spent])
    closing = header.is_closing
    epoch = state.epoch + 1 if closing else state.epoch
    return ChainState(
        height=header.height,
        block_id=block_id,
        closing_id=block_id if closing else state.closing_id,
        epoch=epoch,
        time_ms=header.time_ms,
        closing_time_ms=header.time_ms if closing else state.closing_time_ms,
        coin_count=state.coin_count + len(delta.created) - len(delta.spent),
        coin_sum=state.coin_sum + made,
        fees_pending=0 if closing else state.fees_pending + fees,
        issued=state.issued + issued,
        burnt=state.burnt + burnt,
        registry_root=state.registry_root,
        state_commitment=state.state_commitment,
        coins_sum=state.coins_sum,
        summed_height=state.summed_height,
        participants=b"" if closing else bitmap_bytes(participants, len(committee)),
        evidence_used=note_used(state.evidence_used, subjects, epoch=epoch),
    )
