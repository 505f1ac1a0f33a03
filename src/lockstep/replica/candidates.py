"""Blocks that others propose: fetched, then judged; the verdict never changes [T2, T4, T7].

What is missing is fetched and waited for, never judged; the driver hears of a proposal only with
its block's verdict, and prevotes nil by its time-out until then.
"""

from itertools import islice

from lockstep.consensus.driver import Driver
from lockstep.crypto.hashing import merkle_nodes
from lockstep.errors import Rejected
from lockstep.ledger.blocks import AssembledBlock, check_block, is_closing_height, kind_index
from lockstep.primitives.bitmap import iterate_bits, parse_bitmap, select_bits
from lockstep.primitives.block import (
    BallotKind,
    CompactBlock,
    InlinePart,
    NamedPart,
    Proposal,
    make_commit_hash,
    make_evidence_root,
    make_justification_hash,
    make_transaction_root,
)
from lockstep.primitives.messages import ProposalMessage
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.replica.agreement import judge_proposals, run
from lockstep.replica.core import Core
from lockstep.replica.events import ProposalReceived
from lockstep.replica.evidence import watch_justification
from lockstep.replica.freezing import WANTS_A_LOOK_MAX
from lockstep.replica.height import BLOCKS_A_ROUND_MAX, Body, Candidate, Verdict
from lockstep.replica.proposing import known_of

ROUNDS_AHEAD_MAX = 8


class BadPart(Rejected):
    """A part of a proposed block names a transaction that is invalid or not there [T2]."""

    code = "block.part"


class WrongBody(Rejected):
    """What stands beside a block's header is not what the header names [T2]."""

    code = "proposal.body"


class WrongProposal(Rejected):
    """A proposal is not its signer's to make, or carries a POLC that is none [T1, T2]."""

    code = "proposal.wrong"


def on_proposal(core: Core, event: ProposalReceived) -> None:
    """Take a proposal of the undecided height.

    Raises:
        WrongProposal: If a fresh proposal's header names another proposer.
        Rejected: If the driver finds the POLC or the turn wrong.
    """
    message = event.message
    proposal = message.proposal
    height = core.height
    driver = height.driver
    if driver is None or proposal.round > driver.state.round + ROUNDS_AHEAD_MAX:
        return
    _check_turn(core, message)
    _check_body(message.block)
    if message.polc:
        run(core, driver.on_certificate(message.polc))
        if core.height is not height:
            return
    candidate = height.candidates.get(proposal.block_id)
    if candidate is None:
        if not _has_room(core, driver, proposal):
            return
        candidate = Candidate(proposal.block_id, message.block.header, proposal.round)
        height.candidates[proposal.block_id] = candidate
    if candidate.offer(Body(message.block, event.inline, event.peer)):
        named = (part.batch_id for part in message.block.parts if isinstance(part, NamedPart))
        height.named.update(dict.fromkeys(named))
    if proposal not in candidate.proposals:
        candidate.proposals.append(proposal)
    examine(core, candidate)


def _check_turn(core: Core, message: ProposalMessage) -> None:
    """Refuse what no honest proposer says, before anything of it is kept or passed on [T1, T2]."""
    proposal = message.proposal
    index = kind_index(proposal.height, core.genesis.closing_every)
    if core.committee.proposer(index, proposal.round).member_id != proposal.proposer:
        raise WrongProposal("it is not the signer's turn to propose")
    if proposal.valid_round >= proposal.round:
        raise WrongProposal("the valid round is not below the round")
    said = (BallotKind.PREVOTE, proposal.height, proposal.valid_round, proposal.block_id)
    if any((b.kind, b.height, b.round, b.block_id) != said for b in message.polc):
        raise WrongProposal("the ballots beside it are not prevotes for it in its valid round")
    if proposal.valid_round < 0 and message.block.header.proposer != proposal.proposer:
        raise WrongProposal("a fresh proposal's header names another proposer")


def _check_body(block: CompactBlock) -> None:
    """Refuse a body of which the small things already differ from what the header names [T2]."""
    header = block.header
    justified = (
        not block.justification
        if header.closing is None
        else make_justification_hash(block.justification) == header.closing.justification_hash
    )
    if (
        not justified
        or header.previous_commit_hash != make_commit_hash(block.previous_commit)
        or header.evidence_root != make_evidence_root(block.evidence)
    ):
        raise WrongBody("the body is not the one that the header names")


def _has_room(core: Core, driver: Driver, proposal: Proposal) -> bool:
    """Tell whether another block of this round is looked at: two, or more where a quorum asks."""
    rivals = [
        message for message in core.height.candidates.values() if message.round == proposal.round
    ]
    return len(rivals) < BLOCKS_A_ROUND_MAX or any(
        driver.votes.has_quorum(proposal.round, kind, proposal.block_id) for kind in BallotKind
    )


def examine_open(core: Core) -> None:
    """Look again at the blocks that wait for batches or certificates."""
    height = core.height
    for candidate in list(height.candidates.values()):
        if candidate.verdict is Verdict.OPEN:
            examine(core, candidate)
        if core.height is not height:
            return


