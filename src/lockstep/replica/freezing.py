"""The end of an epoch: our FREEZE, the others', and when Q of them may justify a block [T5, T6]."""

from collections.abc import Callable
from typing import Final

from lockstep.errors import Rejected
from lockstep.ledger.blocks import is_closing_height
from lockstep.primitives.bitmap import (
    MalformedBitmap,
    bitmap_bytes,
    iterate_bits,
    parse_bitmap,
    select_bits,
)
from lockstep.primitives.votes import Entry, Freeze, make_freeze_digest, make_freeze_list_digest
from lockstep.replica.core import Core
from lockstep.replica.height import FREEZES_A_MEMBER_MAX, FreezeCopy
from lockstep.replica.voting import hold_certified

WANTS_A_LOOK_MAX: Final = 256
"""More missing batches are not looked for at once: somebody may have named what does not exist."""


class FalseList(Rejected):
    """The list beside a FREEZE is not the one its member signed [T5]."""

    code = "freeze.list"


def enter_closing(core: Core) -> Freeze | None:
    """Freeze, and return our FREEZE to be written with the decision below [T5].

    What is confirmed and not in the chain is the list; nothing is voted or confirmed from here to
    the end of the epoch. None for a node without vote.
    """
    core.finality.frozen = True
    return sign_freeze(core) if core.is_voting else None


def sign_freeze(core: Core) -> Freeze:
    """Make our FREEZE of the epoch and hold it; nothing of the epoch may follow it [T5]."""
    listed: dict[bytes, int] = {}
    txids: list[bytes] = []
    for tally in core.finality.batches.values():
        for position in iterate_bits(tally.own_confirmed & ~tally.included):
            entry = hold_certified(core, tally, position)
            batch_id, place = tally.batch_id, position
            if entry is not None:
                batch_id, place = entry.batch_id, entry.position
            listed[batch_id] = listed.get(batch_id, 0) | 1 << place
            txids.append(tally.txids[position])
    entries = [
        Entry(batch_id, bitmap_bytes(bits, len(core.batches[batch_id].txids)))
        for batch_id, bits in listed.items()
    ]
    digest = make_freeze_list_digest(txids)
    epoch = core.finality.epoch
    signed = make_freeze_digest(chain_id=core.chain_id, epoch=epoch, digest=digest)
    freeze = Freeze(epoch, core.own_id or b"", tuple(entries), digest, core.sign(signed))
    hold_freeze(core, freeze, None)
    return freeze


def hold_freeze(core: Core, freeze: Freeze, source: bytes | None) -> None:
    """Keep a copy of a FREEZE of this epoch, until one of the member's copies is usable [T5]."""
    height = core.height
    held = height.freezes.setdefault(freeze.voter, [])
    if (
        freeze.voter in height.usable
        or len(held) >= FREEZES_A_MEMBER_MAX
        or any(copy.source == source or copy.freeze == freeze for copy in held)
    ):
        return
    held.append(FreezeCopy(freeze, source))
    height.named.update((entry.batch_id, None) for entry in freeze.entries)
    height.recheck = True


def known_copies(core: Core) -> list[FreezeCopy]:
    """Return the FREEZEs that are what their member signed: the usable ones, and our own [T10]."""
    return [
        copy
        for held in core.height.freezes.values()
        for copy in held
        if copy.txids is not None or copy.freeze.voter == core.own_id
    ]


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
        for copy in list(held):
            try:
                is_usable = _is_usable(core, copy)
            except Rejected as fault:
                held.remove(copy)
                core.penalise(copy.source, fault.code)
                continue
            if is_usable:
                core.height.usable[voter] = copy
                held[:] = [copy]
                break


def _is_usable(core: Core, copy: FreezeCopy) -> bool:
    """Tell whether all that the FREEZE lists is held, certified and not in the chain.

    Raises:
        FalseList: If the list is not what the member signed.
    """
    if copy.txids is None:
        copy.txids = _read_list(core, copy)
        core.height.suspect(copy.freeze.voter, None)
        copy.waiting = copy.txids or ()
    if copy.txids is None:
        return False
    lacking: dict[bytes, None] = {}
    waiting: list[bytes] = []
    # What is certified and held stays so until this height is decided, and is not looked at again:
    # a list has thousands of payments, and hundreds of messages come before the last is certified.
    for batch_id, bits in core.finality.bits_of(copy.waiting).items():
        tally = core.finality.batches[batch_id]
        certified = bits & tally.certified
        if certified != bits:
            lacking[batch_id] = None
            waiting += select_bits(tally.txids, bits & ~certified)
        held = core.pool.get_all(select_bits(tally.txids, certified))
        if any(entry is None or not entry.voted for entry in held):
            for position in iterate_bits(certified):
                if hold_certified(core, tally, position) is None:
                    waiting.append(tally.txids[position])
    copy.waiting = tuple(waiting)
    for batch_id in lacking:
        _want(core, core.fetches.want_votes, batch_id, copy)
    return not waiting


def _read_list(core: Core, copy: FreezeCopy) -> tuple[bytes, ...] | None:
    """Return the txids of the list, each once; None while a batch of it is missing.

    Raises:
        FalseList: If the list is not what the member signed.
    """
    batches = core.finality.batches
    missing = [entry.batch_id for entry in copy.freeze.entries if entry.batch_id not in batches]
    for batch_id in missing[:WANTS_A_LOOK_MAX]:
        _want(core, core.fetches.want_batch, batch_id, copy)
    if missing:
        return None
    txids: dict[bytes, None] = {}
    for entry in copy.freeze.entries:
        tally = batches[entry.batch_id]
        try:
            bits = parse_bitmap(entry.bitmap, len(tally.txids))
        except MalformedBitmap as fault:
            raise FalseList(f"an entry of the list is {fault}") from fault
        txids.update(dict.fromkeys(select_bits(tally.txids, bits)))
    if make_freeze_list_digest(txids) != copy.freeze.digest:
        raise FalseList("the list beside a FREEZE does not hash to what its member signed")
    return tuple(txids)


def _want(
    core: Core, want: Callable[[bytes, bytes | None], None], batch_id: bytes, copy: FreezeCopy
) -> None:
    """Want something of who sent the copy and of who signed it."""
    member = core.committee.find(copy.freeze.voter)
    want(batch_id, copy.source)
    if member is not None:
        want(batch_id, member.node_key)
