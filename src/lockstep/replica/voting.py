"""From what is held to our Votes, Confirms and finality [F1-F6].

Check and record are one step of the core; the record is asked for before the message, and a quorum
that our own word completes is acted on before the step ends.
"""

from collections.abc import Iterable

from lockstep.consensus.finality import Reached
from lockstep.consensus.tally import BatchTally
from lockstep.errors import Rejected
from lockstep.ledger.coins import Coin
from lockstep.ledger.rules import check_spend
from lockstep.mempool.pool import Entry
from lockstep.mempool.refusals import Refusal
from lockstep.primitives.bitmap import iterate_bits, select_bits
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import VoteKind
from lockstep.replica import locking
from lockstep.replica.admission import Admission, find_coins, find_parents, prefetch_coins
from lockstep.replica.core import Core
from lockstep.replica.effects import (
    Alarm,
    QuorumConfirmed,
    TransactionsDropped,
    TransactionsFinal,
)
from lockstep.replica.saying import promise, promise_bits


def vote_on(core: Core, entries: Iterable[Entry]) -> None:
    """Vote for the entries that may be voted for now; the others note what they wait for [F1]."""
    if not core.is_voting:
        return
    chosen = [entry for entry in entries if not entry.voted]
    vote_admitted(
        core,
        Admission(
            entries=chosen,
            ready=[],
            refusals=[],
            coins=prefetch_coins(core, tuple([entry.verified for entry in chosen])),
        ),
    )


def vote_admitted(core: Core, admission: Admission) -> None:
    """Vote for what was admitted: what is ready has its inputs locked, the rest may still [F1]."""
    if not core.is_voting:
        return
    if admission.spenders is not None:
        if not admission.ready:
            return
        first = admission.ready[0]
        promise_bits(core, VoteKind.VOTE, first.batch_id, (1 << len(admission.ready)) - 1)
        return
    ready, coins = list(admission.ready), admission.coins
    for entry in [entry for entry in admission.entries if not entry.voted]:
        if entry.fee is None and not learn_fee(core, entry, coins):
            continue
        entry.waiting = locking.lock_inputs(core, entry, coins)
        if entry.waiting:
            continue
        core.pool.mark_voted(entry.verified.txid)
        ready.append(entry)
    promise(core, VoteKind.VOTE, ready)


def settle(core: Core) -> None:
    """Act on the quorums that were reached until no further one is."""
    while core.reached:
        reached = core.reached.popleft()
        if reached.kind is VoteKind.VOTE:
            _on_certified(core, reached)
        else:
            _on_final(core, reached)


def confirm_ready(core: Core, tally: BatchTally, bits: int) -> None:
    """Confirm those certified transactions of a batch that may be confirmed now [F3]."""
    if not core.is_voting or core.finality.frozen:
        return
    bits &= tally.certified & ~(tally.own_confirmed | tally.included | tally.dead)
    clear = bits & _checked_before(tally)
    confirmed, others = clear, list[Entry]()
    if clear != bits:
        more, others = _checked_now(core, tally, bits & ~clear)
        confirmed |= more
    if not confirmed:
        return
    certified = tally.messages(VoteKind.VOTE, confirmed)
    core.unsaid_certificate += core.take_undurable(certified)
    if clear:
        promise_bits(core, VoteKind.CONFIRM, tally.batch_id, clear)
    promise(core, VoteKind.CONFIRM, others)
    for txid in select_bits(tally.txids, clear) if core.unconfirmed else ():
        core.unconfirmed.pop(txid, None)


def _checked_before(tally: BatchTally) -> int:
    """Return what may be confirmed when certified, without another look [F3].

    This node voted for it, so its inputs were checked and locked; a rival decided since would have
    made it dead; and no other payment that is held spends a coin of it, so no rival was confirmed.
    """
    return tally.own_held & ~(tally.included | tally.dead | tally.contested)


def _checked_now(core: Core, tally: BatchTally, bits: int) -> tuple[int, list[Entry]]:
    """Promise those of the others that may be promised; return positions and entries [F3]."""
    entries = {position: hold_certified(core, tally, position) for position in iterate_bits(bits)}
    learn_fees(core, [entry for entry in entries.values() if entry is not None])
    unchecked = [
        entry
        for position, entry in entries.items()
        if entry is not None and not tally.own_voted >> position & 1
    ]
    coins = prefetch_coins(core, tuple(entry.verified for entry in unchecked))
    confirmed, ready = 0, list[Entry]()
    for position, entry in entries.items():
        if entry is None:
            core.unconfirmed[tally.txids[position]] = None
            continue
        txid, inputs = entry.verified.txid, entry.verified.inputs
        rival = core.finality.confirmed_rival(txid, inputs)
        if rival is not None:
            sentence = f"{txid.hex()} and {rival.hex()} spend one coin and are both certified"
            core.notify(Alarm("finality.two_certificates", sentence))
            continue
        was_checked = tally.own_voted >> position & 1
        if entry.fee is None or not (was_checked or locking.has_inputs(core, entry, coins)):
            core.unconfirmed[txid] = None
            continue
        core.unconfirmed.pop(txid, None)
        core.finality.confirm(txid, inputs)
        confirmed |= 1 << position
        ready.append(entry)
    return confirmed, ready


