"""Rebuilding a replica from its journal: replay into the same parts [D2].

Nothing is verified again, for each record was checked before it was written and carries its own
checksum. Effects are dropped and nothing is signed; `resume` then goes on from there.
"""

from collections.abc import Iterable
from typing import assert_never

from lockstep.consensus.finality import Reached
from lockstep.consensus.rounds import SendPrecommit, SendPrevote, SendProposal
from lockstep.consensus.snapshot import DriverSnapshot
from lockstep.errors import Fatal, Rejected
from lockstep.ledger.blocks import is_closing_height
from lockstep.ledger.coins import CoinDelta
from lockstep.primitives.batch import decode_batch
from lockstep.primitives.bitmap import collect_bits, iterate_bits, parse_bitmap
from lockstep.primitives.block import Ballot, BallotKind, InlinePart, Proposal
from lockstep.primitives.messages import DecidedBlock, ProposalMessage
from lockstep.primitives.transaction import (
    VerifiedBatch,
    VerifiedTransaction,
)
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica import agreement, candidates, summing
from lockstep.replica.admission import admit_batch
from lockstep.replica.commit import revisit
from lockstep.replica.core import Core
from lockstep.replica.effects import (
    AmnesiaEnded,
    AmnesiaNoted,
    BatchHeld,
    BlockDecided,
    EvidenceHeld,
    OwnConfirm,
    OwnFreeze,
    OwnVote,
    QuorumConfirmed,
    Record,
    RoundSigned,
)
from lockstep.replica.evidence import restore
from lockstep.replica.freezing import hold_freeze, sign_freeze
from lockstep.replica.height import Body, Candidate
from lockstep.replica.tx_path import hold_batch
from lockstep.replica.voting import hold_certified
from lockstep.replica.witnesses import derive_parts, derive_transactions


class JournalContradiction(Fatal):
    """The journal fits neither the chain nor itself; to sign on would risk a double vote."""

    code = "journal.contradiction"
    hint = "keep the directory for study, and let a node with a new key sync anew"


def recover(
    core: Core,
    records: Iterable[Record],
    tip: DecidedBlock | None,
    deltas: Iterable[CoinDelta],
) -> None:
    """Replay the records in order over the state they were written above.

    `deltas` are what the blocks changed above the height whose sum of coins the state has [S1].

    Raises:
        JournalContradiction: If a record cannot have been written over this state.
        ChangesMissing: If the deltas are not those of all these blocks.
    """
    if tip is not None and tip.certificate.block_id != core.state.block_id:
        raise JournalContradiction("the tip's block is not the one that the state names")
    summing.recall(core, deltas)
    core.recovering = True
    core.finality.frozen = is_closing_height(core.height.height, core.genesis.closing_every)
    limits = core.pool.transactions_max, core.pool.bytes_max
    # What was voted for must find its place before it is known that it was voted for.
    core.pool.transactions_max = core.pool.bytes_max = 2**62
    rounds: list[RoundSigned] = []
    for record in records:
        match record:
            case BatchHeld():
                _hold(core, record)
            case OwnVote(vote=vote):
                _replay_vote(core, vote)
            case OwnConfirm(confirm=confirm, certificate=certificate):
                for vote in certificate:
                    _count(core, vote)
                _replay_confirm(core, confirm)
            case EvidenceHeld():
                restore(core, record)
            case QuorumConfirmed(confirms=confirms):
                for confirm in confirms:
                    _count(core, confirm)
            case RoundSigned():
                rounds.append(record)
            case BlockDecided(freeze=freeze) | OwnFreeze(freeze=freeze):
                if freeze is not None and freeze.epoch == core.state.epoch:
                    hold_freeze(core, freeze, None)
            case AmnesiaNoted(last_epoch=last_epoch):
                core.silence.recall(last_epoch)
            case AmnesiaEnded():
                core.silence.forget()
            case _:
                assert_never(record)
    core.pool.transactions_max, core.pool.bytes_max = limits
    _restore_rounds(core, [r for r in rounds if r.height == core.height.height])
    core.reached.clear()
    core.recovering = False


def resume(core: Core) -> None:
    """Go on in the round of the height that was replayed.

    Called once, when the replica starts; from here on effects count. Nothing is signed before
    `begin_voting`.
    """
    driver, height = core.height.driver, core.height
    agreement.begin_height(core)
    messages, core.resumed = core.resumed, []
    if driver is None:
        return
    for message in messages:
        if core.height is not height:
            return
        if isinstance(message, Proposal):
            agreement.run(core, driver.on_proposal(message, valid=True))
        elif isinstance(message, Ballot):
            agreement.run(core, driver.on_vote(message))
        else:
            agreement.run(core, driver.on_certificate(message))
    if core.height is height:
        agreement.run(core, driver.start())


def begin_voting(core: Core) -> None:
    """Sign from here on, first what waited for it: the silence of the start is over [D3].

    Certificates not yet confirmed, payments not yet voted for, the FREEZE where the block below
    was decided in silence, and what the round asked for.
    """
    for tally in core.finality.batches.values():
        pending = tally.certified & ~(tally.own_confirmed | tally.included)
        if pending:
            core.reached.append(Reached(tally, VoteKind.VOTE, pending))
    if core.finality.frozen and core.own_freeze is None:
        freeze = sign_freeze(core)
        core.persist(OwnFreeze(freeze))
        core.broadcast(freeze)
    revisit(core, [entry.verified.txid for entry in core.pool])
    agreement.speak(core)


