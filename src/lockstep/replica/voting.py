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
from lockstep.primitives.bitmap import bitmap_bytes, collect_bits, iterate_bits
from lockstep.primitives.params import VOTED_BYTES_MAX
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import (
    ENTRIES_MAX,
    Vote,
    VoteKind,
    make_vote_digest,
)
from lockstep.primitives.votes import Entry as VoteEntry
from lockstep.replica.admission import find_coins, prefetch_coins
from lockstep.replica.core import Core
from lockstep.replica.effects import (
    Alarm,
    OwnConfirm,
    OwnVote,
    QuorumConfirmed,
    TransactionsDropped,
    TransactionsFinal,
)


def vote_on(
    core: Core, entries: Iterable[Entry], coins: dict[bytes, Coin | None] | None = None
) -> None:
    """Vote for the entries that may be voted for now; the others note what they wait for [F1].

    `coins` are those of all inputs, where the caller has read them in this step.
    """
    if not core.is_voting:
        return
    chosen = [entry for entry in entries if not entry.voted]
    if coins is None:
        coins = prefetch_coins(core, tuple(entry.verified for entry in chosen))
    ready: list[Entry] = []
    for entry in chosen:
        if entry.fee is None and not learn_fee(core, entry, coins):
            continue
        entry.waiting = _lock(core, entry, coins)
        if entry.waiting:
            continue
        core.pool.mark_voted(entry.verified.txid)
        ready.append(entry)
    for vote in sign_votes(core, VoteKind.VOTE, ready):
        core.persist(OwnVote(vote))
        core.durable[vote.signature] = None
        core.note(core.finality.count(vote))
        core.broadcast(vote)


def sign_votes(core: Core, kind: VoteKind, payments: Iterable[Entry]) -> list[Vote]:
    """Make the messages for these payments, and note in the tallies that they were said.

    A message names the copy whose witnesses are good, which need not be the one it is counted by:
    somebody may have spread a spoilt copy first [B5].
    """
    bits: dict[bytes, int] = {}
    for payment in payments:
        core.finality.mark_own(kind, payment.verified.txid)
        bits[payment.batch_id] = bits.get(payment.batch_id, 0) | 1 << payment.position
    entries = [
        VoteEntry(batch_id, bitmap_bytes(said, len(core.batches[batch_id].txids)))
        for batch_id, said in bits.items()
    ]
    votes: list[Vote] = []
    for start in range(0, len(entries), ENTRIES_MAX):
        page = tuple(entries[start : start + ENTRIES_MAX])
        epoch = core.finality.epoch
        digest = make_vote_digest(chain_id=core.chain_id, kind=kind, epoch=epoch, entries=page)
        votes.append(Vote(kind, epoch, core.own_id or b"", page, core.sign(digest)))
    return votes


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
    entries = {position: hold_certified(core, tally, position) for position in iterate_bits(bits)}
    held = [entry for entry in entries.values() if entry is not None]
    learn_fees(core, held)
    unchecked = [
        entry
        for position, entry in entries.items()
        if entry is not None and not tally.own_voted >> position & 1
    ]
    coins = prefetch_coins(core, tuple(entry.verified for entry in unchecked))
    ready: dict[int, Entry] = {}
    for position, entry in entries.items():
        if entry is None:
            core.unconfirmed[tally.txids[position]] = None
            continue
        txid, inputs = entry.verified.txid, entry.verified.transaction.body.inputs
        rival = core.finality.confirmed_rival(txid, inputs)
        if rival is not None:
            sentence = f"{txid.hex()} and {rival.hex()} spend one coin and are both certified"
            core.notify(Alarm("finality.two_certificates", sentence))
            continue
        # What this node voted for had its inputs checked and locked then; a rival decided since
        # would have pruned it from the pool.
        was_checked = tally.own_voted >> position & 1
        if entry.fee is None or not (was_checked or _has_inputs(core, entry, coins)):
            core.unconfirmed[txid] = None
            continue
        core.unconfirmed.pop(txid, None)
        core.finality.confirm(txid, inputs)
        ready[position] = entry
    if not ready:
        return
    certified = tally.messages(VoteKind.VOTE, collect_bits(ready))
    certificate = core.take_undurable(certified)
    for confirm in sign_votes(core, VoteKind.CONFIRM, ready.values()):
        core.persist(OwnConfirm(confirm, certificate))
        core.durable[confirm.signature] = None
        core.note(core.finality.count(confirm))
        core.broadcast(confirm)


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
    coins = find_coins(core, verified, prefetch_coins(core, (verified,)))
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


def _lock(core: Core, entry: Entry, coins: dict[bytes, Coin | None]) -> str:
    """Lock the entry's inputs for it, or return what it waits for [F1, F6]."""
    if core.finality.frozen:
        return "frozen"
    if not _has_inputs(core, entry, coins):
        return "orphan"
    if core.pool.voted_bytes + entry.verified.size_bytes > VOTED_BYTES_MAX:
        return "throttle"
    if not core.finality.lock(entry.verified.txid, entry.verified.transaction.body.inputs):
        return "conflict"
    return ""


def _has_inputs(core: Core, entry: Entry, coins: dict[bytes, Coin | None]) -> bool:
    """Tell whether every input is a coin of the chain or of a certified, held transaction [F1]."""
    for outpoint in entry.verified.transaction.body.inputs:
        if coins.get(outpoint) is None:
            parent = outpoint[:32]
            if parent not in core.pool or not core.finality.is_certified(parent):
                return False
    return entry.fee is not None


def _on_certified(core: Core, reached: Reached) -> None:
    """Confirm what has just been certified, and vote for children that waited for it [F2, F3]."""
    core.height.recheck = True
    confirm_ready(core, reached.tally, reached.bits)
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
    positions = list(iterate_bits(bits))
    for position in positions:
        hold_certified(core, tally, position)
    core.notify(
        TransactionsFinal(
            txids=tuple(tally.txids[position] for position in positions),
            epoch=core.finality.epoch,
            weight=min(tally.weight_at(VoteKind.CONFIRM, position) for position in positions),
            confirms=tuple(confirms),
        )
    )