def confirm_waiting(core: Core) -> None:
    """Look again at certified transactions whose parents or good copies were missing [F3]."""
    for txid in list(core.unconfirmed):
        home = core.finality.home_of(txid)
        if home is None:
            del core.unconfirmed[txid]
        else:
            confirm_ready(core, home[0], 1 << home[1])


def hold_certified(core: Core, tally: BatchTally, position: int) -> Entry | None:
    """Return the pool's entry of a certified transaction, held again if it had been evicted.

    None where the transaction is in the chain, dead, or was found invalid here.
    """
    txid = tally.txids[position]
    entry = core.pool.get(txid)
    if entry is not None:
        core.pool.mark_voted(txid)
        return entry
    found = _find_good_copy(core, tally, position)
    if found is None or core.overlay.height_of(txid) is not None:
        return None
    batch_id, place, verified = found
    known = prefetch_coins(core, (verified,))
    coins = find_coins(core, verified, known)
    try:
        fee = None if coins is None else check_spend(verified, coins)
    except Rejected as fault:
        core.notify(Alarm("finality.invalid_certified", f"{txid.hex()} is certified: {fault}"))
        return None
    entry = Entry(
        verified=verified,
        batch_id=batch_id,
        position=place,
        fee=fee,
        received_ms=core.time_ms,
        voted=True,
        parents=find_parents(verified, known),
    )
    core.pool.admit(entry)
    return entry


def _find_good_copy(
    core: Core, tally: BatchTally, position: int
) -> tuple[bytes, int, VerifiedTransaction] | None:
    """Return where a copy with good witnesses stands: where it is counted, or in another batch."""
    batch_id, place = core.spoilt.get(tally.txids[position]) or (tally.batch_id, position)
    batch = core.batches.get(batch_id)
    verified = None if batch is None else batch.transactions[place]
    return None if verified is None else (batch_id, place, verified)


def learn_fees(core: Core, entries: Iterable[Entry]) -> None:
    """Judge those entries that were orphans when they came and whose parents are here now."""
    orphans = [entry for entry in entries if entry.fee is None]
    coins = prefetch_coins(core, tuple(entry.verified for entry in orphans))
    for entry in orphans:
        learn_fee(core, entry, coins)


def learn_fee(core: Core, entry: Entry, coins: dict[bytes, Coin | None]) -> bool:
    """Judge an orphan whose parents have come; False while they lack or when it is invalid [F1]."""
    verified = entry.verified
    spent = find_coins(core, verified, coins)
    if spent is None:
        entry.waiting = "orphan"
        return False
    try:
        core.pool.set_fee(verified.txid, check_spend(verified, spent))
    except Rejected as fault:
        core.pool.remove(verified.txid)
        refusal = Refusal(verified.leaf, verified.txid, fault.code, str(fault), core.time_ms)
        core.refusals.remember(refusal)
        core.notify(TransactionsDropped((verified.txid,), fault.code))
        return False
    return True


def _on_certified(core: Core, reached: Reached) -> None:
    """Confirm what has just been certified, and vote for children that waited for it [F2, F3]."""
    core.height.recheck = True
    confirm_ready(core, reached.tally, reached.bits)
    if not core.pool.has_children:
        return
    children: dict[bytes, Entry] = {}
    for position in iterate_bits(reached.bits):
        for child in core.pool.children_of(reached.tally.txids[position]):
            entry = core.pool.get(child)
            if entry is not None:
                children[child] = entry
    if children:
        vote_on(core, children.values())
        confirm_waiting(core)


def _on_final(core: Core, reached: Reached) -> None:
    """Journal the quorum of Confirms and tell our people [F4]."""
    tally = reached.tally
    bits = reached.bits & ~tally.included
    if not bits:
        return
    confirms = tally.messages(VoteKind.CONFIRM, bits)
    fresh = core.take_undurable(confirms)
    if fresh:
        core.persist(QuorumConfirmed(fresh))
    for position in iterate_bits(bits & (~tally.own_held | tally.dead)):
        entry = core.pool.get(tally.txids[position])
        if entry is None or not entry.voted:
            hold_certified(core, tally, position)
    core.notify(
        TransactionsFinal(
            txids=tuple(select_bits(tally.txids, bits)),
            epoch=core.finality.epoch,
            weight=tally.least_weight(VoteKind.CONFIRM, bits),
            confirms=tuple(confirms),
        )
    )
