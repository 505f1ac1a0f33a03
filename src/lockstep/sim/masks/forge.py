"""A second block for a turn: as valid as the first, and another one [T1, N4]."""

from collections.abc import Sequence

from msgspec.structs import replace

from lockstep.ledger.blocks import AssembledBlock, assemble_block, is_closing_height
from lockstep.mempool.pool import Entry
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.block import (
    CommitCertificate,
    CompactBlock,
    InlinePart,
    NamedPart,
    make_block_id,
)
from lockstep.primitives.params import ORDINARY_BLOCK_BYTES_MAX
from lockstep.primitives.votes import Freeze
from lockstep.replica.core import Core
from lockstep.replica.proposing import Part, arrange, certified_entries

FreezeRow = tuple[Freeze, tuple[bytes, ...]]


def make_other_block(core: Core, proposer: bytes, first: CompactBlock) -> CompactBlock | None:
    """Make a valid block for the same place that differs from `first`, or None if none can be."""
    closing = is_closing_height(core.height.height, core.genesis.closing_every)
    freezes = [(copy.freeze, copy.txids or ()) for copy in core.height.usable.values()]
    certified = certified_entries(core)
    choices: list[tuple[Sequence[Entry], Sequence[FreezeRow], CommitCertificate | None]] = []
    if closing:
        choices.append((certified, freezes, core.tip_certificate))
        choices.extend((certified, rows, core.tip_certificate) for rows in _without_one(freezes))
    else:
        choices.append(([], [], core.tip_certificate))
        choices.append((certified, [], core.tip_certificate))
        choices.append((certified[: len(certified) // 2], [], core.tip_certificate))
    slim = _slim_certificate(core)
    if slim is not None:
        choices.append((certified, freezes if closing else [], slim))
    for entries, rows, commit in choices:
        made = _assemble(core, proposer, entries, rows, commit)
        if made is not None and make_block_id(made.header) != make_block_id(first.header):
            return made
    return None


def _without_one(freezes: Sequence[FreezeRow]) -> list[list[FreezeRow]]:
    return [[row for row in freezes if row is not left] for left in freezes]


def _slim_certificate(core: Core) -> CommitCertificate | None:
    """Return the tip's certificate without its last signature, where it stays a quorum."""
    commit, committee = core.tip_certificate, core.previous_committee
    if commit is None or committee is None:
        return None
    signatures = commit.signatures[:-1]
    weight = committee.weight_of_ids(signature.voter for signature in signatures)
    return replace(commit, signatures=signatures) if weight >= committee.quorum else None


def _assemble(
    core: Core,
    proposer: bytes,
    entries: Sequence[Entry],
    freezes: Sequence[FreezeRow],
    commit: CommitCertificate | None,
) -> CompactBlock | None:
    closing = is_closing_height(core.height.height, core.genesis.closing_every)
    listed = dict.fromkeys(txid for _, txids in freezes for txid in txids)
    parts, payments = arrange(core, entries, capacity_bytes=ORDINARY_BLOCK_BYTES_MAX, listed=listed)
    placed = {entry.verified.txid: None for entry in payments}
    rows = [row for row in freezes if all(txid in placed for txid in row[1])]
    if closing:
        weight = core.committee.weight_of_ids(freeze.voter for freeze, _ in rows)
        if weight < core.committee.quorum:
            return None
    assembled = assemble_block(
        genesis=core.genesis,
        state=core.state,
        committee=core.committee,
        previous_committee=core.previous_committee,
        previous_commit=commit,
        payments=[entry.verified for entry in payments],
        fees=sum(entry.fee or 0 for entry in payments),
        freezes=rows,
        proposer=proposer,
        coins_sum=core.settled_sum,
    )
    return compact(core, assembled, parts, has_coinbase=closing)


def compact(
    core: Core, assembled: AssembledBlock, parts: Sequence[Part], *, has_coinbase: bool
) -> CompactBlock:
    """Return a block in the form that travels; `parts` name its payments in order."""
    named: list[NamedPart | InlinePart] = []
    if has_coinbase:
        named.append(InlinePart((assembled.transactions[0].transaction,)))
    for batch_id, bits in parts:
        count = len(core.finality.batches[batch_id].txids)
        named.append(NamedPart(batch_id, bitmap_bytes(bits, count)))
    header, commit = assembled.header, assembled.previous_commit
    return CompactBlock(header, commit, tuple(named), assembled.justification, ())
