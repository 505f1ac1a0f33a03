"""The block this node proposes when it is its turn [T4, T6].

Payments stand in generations: first those whose inputs are all in the chain below, then their
children, and so on; within a generation they are named batch by batch.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Final

from lockstep.errors import Misuse, Rejected
from lockstep.ledger.blocks import AssembledBlock, assemble_block, check_block, is_closing_height
from lockstep.ledger.known import Known
from lockstep.mempool.pool import Entry
from lockstep.primitives.bitmap import bitmap_bytes, collect_bits, select_bits
from lockstep.primitives.block import (
    PARTS_MAX,
    CompactBlock,
    InlinePart,
    NamedPart,
    make_block_id,
)
from lockstep.primitives.params import (
    CLOSING_BLOCK_BYTES_MAX,
    ORDINARY_BLOCK_BYTES_MAX,
    WAITING_AGE_MS,
    WAITING_SHARE,
)
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import Freeze
from lockstep.replica.admission import prefetch_coins
from lockstep.replica.core import Core
from lockstep.replica.evidence import known_evidence, pieces_for_block
from lockstep.replica.height import Body, Candidate, Verdict
from lockstep.replica.voting import hold_certified, learn_fees

PAYMENT_PARTS_MAX: Final = PARTS_MAX - 1
"""One part is the coinbase's in a closing block."""

Part = tuple[bytes, int]
"""A batch id and the bitmap of those of its transactions that stand together in the block."""


def make_candidate(core: Core) -> Candidate | None:
    """Make the block for our turn, judge it like anybody's, and hold it as a candidate.

    None while a closing block cannot be made: the FREEZEs whose lists can be placed in it lack the
    quorum [T6].

    Raises:
        Misuse: If our own block is invalid, which is a defect.
    """
    closing = is_closing_height(core.height.height, core.genesis.closing_every)
    freezes: list[tuple[Freeze, tuple[bytes, ...]]] = []
    chosen = certified_entries(core)
    if closing:
        freezes = [(copy.freeze, copy.txids or ()) for copy in core.height.usable.values()]
        chosen += _waiting_entries(core, chosen)
    capacity = CLOSING_BLOCK_BYTES_MAX if closing else ORDINARY_BLOCK_BYTES_MAX
    listed = dict.fromkeys(txid for _, txids in freezes for txid in txids)
    parts, payments = arrange(core, chosen, capacity_bytes=capacity, listed=listed)
    if closing:
        placed = {entry.verified.txid: None for entry in payments}
        freezes = [row for row in freezes if all(txid in placed for txid in row[1])]
        voters = [freeze.voter for freeze, _ in freezes]
        if core.committee.weight_of_ids(voters) < core.committee.quorum:
            return None
    assembled = assemble_block(
        genesis=core.genesis,
        state=core.state,
        committee=core.committee,
        previous_committee=core.previous_committee,
        previous_commit=core.tip_certificate,
        payments=[entry.verified for entry in payments],
        fees=sum(entry.fee or 0 for entry in payments),
        freezes=freezes,
        proposer=core.own_id or b"",
        coins_sum=core.settled_sum,
        evidence=pieces_for_block(core),
    )
    return _hold(core, assembled, parts, coinbase=assembled.transactions[:1] if closing else ())


def certified_entries(core: Core) -> list[Entry]:
    """Return the certified payments for the next block, batch by batch; none is in the chain.

    An ordinary block waits for those that are not final yet [T4]. Of what is final a quorum holds
    the certificate, and judges the block at once; what was certified here a moment ago they would
    have to wait for, and under load the round would end before it came. A closing block takes all.
    """
    held = core.pool.get
    closing = is_closing_height(core.height.height, core.genesis.closing_every)
    found: list[Entry] = []
    for tally in core.finality.batches.values():
        bits = tally.certified & ~(tally.included | tally.dead)
        if not closing:
            bits &= tally.final
        if not bits:
            continue
        for position, txid in select_bits(list(enumerate(tally.txids)), bits):
            entry = held(txid)
            if entry is None or not entry.voted:
                entry = hold_certified(core, tally, position)
            if entry is not None:
                found.append(entry)
    learn_fees(core, found)
    return [entry for entry in found if entry.fee is not None]


