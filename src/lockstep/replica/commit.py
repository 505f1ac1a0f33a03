"""A decision: block, coins, epoch step and prune as one write, and what follows [T8, T9]."""

from collections.abc import Iterable, Sequence
from typing import Final

from lockstep.errors import Misuse
from lockstep.ledger.blocks import AssembledBlock, is_closing_height
from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import BallotKind, CommitCertificate, CommitSignature
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.replica import amnesia, evidence, summing
from lockstep.replica.core import Core
from lockstep.replica.effects import BlockAdded, BlockDecided, TransactionsDropped
from lockstep.replica.epoch import enter_epoch, make_status
from lockstep.replica.freezing import enter_closing
from lockstep.replica.height import Candidate, HeightState
from lockstep.replica.saying import say_promises
from lockstep.replica.voting import confirm_waiting, vote_on

SERVED_AT_ONCE: Final = 256
"""Waiting payments looked at before the throttle is asked whether to go on."""


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
    children = _children_of(core, delta.txids)
    dead = _remove_included(core, assembled.transactions)
    dropped = enter_epoch(core) if header.is_closing else ()
    summing.follow(core, delta, by_sync=by_sync)
    core.ballots_below = core.height.own_ballots
    core.height = HeightState(header.height + 1)
    freeze = None
    if is_closing_height(header.height + 1, core.genesis.closing_every):
        freeze = enter_closing(core)
    core.persist(
        BlockDecided(
            block=assembled,
            certificate=certificate,
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
    revisit(core, children)


def revisit(core: Core, children: Iterable[bytes]) -> None:
    """Try again what waited for a block: its children, throttled payments, a new epoch's [F1, F3].

    The highest fee rate is served first, and who comes after one that is throttled waits with it:
    the cost of a block does not grow with the length of the queue.
    """
    if not core.finality.frozen:
        found = [entry for txid in children if (entry := core.pool.get(txid)) is not None]
        vote_on(core, [entry for entry in found if entry.waiting == "orphan"])
        _serve_waiting(core)
    confirm_waiting(core)


def _serve_waiting(core: Core) -> None:
    """Vote for what the throttle held back or a new epoch brings, until it holds back again."""
    waiting = [
        entry for entry in core.pool.waiting() if entry.waiting not in ("conflict", "orphan")
    ]
    for start in range(0, len(waiting), SERVED_AT_ONCE):
        served = waiting[start : start + SERVED_AT_ONCE]
        vote_on(core, served)
        if any(entry.waiting == "throttle" for entry in served):
            break


def _children_of(core: Core, txids: Sequence[bytes]) -> list[bytes]:
    """Return the held payments that were met before one of these was in the chain."""
    if not core.pool.has_children:
        return []
    return list(dict.fromkeys(child for txid in txids for child in core.pool.children_of(txid)))


def _remove_included(core: Core, transactions: Sequence[VerifiedTransaction]) -> list[bytes]:
    """Take the block's transactions out of the pool, and what can never be valid any more [T8]."""
    pending = core.pool.take_included(transactions)
    txids = tuple([verified.txid for verified in transactions])
    core.finality.mark_included(txids)
    for txid in txids if core.unconfirmed else ():
        core.unconfirmed.pop(txid, None)
    dead: dict[bytes, None] = {}
    while pending:
        txid = pending.pop()
        if txid in dead or txid not in core.pool:
            continue
        dead[txid] = None
        pending.extend(core.pool.children_of(txid))
    for txid in dead:
        home = core.finality.home_of(txid)
        if home is not None:
            home[0].dead |= 1 << home[1]
        core.pool.remove(txid)
        core.unconfirmed.pop(txid, None)
    return list(dead)
