"""J: the FREEZEs that a closing block carries so that nothing final is left behind [T6, T7]."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Misuse, Rejected
from lockstep.primitives.bitmap import (
    MalformedBitmap,
    bitmap_bytes,
    collect_bits,
    iterate_bits,
    parse_bitmap,
    select_bits,
)
from lockstep.primitives.committee import Committee
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import (
    Freeze,
    FreezeProof,
    make_freeze_digest,
    make_freeze_list_digest,
)


class BadJustification(Rejected):
    """J lacks weight or a signature, names a stranger or a member twice, or has a bad list [T7]."""

    code = "block.justification"


def make_justification(
    freezes: Iterable[tuple[Freeze, Sequence[bytes]]], transactions: Sequence[VerifiedTransaction]
) -> tuple[FreezeProof, ...]:
    """Write FREEZEs, each with the txids it lists, as J over a closing block's transactions [T6].

    `transactions` are all of the block's, the coinbase at place 0 included.

    Raises:
        Misuse: If a listed transaction is not in the block.
    """
    places = {verified.txid: place for place, verified in enumerate(transactions)}
    proofs = []
    for freeze, txids in freezes:
        if any(txid not in places for txid in txids):
            raise Misuse("a FREEZE lists a transaction that the block made from it lacks")
        bits = collect_bits(places[txid] for txid in txids)
        bitmap = bitmap_bytes(bits, len(transactions))
        proofs.append(FreezeProof(voter=freeze.voter, bitmap=bitmap, signature=freeze.signature))
    return tuple(sorted(proofs, key=lambda proof: proof.voter))


def justification_members(justification: Sequence[FreezeProof], committee: Committee) -> int:
    """Return the members whose FREEZEs stand in J, as a bitmap over the committee [T2].

    Raises:
        BadJustification: If a voter is not a member, or they do not stand in order of member id,
            each once.
    """
    indices = []
    for proof in justification:
        index = committee.index_of(proof.voter)
        if index is None:
            raise BadJustification("a FREEZE is by somebody who is not in the set of the epoch")
        indices.append(index)
    if any(later <= earlier for earlier, later in pairwise(indices)):
        raise BadJustification("the FREEZEs do not stand in order of member id, each once")
    return collect_bits(indices)


def check_justification(
    justification: Sequence[FreezeProof],
    *,
    txids: Sequence[bytes],
    committee: Committee,
    chain_id: bytes,
    epoch: int,
    verifier: Verifier | None,
    known_freezes: Mapping[tuple[bytes, bytes], bytes],
) -> None:
    """Refuse J that does not prove what members of quorum weight confirmed in the epoch [T7].

    `txids` are all of the block's; the coinbase's place 0 may be in no list. `known_freezes` maps
    (voter, list digest) to signatures that were verified before. `verifier` is None where a commit
    certificate vouches for the block: then only signatures go unchecked [T9].

    Raises:
        BadJustification: As its class says.
    """
    members = justification_members(justification, committee)
    weight = sum(committee.members[index].weight for index in iterate_bits(members))
    if weight < committee.quorum:
        raise BadJustification(f"FREEZEs of weight {weight} where {committee.quorum} is the quorum")
    checks: list[SignatureCheck] = []
    for proof, index in zip(justification, iterate_bits(members), strict=True):
        try:
            bits = parse_bitmap(proof.bitmap, len(txids), may_be_empty=True)
        except MalformedBitmap as fault:
            raise BadJustification(f"the list of a FREEZE: {fault}") from fault
        if bits & 1:
            raise BadJustification("a FREEZE lists the coinbase")
        if verifier is None:
            continue
        digest = make_freeze_list_digest(select_bits(txids, bits))
        if known_freezes.get((proof.voter, digest)) != proof.signature:
            message = make_freeze_digest(chain_id=chain_id, epoch=epoch, digest=digest)
            checks.append((committee.members[index].voting_key, message, proof.signature))
    if verifier is not None and not all(verifier.verify_many(checks)):
        raise BadJustification("the signature of a FREEZE does not fit the list it stands for")