def arrange(
    core: Core, entries: Sequence[Entry], *, capacity_bytes: int, listed: dict[bytes, None]
) -> tuple[list[Part], list[Entry]]:
    """Put payments in topological order within the capacity; return the parts that say so.

    What a FREEZE of J lists, with its ancestors, goes first, for it must be in [T6, F6]. A payment
    whose input is neither in the chain nor among the chosen is left out with its descendants.
    """
    parts: list[Part] = []
    ordered: list[Entry] = []
    room = capacity_bytes
    chosen = {entry.verified.txid: entry for entry in entries}
    needed = _with_ancestors(chosen, listed)
    first = [entry for txid, entry in chosen.items() if txid in needed]
    second = [entry for txid, entry in chosen.items() if txid not in needed]
    placed: dict[bytes, None] = {}
    for group in (first, second):
        for number, generation in enumerate(_generations(core, group, placed)):
            together: dict[bytes, list[Entry]] = {}
            for entry in generation:
                size_bytes = entry.verified.size_bytes
                # The first generation has its inputs; a parent of a later one may have been left.
                if size_bytes > room or (number and not _parents_in(entry, chosen, placed)):
                    continue
                room -= size_bytes
                placed[entry.verified.txid] = None
                together.setdefault(entry.batch_id, []).append(entry)
            for batch_id, entries_of_batch in together.items():
                if len(parts) >= PAYMENT_PARTS_MAX:
                    # More would not fit the one frame in which a proposal travels.
                    return parts, ordered
                entries_of_batch.sort(key=_position)
                parts.append((batch_id, collect_bits(map(_position, entries_of_batch))))
                ordered.extend(entries_of_batch)
    return parts, ordered


_position = attrgetter("position")


def _with_ancestors(chosen: dict[bytes, Entry], listed: Iterable[bytes]) -> dict[bytes, None]:
    needed: dict[bytes, None] = {}
    pending = [txid for txid in listed if txid in chosen]
    while pending:
        txid = pending.pop()
        if txid in needed:
            continue
        needed[txid] = None
        pending.extend(parent for parent in _parents(chosen[txid]) if parent in chosen)
    return needed


def _parents(entry: Entry) -> list[bytes]:
    return list(dict.fromkeys(o[:32] for o in entry.verified.inputs))


def _parents_in(entry: Entry, chosen: dict[bytes, Entry], placed: dict[bytes, None]) -> bool:
    return all(parent in placed for parent in _parents(entry) if parent in chosen)


def _generations(
    core: Core, entries: Sequence[Entry], placed: dict[bytes, None]
) -> Iterable[list[Entry]]:
    """Yield payments whose inputs are there, then those that only they make possible, and so on.

    One without parents has its coins in the chain still: a rival in a block would have pruned it.
    """
    coins = prefetch_coins(core, tuple([entry.verified for entry in entries if entry.parents]))
    group = {entry.verified.txid: entry for entry in entries}
    lacking: dict[bytes, int] = {}
    children: dict[bytes, list[bytes]] = {}
    ready: list[Entry] = []
    for txid, entry in group.items():
        if entry.fee is None:
            continue
        if not entry.parents:
            ready.append(entry)
            continue
        missing = [
            outpoint[:32]
            for outpoint in entry.verified.inputs
            if coins[outpoint] is None and outpoint[:32] not in placed
        ]
        if not missing:
            ready.append(entry)
        elif all(parent in group for parent in missing):
            parents = dict.fromkeys(missing)
            lacking[txid] = len(parents)
            for parent in parents:
                children.setdefault(parent, []).append(txid)
    while ready:
        yield ready
        following: list[Entry] = []
        for entry in ready:
            for child in children.get(entry.verified.txid, ()):
                lacking[child] -= 1
                if not lacking[child]:
                    following.append(group[child])
        ready = following


