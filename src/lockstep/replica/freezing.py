"""The end of an epoch: our FREEZE, the others', and when Q of them may justify a block [T5, T6]."""

from lockstep.errors import Rejected
from lockstep.ledger.blocks import is_closing_height
from lockstep.primitives.bitmap import bitmap_bytes, iterate_bits, parse_bitmap
from lockstep.primitives.votes import Entry, Freeze, make_freeze_digest, make_freeze_list_digest
from lockstep.replica.core import Core
from lockstep.replica.height import FREEZES_A_MEMBER_MAX


def enter_closing(core: Core) -> Freeze | None:
    """Freeze, and return our FREEZE to be written with the decision below [T5].

    What is confirmed and not in the chain is the list; nothing is voted or confirmed from here to
    the end of the epoch. None for a node without vote.
    """
    core.finality.frozen = True
    if not core.is_voting:
        return None
    entries: list[Entry] = []
    txids: list[bytes] = []
    for tally in core.finality.batches.values():
        bits = tally.own_confirmed & ~tally.included
        if bits:
            entries.append(Entry(tally.batch_id, bitmap_bytes(bits, len(tally.txids))))
            txids.extend(tally.txids[position] for position in iterate_bits(bits))
    digest = make_freeze_list_digest(txids)
    epoch = core.finality.epoch
    signed = make_freeze_digest(chain_id=core.chain_id, epoch=epoch, digest=digest)
    freeze = Freeze(epoch, core.own_id or b"", tuple(entries), digest, core.sign(signed))
    hold_freeze(core, freeze)
    return freeze


def hold_freeze(core: Core, freeze: Freeze) -> bool:
    """Keep a FREEZE of this epoch; tell whether it is one not held before."""
    held = core.height.freezes.setdefault(freeze.voter, [])
    if any(other.digest == freeze.digest for other in held) or len(held) >= FREEZES_A_MEMBER_MAX:
        return False
    held.append(freeze)
    core.height.recheck = True
    return True


def own_freeze(core: Core) -> Freeze | None:
    """Return our own FREEZE of this epoch, once said."""
    held = core.height.freezes.get(core.own_id or b"")
    return held[0] if held else None


def has_freeze_quorum(core: Core) -> bool:
    """Tell whether usable FREEZEs of quorum weight are held [T6]."""
    return core.committee.weight_of_ids(core.height.usable) >= core.committee.quorum


def recheck_freezes(core: Core) -> None:
    """See which FREEZEs have become usable: bodies and certificates held, chain disjoint [T6]."""
    if not is_closing_height(core.height.height, core.genesis.closing_every):
        return
    for voter, held in core.height.freezes.items():
        if voter in core.height.usable:
            continue
        for freeze in held:
            if _is_usable(core, freeze):
                core.height.usable[voter] = freeze
                break


def listed_txids(core: Core, freeze: Freeze) -> list[bytes]:
    """Return the txids a usable FREEZE lists, each once, in the order of its entries."""
    txids: dict[bytes, None] = {}
    for entry in freeze.entries:
        tally = core.finality.batches[entry.batch_id]
        for position in iterate_bits(parse_bitmap(entry.bitmap, len(tally.txids))):
            txids[tally.txids[position]] = None
    return list(txids)


def _is_usable(core: Core, freeze: Freeze) -> bool:
    member = core.committee.find(freeze.voter)
    source = None if member is None else member.node_key
    complete = True
    for entry in freeze.entries:
        tally = core.finality.batches.get(entry.batch_id)
        if tally is None:
            core.fetches.want_batch(entry.batch_id, source)
            complete = False
            continue
        try:
            bits = parse_bitmap(entry.bitmap, len(tally.txids))
        except Rejected:
            return False
        if bits & tally.included:
            return False
        lacking = bits & ~tally.alias_bits & ~tally.certified
        aliased = iterate_bits(bits & tally.alias_bits)
        if lacking or not all(core.finality.is_certified(tally.txids[p]) for p in aliased):
            core.fetches.want_votes(entry.batch_id, source)
            complete = False
    if not complete:
        return False
    txids = listed_txids(core, freeze)
    held = all(txid in core.pool for txid in txids)
    return held and make_freeze_list_digest(txids) == freeze.digest