def _hold(core: Core, record: BatchHeld) -> None:
    parts = decode_batch(record.body)
    faults = dict(record.faults)
    derived = derive_parts(parts, 0, len(parts.bodies)).derived
    verified = VerifiedBatch(
        batch_id=record.batch_id,
        body=record.body,
        txids=tuple([transaction.txid for transaction in derived]),
        leaves=tuple([transaction.leaf for transaction in derived]),
        transactions=tuple([None if i in faults else t for i, t in enumerate(derived)]),
        faults=faults,
    )
    admit_batch(core, verified, own=False)
    hold_batch(core, verified)
    core.finality.batches[record.batch_id].included = collect_bits(
        position
        for position, txid in enumerate(verified.txids)
        if txid not in core.pool and core.overlay.height_of(txid) is not None
    )


def _count(core: Core, vote: Vote) -> None:
    if vote.epoch != core.state.epoch:
        raise JournalContradiction(f"a vote of epoch {vote.epoch} stands in {core.state.epoch}")
    core.durable[vote.signature] = None
    core.note(core.finality.count(vote))


def _replay_vote(core: Core, vote: Vote) -> None:
    """Take the locks again that our Vote stands for [F1]."""
    _count(core, vote)
    for verified in _mark_own(core, vote):
        if verified.txid in core.pool:
            core.pool.mark_voted(verified.txid)
        # A payment that died since keeps its locks: they live as long as the epoch.
        if not core.finality.lock(verified.txid, verified.inputs):
            raise JournalContradiction("the journal holds two votes of ours that spend one coin")


def _replay_confirm(core: Core, confirm: Vote) -> None:
    """Take it again that we confirmed these payments [F3]."""
    _count(core, confirm)
    for verified in _mark_own(core, confirm):
        tally, position = core.finality.place_of(verified.txid)
        hold_certified(core, tally, position)
        inputs = verified.inputs
        if core.finality.confirmed_rival(verified.txid, inputs) is not None:
            raise JournalContradiction("the journal holds two Confirms of ours that spend one coin")
        core.finality.confirm(verified.txid, inputs)


def _mark_own(core: Core, vote: Vote) -> list[VerifiedTransaction]:
    """Mark in the tallies what we said, and return what it was for."""
    said: list[VerifiedTransaction] = []
    for entry in vote.entries:
        batch = core.batches.get(entry.batch_id)
        if batch is None:
            raise JournalContradiction("a vote of ours names a batch that the journal lacks")
        bits = parse_bitmap(entry.bitmap, len(batch.txids))
        for position in iterate_bits(bits):
            verified = batch.transactions[position]
            if verified is None:
                raise JournalContradiction("a vote of ours is for a copy with a bad witness")
            said.append(verified)
        core.finality.mark_own(vote.kind, entry.batch_id, bits)
    return said


def _restore_rounds(core: Core, records: list[RoundSigned]) -> None:
    """Restore the driver at the highest round signed in, with lock and valid value [D2]."""
    if not records:
        return
    last = max(record.round for record in records)
    newest = records[-1]
    proposal: SendProposal | None = None
    ballots: dict[BallotKind, Ballot] = {}
    for record in records:
        _restore_messages(core, record)
        if record.round != last:
            continue
        if record.proposal is not None:
            signed = record.proposal
            proposal = SendProposal(last, signed.block_id, signed.valid_round)
        if record.ballot is not None:
            ballots[record.ballot.kind] = record.ballot
    prevote = ballots.get(BallotKind.PREVOTE)
    precommit = ballots.get(BallotKind.PRECOMMIT)
    snapshot = DriverSnapshot(
        round=last,
        proposal=proposal,
        prevote=None if prevote is None else SendPrevote(last, prevote.block_id),
        precommit=None if precommit is None else SendPrecommit(last, precommit.block_id),
        locked_value=newest.locked_value,
        locked_round=newest.locked_round,
        valid_value=newest.valid_value,
        valid_round=newest.valid_round,
    )
    core.height.driver = agreement.make_driver(core, snapshot)


def _restore_messages(core: Core, record: RoundSigned) -> None:
    """Keep what was signed to be fed to the driver, and the block behind it as a candidate."""
    if record.block is not None:
        _restore_block(core, record.block)
    if record.proposal is not None:
        block_id = record.proposal.block_id
        if block_id not in core.height.candidates:
            raise JournalContradiction("a proposal of ours is in the journal without its block")
        core.height.own_proposals[record.round] = record.proposal
        core.resumed.append(record.proposal)
    if record.ballot is not None:
        core.height.own_ballots[record.round, record.ballot.kind] = record.ballot
        core.resumed.append(record.ballot)
    if record.polc:
        core.height.recorded_polcs[record.valid_round, record.valid_value or b""] = None
        core.resumed.append(record.polc)


def _restore_block(core: Core, message: ProposalMessage) -> None:
    """Judge a recorded block again; we signed for it, so it was valid, certificates and all."""
    inline = derive_transactions(
        [
            transaction
            for part in message.block.parts
            if isinstance(part, InlinePart)
            for transaction in part.transactions
        ]
    )
    block_id = message.proposal.block_id
    candidate = Candidate(block_id, message.block.header, message.proposal.round)
    candidate.offer(Body(message.block, tuple(inline.derived), None))
    try:
        candidates.judge_recorded(core, candidate)
    except Rejected as fault:
        raise JournalContradiction(f"a block we signed for is not valid: {fault}") from fault
    core.height.candidates[block_id] = candidate
    core.height.recorded_blocks[block_id] = None
    core.resumed.append(message.proposal)
