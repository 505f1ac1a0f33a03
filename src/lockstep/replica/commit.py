"""A decision: block, coins, epoch step and prune as one write, and what follows [T8, T9]."""

from collections.abc import Iterable

from lockstep.errors import Misuse
from lockstep.ledger.blocks import AssembledBlock, is_closing_height, make_block
from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import BallotKind, CommitCertificate, CommitSignature
from lockstep.primitives.messages import DecidedBlock
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.replica import amnesia, evidence, summing
from lockstep.replica.core import Core
from lockstep.replica.effects import BlockAdded, BlockDecided, TransactionsDropped
from lockstep.replica.epoch import enter_epoch, make_status
from lockstep.replica.freezing import enter_closing
from lockstep.replica.height import Candidate, HeightState
from lockstep.replica.saying import say_promises
from lockstep.replica.voting import confirm_waiting, vote_on


def commit_decision(core: Core, candidate: Candidate, round_number: int) -> None:
    """Commit a block this node saw a quorum of precommits for."""
    driver = core.height.driver
    assembled, delta, after = candidate.assembled, candidate.delta, candidate.state_after
    if driver is None or assembled is None or delta is None or after is None:
        raise Misuse("only a block that was judged valid is decided")
    ballots = driver.votes.votes_for(round_number, BallotKind.PRECOMMIT, candidate.block_id)
    certificate = CommitCertificate(
        core.height.height,
        round_number,
        candidate.block_id,
        tuple(CommitSignature(b.voter, b.time_ms, b.signature) for b in ballots),
    )
    commit_block(core, assembled, delta, after, certificate, by_sync=False)


def commit_block(
    core: Core,
    assembled: AssembledBlock,
    delta: CoinDelta,
    after: ChainState,
    certificate: CommitCertificate,
    *,
    by_sync: bool,
) -> None:
    """Apply a decided block and ask for the one write that makes it durable [T8].

    The caller begins the next height.
    """
    header = assembled.header
    # What was promised before this decision is said before it, and before any FREEZE it brings.
    say_promises(core)
    amnesia.check_certificates(core, certificate, assembled.previous_commit)
    evidence.watch_justification(core, assembled)
    core.overlay.apply(delta)
    core.state = after
    core.tip_certificate = certificate
    dead = _remove_included(core, assembled.transactions)
    dropped = enter_epoch(core) if header.is_closing else ()
    summing.follow(core, delta, closes_epoch=header.is_closing)
    core.ballots_below = core.height.own_ballots
    core.height = HeightState(header.height + 1)
    freeze = None
    if is_closing_height(header.height + 1, core.genesis.closing_every):
        freeze = enter_closing(core)
    core.persist(
        BlockDecided(
            decided=DecidedBlock(make_block(assembled), certificate),
            delta=delta,
            state=after,
            freeze=freeze,
            closes_epoch=header.is_closing,
            dropped_batches=dropped,
            dropped_evidence=evidence.drop_settled(core),
        )
    )
    core.broadcast(make_status(core))
    if freeze is not None:
        core.broadcast(freeze)
    core.notify(
        BlockAdded(
            height=header.height,
            block_id=certificate.block_id,
            epoch=header.epoch,
            closing=header.is_closing,
            time_ms=header.time_ms,
            txids=delta.txids,
            round=certificate.round,
            by_sync=by_sync,
        )
    )
    if dead:
        core.notify(TransactionsDropped(tuple(dead), "tx.double_spend"))
    if header.is_closing:
        amnesia.enter_epoch(core)
    revisit(core)


def revisit(core: Core) -> None:
    """Try again what waited for a block: orphans, throttled payments, a new epoch's [F1, F3]."""
    if not core.finality.frozen:
        vote_on(core, [entry for entry in core.pool.waiting() if entry.waiting != "conflict"])
    confirm_waiting(core)


def _remove_included(core: Core, transactions: Iterable[VerifiedTransaction]) -> list[bytes]:
    """Take the block's transactions out of the pool, and what can never be valid any more [T8]."""
    rivals: dict[bytes, None] = {}
    for verified in transactions:
        _mark(core, verified.txid, dead=False)
        for outpoint in verified.transaction.body.inputs:
            for spender in core.pool.spenders(outpoint):
                if spender != verified.txid:
                    rivals[spender] = None
    for verified in transactions:
        _release(core, verified.txid)
    dead: dict[bytes, None] = {}
    pending = list(rivals)
    while pending:
        txid = pending.pop()
        if txid in dead or txid not in core.pool:
            continue
        dead[txid] = None
        pending.extend(core.pool.children_of(txid))
    for txid in dead:
        _mark(core, txid, dead=True)
        _release(core, txid)
    return list(dead)


def _mark(core: Core, txid: bytes, *, dead: bool) -> None:
    home = core.finality.home_of(txid)
    if home is None:
        return
    tally, position = home
    if dead:
        tally.dead |= 1 << position
    else:
        tally.included |= 1 << position


def _release(core: Core, txid: bytes) -> None:
    core.pool.remove(txid)
    core.unconfirmed.pop(txid, None)
