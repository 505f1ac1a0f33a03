"""The one verifier of evidence: gossip, blocks and our own finds are judged here alone [N4].

A piece is judged in two parts. What it says by itself, signatures included, is the same on every
chain and at any time. Whether it is in time, not used yet and not excused depends on the chain
below. Both are read conservatively: where an honest member could have done it, it is no evidence.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import assert_never

from lockstep.crypto.hashing import merkle_path_root
from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Rejected
from lockstep.ledger.coins import CoinView
from lockstep.ledger.masternodes import committee_of_epoch
from lockstep.ledger.state import ChainState
from lockstep.primitives.bitmap import MalformedBitmap, parse_bitmap
from lockstep.primitives.block import make_ballot_digest, make_proposal_digest
from lockstep.primitives.committee import Committee
from lockstep.primitives.evidence import (
    ConflictingBallots,
    ConflictingFreezes,
    ConflictingProposals,
    ConflictingVotes,
    Evidence,
    OmittedConfirm,
    SpokenPayment,
    Subject,
    decode_evidence,
    evidence_subject,
    split_txids,
    value_order,
    word_order,
)
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.params import EVIDENCE_BYTES_MAX, EVIDENCE_EPOCHS
from lockstep.primitives.transaction import make_hidden_leaf, make_rooted_batch_id, make_txid
from lockstep.primitives.votes import (
    VoteKind,
    make_entry_leaf,
    make_freeze_digest,
    make_freeze_list_digest,
    make_rooted_vote_digest,
)


class EvidenceStranger(Rejected):
    """The accused was not in the set of the epoch [N4]."""

    code = "evidence.stranger"


class EvidenceSignature(Rejected):
    """A signature is not the accused's on this chain: it proves nothing against it [N4, M2]."""

    code = "evidence.signature"


class EvidencePath(Rejected):
    """A payment is not where the signed message is said to name it [N4, B2]."""

    code = "evidence.path"


class EvidenceOrder(Rejected):
    """The halves do not stand in their one order, or both say the same [N4]."""

    code = "evidence.order"


class EvidenceInputs(Rejected):
    """The two payments share no input, so that both may be voted for [N4]."""

    code = "evidence.inputs"


class EvidenceEpoch(Rejected):
    """The height signed for does not lie in the epoch that the piece names [N4, M4]."""

    code = "evidence.epoch"


class EvidenceList(Rejected):
    """The list of a FREEZE is not ascending, or has the payment that it is said to lack [N4]."""

    code = "evidence.list"


class EvidenceEarly(Rejected):
    """The chain is not yet at the place from which this can be judged [N4]."""

    code = "evidence.early"


class EvidenceExpired(Rejected):
    """The epoch is more than a hundred epochs ago [N4]."""

    code = "evidence.expired"


class EvidenceUsed(Rejected):
    """The chain has evidence against this member for this epoch already [N4]."""

    code = "evidence.used"


class EvidenceExcused(Rejected):
    """The payment was in the chain when the member froze, so no list need have it [N4]."""

    code = "evidence.excused"


class EvidenceUnclear(Rejected):
    """The chain does not show that the payment could still be spent when the member froze [N4]."""

    code = "evidence.unclear"


class BadEvidenceList(Rejected):
    """A block's evidence is too large, or not in order of epoch and member, each once [N4]."""

    code = "block.evidence"


def verify_evidence(
    evidence: Evidence, *, genesis: Genesis, state: ChainState, view: CoinView, verifier: Verifier
) -> None:
    """Refuse what is no evidence on the chain of `state` and `view`.

    Raises:
        Rejected: One class a reason, of those above.
    """
    check_timeliness(evidence, genesis=genesis, state=state, view=view)
    committee = committee_of_epoch(genesis, evidence.epoch)
    check_content(evidence, chain_id=genesis.chain_id, committee=committee, verifier=verifier)


def check_content(
    evidence: Evidence, *, chain_id: bytes, committee: Committee, verifier: Verifier | None
) -> None:
    """Refuse what does not prove by itself that a member of `committee`, its epoch's, is at fault.

    `verifier` is None where a commit certificate vouches for the signatures [T9].

    Raises:
        EvidenceSignature: If a signature does not hold.
        Rejected: What `evidence_checks` raises.
    """
    checks = evidence_checks(evidence, committee=committee, chain_id=chain_id)
    if verifier is not None and not all(verifier.verify_many(checks)):
        raise EvidenceSignature("a signature is not the accused's on this chain")