def _waiting_entries(core: Core, certified: Sequence[Entry]) -> list[Entry]:
    """Choose uncertified payments for a closing block, oldest first, none in conflict [T6].

    A payment's turn comes only when its parents are there: children that came before them, or whose
    parents lose to a rival, would else take the room in vain, epoch after epoch.
    """
    there = {entry.verified.txid: None for entry in certified}
    taken = {o: None for entry in certified for o in entry.verified.inputs}
    waiting = [
        entry
        for entry in core.pool
        # A clock that was set back must not hide what came before it was.
        if not 0 <= core.time_ms - entry.received_ms < WAITING_AGE_MS
        and entry.fee is not None
        and entry.verified.txid not in there
    ]
    coins = prefetch_coins(core, tuple([entry.verified for entry in waiting if entry.parents]))
    places = {entry.verified.txid: place for place, entry in enumerate(waiting)}
    lacking: list[int] = []
    for entry in waiting:
        inputs = entry.verified.inputs if entry.parents else ()
        parents = {o[:32]: None for o in inputs if coins[o] is None and o[:32] not in there}
        lacking.append(len(parents))
    ready = [place for place, count in enumerate(lacking) if not count]
    room = CLOSING_BLOCK_BYTES_MAX // WAITING_SHARE
    picked: list[Entry] = []
    while ready:
        entry = waiting[heappop(ready)]
        inputs = entry.verified.inputs
        if entry.verified.size_bytes > room or any(outpoint in taken for outpoint in inputs):
            continue
        room -= entry.verified.size_bytes
        taken.update(dict.fromkeys(inputs))
        picked.append(entry)
        for child in core.pool.children_of(entry.verified.txid):
            place = places.get(child)
            if place is not None:
                lacking[place] -= 1
                if not lacking[place]:
                    heappush(ready, place)
    return picked


def _hold(
    core: Core,
    assembled: AssembledBlock,
    parts: Sequence[Part],
    *,
    coinbase: tuple[VerifiedTransaction, ...],
) -> Candidate:
    named: list[NamedPart | InlinePart] = []
    if coinbase:
        named.append(InlinePart(tuple(verified.transaction for verified in coinbase)))
    for batch_id, bits in parts:
        count = len(core.finality.batches[batch_id].txids)
        named.append(NamedPart(batch_id, bitmap_bytes(bits, count)))
    header = assembled.header
    block = CompactBlock(
        header,
        assembled.previous_commit,
        tuple(named),
        assembled.justification,
        assembled.evidence,
    )
    block_id = make_block_id(header)
    held = core.height.candidates.get(block_id)
    if held is not None and held.verdict is Verdict.VALID:
        return held
    candidate = Candidate(block_id, header, -1)
    candidate.offer(Body(block, coinbase, None))
    candidate.is_whole = True
    candidate.assembled = assembled
    try:
        candidate.delta, candidate.state_after = check_block(
            assembled,
            genesis=core.genesis,
            state=core.state,
            committee=core.committee,
            previous_committee=core.previous_committee,
            view=core.overlay,
            verifier=core.verifier,
            certified=False,
            coins_sum=core.settled_sum,
            known=known_of(core, assembled.transactions, root=header.transaction_root),
        )
    except Rejected as fault:
        raise Misuse(f"our own block is invalid: {fault}") from fault
    candidate.verdict = Verdict.VALID
    core.height.candidates[block_id] = candidate
    return candidate


def known_of(
    core: Core, transactions: Sequence[VerifiedTransaction], *, root: bytes | None
) -> Known:
    """Return what this node knows of a block's contents already; `root` is over its leaves."""
    entries = core.pool.get_all([verified.txid for verified in transactions])
    fees = [
        None if entry is None or entry.verified.leaf != verified.leaf else entry.fee
        for verified, entry in zip(transactions, entries, strict=True)
    ]
    freezes = {
        (copy.freeze.voter, copy.freeze.digest): copy.freeze.signature
        for copies in core.height.freezes.values()
        for copy in copies
    }
    return Known(root=root, fees=fees, freezes=freezes, evidence=known_evidence(core))