def examine(core: Core, candidate: Candidate) -> None:
    """Judge a block if all of it is here, and tell the driver."""
    if candidate.verdict is Verdict.OPEN and _find_body(core, candidate):
        try:
            _judge(core, candidate)
        except Rejected as fault:
            candidate.verdict = Verdict.INVALID
            candidate.fault = f"{fault.code}: {fault}"
    judge_proposals(core, candidate)


def judge_recorded(core: Core, candidate: Candidate) -> None:
    """Judge a block of the journal, whose certificates were found good before it was signed for.

    Raises:
        Rejected: If the block is not valid on the chain below.
        BadPart: If a batch of it is not in the journal.
    """
    if not _find_body(core, candidate):
        raise BadPart("a batch of a block that was signed for is not in the journal")
    _check(core, candidate)


def _find_body(core: Core, candidate: Candidate) -> bool:
    """Tell whether the body that makes up the header is here; drop and blame what cannot be it.

    What does not fit the header says nothing about the block [T2].
    """
    for body in () if candidate.is_whole else list(candidate.bodies):
        try:
            nodes = _collect_nodes(core, body)
            if (
                nodes is not None
                and make_transaction_root(nodes) != candidate.header.transaction_root
            ):
                raise WrongBody("the transactions are not those that the header names")
        except Rejected as fault:
            candidate.bodies.remove(body)
            core.penalise(body.source, fault.code)
            continue
        if nodes is not None:
            candidate.bodies = [body]
            candidate.is_whole = True
            break
    return candidate.is_whole


def _judge(core: Core, candidate: Candidate) -> None:
    closing = is_closing_height(core.height.height, core.genesis.closing_every)
    if closing or _is_certified(core, candidate.body):
        _check(core, candidate)


def _check(core: Core, candidate: Candidate) -> None:
    block = candidate.body.block
    assembled = AssembledBlock(
        block.header,
        block.previous_commit,
        _collect(core, candidate.body),
        block.justification,
        block.evidence,
    )
    delta, after = check_block(
        assembled,
        genesis=core.genesis,
        state=core.state,
        committee=core.committee,
        previous_committee=core.previous_committee,
        view=core.overlay,
        verifier=core.verifier,
        certified=False,
        coins_sum=core.settled_sum,
        # The body was found by this root.
        known=known_of(core, assembled.transactions, root=block.header.transaction_root),
    )
    candidate.assembled, candidate.delta, candidate.state_after = assembled, delta, after
    candidate.verdict = Verdict.VALID
    watch_justification(core, assembled)


def _collect_nodes(core: Core, body: Body) -> list[bytes] | None:
    """Return the leaves' nodes that the body names, in order, or None while a batch is missing.

    Raises:
        MalformedBitmap: If a part does not fit its batch.
    """
    nodes: list[bytes] = []
    inline = iter(body.inline)
    missing = 0
    for part in body.block.parts:
        if isinstance(part, InlinePart):
            nodes.extend(verified.node for verified in islice(inline, len(part.transactions)))
            continue
        batch = core.batches.get(part.batch_id)
        if batch is None:
            core.fetches.want_batch(part.batch_id, body.source)
            missing += 1
            if missing >= WANTS_A_LOOK_MAX:
                break
        elif not missing:
            bits = parse_bitmap(part.bitmap, len(batch.txids))
            named = select_bits(batch.transactions, bits)
            found = [verified.node for verified in named if verified is not None]
            if len(found) < len(named):
                found = merkle_nodes(select_bits(batch.leaves, bits))
            nodes += found
    return None if missing else nodes


def _collect(core: Core, body: Body) -> tuple[VerifiedTransaction, ...]:
    """Return the block's transactions in order; its batches are held.

    Raises:
        BadPart: If a witness of one of them is bad.
    """
    found: list[VerifiedTransaction] = []
    inline = iter(body.inline)
    for part in body.block.parts:
        if isinstance(part, InlinePart):
            found.extend(islice(inline, len(part.transactions)))
            continue
        batch = core.batches[part.batch_id]
        named = select_bits(batch.transactions, parse_bitmap(part.bitmap, len(batch.txids)))
        good = [verified for verified in named if verified is not None]
        if len(good) < len(named):
            raise BadPart("a transaction of the block has an invalid witness")
        found.extend(good)
    return tuple(found)


def _is_certified(core: Core, body: Body) -> bool:
    """Tell whether every transaction has a certificate of this epoch; ask for what lacks [T4]."""
    certified = True
    for part in body.block.parts:
        if isinstance(part, NamedPart):
            tally = core.finality.batches[part.batch_id]
            bits = parse_bitmap(part.bitmap, len(tally.txids))
            lacking = bits & ~tally.alias_bits & ~tally.certified
            aliased = iterate_bits(bits & tally.alias_bits)
            if lacking or not all(core.finality.is_certified(tally.txids[p]) for p in aliased):
                core.fetches.want_votes(part.batch_id, body.source)
                certified = False
    inline = (verified.txid for verified in body.inline)
    return certified and all(core.finality.is_certified(txid) for txid in inline)