def evidence_checks(
    evidence: Evidence, *, committee: Committee, chain_id: bytes
) -> list[SignatureCheck]:
    """Return the signatures that must hold for the piece to prove what it says.

    Raises:
        EvidenceStranger, EvidencePath, EvidenceOrder, EvidenceInputs, EvidenceList: Each as its
            class says.
    """
    member = committee.find(evidence.member)
    if member is None:
        raise EvidenceStranger("the accused is not in the set of the epoch")
    match evidence:
        case ConflictingVotes():
            signed = _conflicting_votes(evidence, chain_id)
        case ConflictingFreezes():
            signed = _conflicting_freezes(evidence, chain_id)
        case ConflictingBallots():
            signed = _conflicting_ballots(evidence, chain_id)
        case ConflictingProposals():
            signed = _conflicting_proposals(evidence, chain_id)
        case OmittedConfirm():
            signed = _omitted_confirm(evidence, chain_id)
        case _:
            assert_never(evidence)
    return [(member.voting_key, message, signature) for message, signature in signed]


def check_timeliness(
    evidence: Evidence, *, genesis: Genesis, state: ChainState, view: CoinView
) -> None:
    """Refuse what may not stand in the block above `state` [N4].

    A Confirm that a FREEZE lacks is excused where its payment was in the chain below the closing
    height. Where the payment is in no block yet, all its inputs must be coins: one that is gone may
    have been spent below the closing height, which the chain keeps no record of.

    Raises:
        EvidenceEpoch, EvidenceEarly, EvidenceExpired, EvidenceUsed, EvidenceExcused,
            EvidenceUnclear: Each as its class says.
    """
    member, epoch = evidence_subject(evidence)
    if isinstance(evidence, ConflictingBallots | ConflictingProposals):
        _check_height(evidence.height, epoch, genesis.closing_every)
    if epoch > state.epoch:
        raise EvidenceEarly(f"evidence of epoch {epoch} where the chain is in {state.epoch}")
    if state.epoch - epoch > EVIDENCE_EPOCHS:
        raise EvidenceExpired(f"evidence of epoch {epoch} where the chain is in {state.epoch}")
    if is_used(state, (member, epoch)):
        raise EvidenceUsed("the chain has evidence against this member for this epoch")
    if not isinstance(evidence, OmittedConfirm):
        return
    closing_height = (epoch + 1) * genesis.closing_every
    if state.height + 1 < closing_height:
        raise EvidenceEarly("the chain has not come to the closing height of the epoch")
    body = evidence.confirm.body
    height = view.height_of(make_txid(body))
    if height is not None and height < closing_height:
        raise EvidenceExcused("the payment stood in the chain when the member froze")
    if height is None and None in view.coins_of(body.inputs):
        raise EvidenceUnclear("an input of the payment is no coin of the chain")


def is_used(state: ChainState, subject: Subject) -> bool:
    """Tell whether the chain has evidence against this member for this epoch."""
    member, epoch = subject
    used = state.evidence_used
    place = bisect_left(used, (epoch, member))
    return place < len(used) and used[place] == (epoch, member)


def note_used(
    used: tuple[tuple[int, bytes], ...], subjects: Sequence[Subject], *, epoch: int
) -> tuple[tuple[int, bytes], ...]:
    """Return what the chain has evidence for above a block, of `epoch` and the hundred before."""
    if subjects:
        used = tuple(sorted((*used, *((epoch, member) for member, epoch in subjects))))
    return tuple(row for row in used if epoch - row[0] <= EVIDENCE_EPOCHS)


def check_evidence_list(
    pieces: Sequence[bytes],
    *,
    genesis: Genesis,
    state: ChainState,
    view: CoinView,
    verifier: Verifier | None,
    known: Mapping[Subject, bytes],
) -> tuple[Subject, ...]:
    """Return whom a block's evidence is against, if all of it is good above `state` [N4, T2].

    `known` are encoded pieces that were verified before. `verifier` is None where a commit
    certificate vouches for the block: then only signatures go unchecked [T9].

    Raises:
        BadEvidenceList: As its class says.
        Rejected: What `verify_evidence` raises, or a decoder.
    """
    if sum(len(piece) for piece in pieces) > EVIDENCE_BYTES_MAX:
        raise BadEvidenceList(f"more than {EVIDENCE_BYTES_MAX} bytes of evidence")
    subjects: list[Subject] = []
    last: tuple[int, bytes] | None = None
    for piece in pieces:
        evidence = decode_evidence(piece)
        place = (evidence.epoch, evidence.member)
        if last is not None and place <= last:
            raise BadEvidenceList("the evidence is not in order of epoch and member, each once")
        last = place
        check_timeliness(evidence, genesis=genesis, state=state, view=view)
        subject = evidence_subject(evidence)
        if known.get(subject) != piece:
            committee = committee_of_epoch(genesis, evidence.epoch)
            chain_id = genesis.chain_id
            check_content(evidence, chain_id=chain_id, committee=committee, verifier=verifier)
        subjects.append(subject)
    return tuple(subjects)


