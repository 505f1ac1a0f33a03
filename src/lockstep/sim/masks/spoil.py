"""Invalid blocks of every kind, each well signed and with a header that fits its body otherwise."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from msgspec.structs import replace

from lockstep.crypto.hashing import merkle_root
from lockstep.ledger.justification import justification_members
from lockstep.ledger.rewards import verify_coinbase
from lockstep.primitives.bitmap import bitmap_bytes, iterate_bits
from lockstep.primitives.block import (
    CompactBlock,
    InlinePart,
    NamedPart,
    make_commit_hash,
    make_justification_hash,
)
from lockstep.primitives.votes import FreezeProof
from lockstep.replica.core import Core

Spoil = Callable[[Core, CompactBlock, Random], CompactBlock | None]


def spoil_block(core: Core, block: CompactBlock, dice: Random) -> tuple[str, CompactBlock]:
    """Return the name of a fault and the block with it, drawn from those that can be made now."""
    names = list(SPOILS)
    dice.shuffle(names)
    for name in names:
        spoilt = SPOILS[name](core, block, dice)
        if spoilt is not None:
            return name, spoilt
    return "time", _late(core, block, dice)


def _with_header(block: CompactBlock, **changes: Any) -> CompactBlock:
    return replace(block, header=replace(block.header, **changes))


def _with_parts(
    core: Core, block: CompactBlock, parts: Sequence[NamedPart | InlinePart]
) -> CompactBlock:
    """Return the block with other parts and the root that they have."""
    leaves: list[bytes] = []
    for part in parts:
        if isinstance(part, InlinePart):
            leaves.extend(verify_coinbase(transaction).leaf for transaction in part.transactions)
        elif part.batch_id in core.batches:
            batch = core.batches[part.batch_id]
            bits = int.from_bytes(part.bitmap, "little")
            leaves.extend(batch.leaves[position] for position in iterate_bits(bits))
    changed = replace(block, parts=tuple(parts))
    return _with_header(changed, transaction_root=merkle_root(leaves))


def _with_justification(
    core: Core, block: CompactBlock, proofs: Sequence[FreezeProof]
) -> CompactBlock | None:
    closing = block.header.closing
    if closing is None:
        return None
    justification = tuple(proofs)
    members = justification_members(justification, core.committee)
    changed = replace(
        closing,
        justification_members=bitmap_bytes(members, len(core.committee)),
        justification_hash=make_justification_hash(justification),
    )
    return _with_header(replace(block, justification=justification), closing=changed)


def _bad_root(core: Core, block: CompactBlock, dice: Random) -> CompactBlock:
    return _with_header(block, transaction_root=dice.randbytes(32))


def _late(core: Core, block: CompactBlock, dice: Random) -> CompactBlock:
    return _with_header(block, time_ms=block.header.time_ms + dice.choice((1, 1_000, 10**9)))


def _early(core: Core, block: CompactBlock, dice: Random) -> CompactBlock:
    return _with_header(block, time_ms=max(0, core.state.time_ms - dice.choice((0, 1, 1_000))))


def _wrong_place(core: Core, block: CompactBlock, dice: Random) -> CompactBlock:
    zero = bytes(32)
    changes: tuple[dict[str, Any], ...] = (
        {"epoch": block.header.epoch + 1},
        {"previous": zero},
        {"previous_closing": zero},
        {"chain_id": zero},
        {"set_hash": zero},
        {"evidence_root": zero},
        {"version": 9},
    )
    return _with_header(block, **dice.choice(changes))


def _wrong_name(core: Core, block: CompactBlock, dice: Random) -> CompactBlock:
    others = [m.member_id for m in core.committee.members if m.member_id != core.own_id]
    return _with_header(block, proposer=dice.choice(others))


def _short_certificate(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    commit = block.previous_commit
    if commit is None:
        return None
    short = replace(commit, signatures=commit.signatures[:1])
    changed = replace(block, previous_commit=short)
    return _with_header(changed, previous_commit_hash=make_commit_hash(short))


def _repeated_signer(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    commit = block.previous_commit
    if commit is None:
        return None
    doubled = replace(commit, signatures=(commit.signatures[0],) * len(commit.signatures))
    changed = replace(block, previous_commit=doubled)
    return _with_header(changed, previous_commit_hash=make_commit_hash(doubled))


def _uncertified(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    if block.header.is_closing:
        return None
    for entry in core.pool:
        if not core.finality.is_certified(entry.verified.txid) and entry.batch_id in core.batches:
            count = len(core.batches[entry.batch_id].txids)
            part = NamedPart(entry.batch_id, bitmap_bytes(1 << entry.position, count))
            return _with_parts(core, block, (*block.parts, part))
    return None


def _twice(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    named = [part for part in block.parts if isinstance(part, NamedPart)]
    return _with_parts(core, block, (*block.parts, named[0])) if named else None


def _double_spend(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    """Put rivals into one block: a payment of it and another spender of its coin."""
    spent: dict[bytes, bytes] = {}
    for batch_id, batch in core.batches.items():
        for position, verified in enumerate(batch.transactions):
            if verified is None or core.overlay.height_of(verified.txid) is not None:
                continue
            for outpoint in verified.transaction.body.inputs:
                if spent.setdefault(outpoint, verified.txid) == verified.txid:
                    continue
                count = len(batch.txids)
                part = NamedPart(batch_id, bitmap_bytes(1 << position, count))
                rival = _part_of(core, spent[outpoint])
                return None if rival is None else _with_parts(core, block, (rival, part))
    return None


def _part_of(core: Core, txid: bytes) -> NamedPart | None:
    home = core.finality.home_of(txid)
    if home is None:
        return None
    tally, position = home
    return NamedPart(tally.batch_id, bitmap_bytes(1 << position, len(tally.txids)))


def _bad_coinbase(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    """Pay out a unit too much in a closing block, or anything at all in an ordinary one."""
    first = block.parts[0] if block.parts else None
    if not block.header.is_closing or not isinstance(first, InlinePart):
        return None
    coinbase = first.transactions[0]
    outputs = coinbase.body.outputs
    if dice.random() < 0.3 or not outputs:
        return _with_parts(core, block, block.parts[1:])
    richer = (replace(outputs[0], amount=outputs[0].amount + 1), *outputs[1:])
    changed = replace(coinbase, body=replace(coinbase.body, outputs=richer))
    return _with_parts(core, block, (InlinePart((changed,)), *block.parts[1:]))


def _wrong_commitment(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    """Commit to nothing, to anything, or to what the last closing block committed to [S1]."""
    closing = block.header.closing
    if closing is None:
        return None
    wrong = dice.choice((bytes(32), dice.randbytes(32), core.state.state_commitment))
    return _with_header(block, closing=replace(closing, state_commitment=wrong))


def _short_justification(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    return _with_justification(core, block, block.justification[: dice.randint(0, 1)])


def _forged_justification(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    proofs = [replace(proof, signature=dice.randbytes(64)) for proof in block.justification]
    return _with_justification(core, block, proofs)


def _listed_left_out(core: Core, block: CompactBlock, dice: Random) -> CompactBlock | None:
    """Leave out of a closing block what a FREEZE of its J lists."""
    if not block.header.is_closing or len(block.parts) < 2:
        return None
    proofs = [replace(proof, bitmap=b"") for proof in block.justification]
    changed = _with_justification(core, block, proofs)
    return None if changed is None else _with_parts(core, changed, changed.parts[:1])


SPOILS: Final[dict[str, Spoil]] = {
    "root": _bad_root,
    "late": _late,
    "early": _early,
    "place": _wrong_place,
    "name": _wrong_name,
    "short certificate": _short_certificate,
    "repeated signer": _repeated_signer,
    "uncertified": _uncertified,
    "twice": _twice,
    "double spend": _double_spend,
    "coinbase": _bad_coinbase,
    "commitment": _wrong_commitment,
    "short justification": _short_justification,
    "forged justification": _forged_justification,
    "listed left out": _listed_left_out,
}