_Signed = list[tuple[bytes, bytes]]


def _conflicting_votes(evidence: ConflictingVotes, chain_id: bytes) -> _Signed:
    first, second = evidence.first, evidence.second
    if make_txid(first.body) >= make_txid(second.body):
        raise EvidenceOrder("the payments do not stand in order of txid, or are one")
    shared = dict.fromkeys(first.body.inputs)
    if not any(outpoint in shared for outpoint in second.body.inputs):
        raise EvidenceInputs("the payments share no input")
    return [
        _spoken(word, kind=evidence.kind, epoch=evidence.epoch, chain_id=chain_id)
        for word in (first, second)
    ]


def _conflicting_freezes(evidence: ConflictingFreezes, chain_id: bytes) -> _Signed:
    words = (evidence.first, evidence.second)
    if words[0].digest >= words[1].digest:
        raise EvidenceOrder("the FREEZEs do not stand in order of digest, or say the same")
    return [
        (
            make_freeze_digest(chain_id=chain_id, epoch=evidence.epoch, digest=word.digest),
            word.signature,
        )
        for word in words
    ]


def _conflicting_ballots(evidence: ConflictingBallots, chain_id: bytes) -> _Signed:
    words = (evidence.first, evidence.second)
    if value_order(words[0]) >= value_order(words[1]):
        raise EvidenceOrder("the ballots do not stand in order of value, or are for the same")
    return [
        (
            make_ballot_digest(
                chain_id=chain_id,
                kind=evidence.kind,
                height=evidence.height,
                round_number=evidence.round,
                block_id=word.block_id,
                time_ms=word.time_ms,
            ),
            word.signature,
        )
        for word in words
    ]


def _conflicting_proposals(evidence: ConflictingProposals, chain_id: bytes) -> _Signed:
    words = (evidence.first, evidence.second)
    if word_order(words[0]) >= word_order(words[1]):
        raise EvidenceOrder("the proposals do not stand in order, or say the same")
    return [
        (
            make_proposal_digest(
                chain_id=chain_id,
                height=evidence.height,
                round_number=evidence.round,
                block_id=word.block_id,
                valid_round=word.valid_round,
            ),
            word.signature,
        )
        for word in words
    ]


def _omitted_confirm(evidence: OmittedConfirm, chain_id: bytes) -> _Signed:
    epoch = evidence.epoch
    txids = split_txids(evidence.listed)
    if txids is None or make_txid(evidence.confirm.body) in txids:
        raise EvidenceList("the list is not in order, or has the payment")
    digest = make_freeze_list_digest(txids)
    return [
        _spoken(evidence.confirm, kind=VoteKind.CONFIRM, epoch=epoch, chain_id=chain_id),
        (make_freeze_digest(chain_id=chain_id, epoch=epoch, digest=digest), evidence.signature),
    ]


def _check_height(height: int, epoch: int, closing_every: int) -> None:
    if height < 1 or (height - 1) // closing_every != epoch:
        raise EvidenceEpoch(f"height {height} does not lie in epoch {epoch}")


def _spoken(
    word: SpokenPayment, *, kind: VoteKind, epoch: int, chain_id: bytes
) -> tuple[bytes, bytes]:
    """Return what was signed, and the signature, of a message that names the payment [B2]."""
    leaf = make_hidden_leaf(make_txid(word.body), word.witness_hash)
    root = merkle_path_root(leaf, place=word.place, count=word.count, path=word.path)
    if root is None or make_rooted_batch_id(word.count, root) != word.entry.batch_id:
        raise EvidencePath("the payment does not stand at this place of the batch")
    try:
        bits = parse_bitmap(word.entry.bitmap, word.count)
    except MalformedBitmap as fault:
        raise EvidencePath(f"the entry is {fault}") from fault
    if not bits >> word.place & 1:
        raise EvidencePath("the entry does not name the payment")
    entries = merkle_path_root(
        make_entry_leaf(word.entry),
        place=word.entry_place,
        count=word.entry_count,
        path=word.entry_path,
    )
    if entries is None:
        raise EvidencePath("the entry does not stand at this place of the message")
    signed = make_rooted_vote_digest(chain_id=chain_id, kind=kind, epoch=epoch, root=entries)
    return signed, word.signature
