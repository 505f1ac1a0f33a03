"""Evidence at a node: found, kept until it is in the chain, passed on, put into blocks [N4].

Whatever was signed twice is shown to the one verifier of the ledger before it is kept, our own
finds like those of others. One piece a member and epoch is enough; each is journalled, told to all
peers once, and to every peer that connects.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from lockstep.consensus.rivals import Conflict
from lockstep.consensus.tally import BatchTally
from lockstep.errors import Misuse, Rejected
from lockstep.ledger.blocks import AssembledBlock
from lockstep.ledger.evidence import (
    EvidenceEarly,
    EvidenceEpoch,
    EvidenceUnclear,
    check_content,
    check_timeliness,
    is_used,
)
from lockstep.ledger.masternodes import committee_of_epoch
from lockstep.primitives.bitmap import iterate_bits, select_bits
from lockstep.primitives.block import (
    EVIDENCE_MAX,
    Ballot,
    BallotKind,
    CommitCertificate,
    Proposal,
)
from lockstep.primitives.codec import encode
from lockstep.primitives.evidence import (
    Evidence,
    OmittedConfirm,
    SignedDigest,
    SpokenPayment,
    Subject,
    evidence_subject,
    make_conflicting_ballots,
    make_conflicting_freezes,
    make_conflicting_proposals,
    make_conflicting_votes,
    make_omitted_confirm,
    make_spoken_payment,
)
from lockstep.primitives.messages import EvidenceFound
from lockstep.primitives.params import EVIDENCE_BYTES_MAX
from lockstep.primitives.votes import VoteKind, make_freeze_list_digest
from lockstep.replica import amnesia
from lockstep.replica.core import Core
from lockstep.replica.effects import Alarm, EvidenceHeld
from lockstep.replica.events import (
    BallotsReceived,
    BlockFetched,
    Event,
    EvidenceReceived,
    FreezeReceived,
    ProposalReceived,
)

PENDING_MAX: Final = 1_024
"""Pieces kept at once; more are not taken while these wait for a block."""
PENDING_BYTES_MAX: Final = 16_000_000
"""Encoded bytes of the same."""


def on_evidence(core: Core, event: EvidenceReceived) -> None:
    """Take a piece from a peer; what it says by itself was judged by the ingress.

    Raises:
        EvidenceEpoch: If it names an epoch in which its height does not lie.
    """
    _take(core, event.evidence)


def watch(core: Core, event: Event) -> None:
    """Hold the signed words of an event against those heard before, whatever becomes of it."""
    match event:
        case BallotsReceived(ballots=ballots):
            for ballot in ballots:
                _watch_ballot(core, ballot)
        case ProposalReceived(message=message):
            _watch_proposal(core, message.proposal)
            for ballot in message.polc:
                _watch_ballot(core, ballot)
            if message.block.previous_commit is not None:
                _watch_certificate(core, message.block.previous_commit)
        case FreezeReceived(freeze=freeze):
            word = SignedDigest(freeze.digest, freeze.signature)
            _watch_freeze(core, freeze.voter, freeze.epoch, word)
        case BlockFetched(decided=decided):
            _watch_certificate(core, decided.certificate)
        case _:
            pass


def accuse_pair(core: Core, first: Ballot | Proposal, second: Ballot | Proposal) -> None:
    """Make evidence of two words that one member said in one place."""
    epoch = (first.height - 1) // core.genesis.closing_every
    if isinstance(first, Ballot) and isinstance(second, Ballot):
        _accuse(core, make_conflicting_ballots(first, second, epoch=epoch))
    elif isinstance(first, Proposal) and isinstance(second, Proposal):
        _accuse(core, make_conflicting_proposals(first, second, epoch=epoch))


def settle(core: Core) -> None:
    """Make evidence of what this step's counting brought to light."""
    while core.conflicts:
        _accuse_voter(core, core.conflicts.popleft())
    if core.height.suspects:
        suspects, core.height.suspects = core.height.suspects, {}
        for voter, batch_ids in suspects.items():
            copy = next(
                (c for c in core.height.freezes.get(voter, ()) if c.txids is not None), None
            )
            if copy is not None and copy.txids is not None:
                if copy.listed is None:
                    copy.listed = core.finality.bits_of(copy.txids)
                tallies = _open_tallies(core) if batch_ids is None else _counted_in(core, batch_ids)
                omitted = _find_omitted(core, voter, copy.listed, tallies)
                if omitted is not None:
                    _accuse_omission(core, voter, omitted, copy.txids, copy.freeze.signature)


def watch_justification(core: Core, block: AssembledBlock) -> None:
    """Hold the FREEZEs of a closing block's J against what their members said else."""
    named = [verified.txid for verified in block.transactions] if block.justification else []
    for proof in block.justification:
        txids = tuple(select_bits(named, int.from_bytes(proof.bitmap, "little")))
        word = SignedDigest(make_freeze_list_digest(txids), proof.signature)
        _watch_freeze(core, proof.voter, block.header.epoch, word)
        listed = core.finality.bits_of(txids)
        omitted = _find_omitted(core, proof.voter, listed, _open_tallies(core))
        if omitted is not None:
            _accuse_omission(core, proof.voter, omitted, txids, proof.signature)


def pieces_for_block(core: Core) -> tuple[bytes, ...]:
    """Return the pieces that may stand in the next block, encoded and in order [N4, T2]."""
    pieces: list[bytes] = []
    room = EVIDENCE_BYTES_MAX
    pending = core.evidence
    for subject in sorted(pending, key=lambda subject: (subject[1], subject[0])):
        if len(pieces) < EVIDENCE_MAX and _is_ready(core, pending[subject]):
            piece = encode(pending[subject])
            if len(piece) <= room:
                room -= len(piece)
                pieces.append(piece)
    return tuple(pieces)


def known_evidence(core: Core) -> dict[Subject, bytes]:
    """Return the pieces held, encoded: all that they say by themselves was found good."""
    return {subject: encode(evidence) for subject, evidence in core.evidence.items()}


def drop_settled(core: Core) -> tuple[Subject, ...]:
    """Forget the pieces that the chain has used, or that can come into no block any more."""
    dropped: list[Subject] = []
    for subject, evidence in list(core.evidence.items()):
        try:
            _is_ready(core, evidence)
        except Rejected:
            del core.evidence[subject]
            dropped.append(subject)
    return tuple(dropped)


def restore(core: Core, record: EvidenceHeld) -> None:
    """Hold again what the journal has."""
    core.evidence[evidence_subject(record.evidence)] = record.evidence


def evidence_messages(core: Core) -> Iterator[EvidenceFound]:
    """Yield what a peer that connects is told."""
    return (EvidenceFound(evidence) for evidence in core.evidence.values())


def _accuse(core: Core, evidence: Evidence) -> None:
    """Keep a piece that was found here, if it holds.

    Its halves came with good signatures, but for those in a block that a certificate vouches for.
    A liar may repeat itself without end: what is known is not verified again.
    """
    subject = evidence_subject(evidence)
    held = core.evidence.get(subject)
    if is_used(core.state, subject) or (held is not None and not _replaces(core, evidence, held)):
        return
    try:
        committee = committee_of_epoch(core.genesis, evidence.epoch)
        check_content(evidence, chain_id=core.chain_id, committee=committee, verifier=core.verifier)
        _take(core, evidence)
    except Rejected:
        return


def _take(core: Core, evidence: Evidence) -> None:
    """Keep a piece that says something new, journal it, tell all peers and our people."""
    subject = evidence_subject(evidence)
    held = core.evidence.get(subject)
    if held is not None and not _replaces(core, evidence, held):
        return
    if evidence.epoch > core.state.epoch + 1:
        return
    try:
        _is_ready(core, evidence)
    except EvidenceEpoch:
        raise
    except Rejected:
        # Used, expired or excused: the sender may not have known yet.
        return
    if held is None and not _has_room(core, evidence):
        return
    core.evidence[subject] = evidence
    core.persist(EvidenceHeld(evidence))
    core.broadcast(EvidenceFound(evidence))
    if evidence.member == core.own_id and evidence.epoch >= core.state.epoch:
        # This node signs no two words, so one of them is of a life that its journal lacks.
        amnesia.note(core, evidence.epoch, "one of two words that contradict each other, a word")
    if held is None:
        kind = type(evidence).__name__
        sentence = f"{kind}: the member {evidence.member.hex()} in epoch {evidence.epoch}"
        core.notify(Alarm("consensus.equivocation", sentence))


def _replaces(core: Core, evidence: Evidence, held: Evidence) -> bool:
    """Tell whether a piece is better than the one held: that one's turn may never come."""
    if not isinstance(held, OmittedConfirm) or isinstance(evidence, OmittedConfirm):
        return False
    try:
        return not _is_ready(core, held)
    except Rejected:
        return True


def _is_ready(core: Core, evidence: Evidence) -> bool:
    """Tell whether the piece may stand in the next block; False where its time may come.

    Raises:
        Rejected: If it may stand in no block any more.
    """
    try:
        check_timeliness(evidence, genesis=core.genesis, state=core.state, view=core.overlay)
    except (EvidenceEarly, EvidenceUnclear):
        return False
    return True


def _has_room(core: Core, evidence: Evidence) -> bool:
    held = core.evidence.values()
    size = len(encode(evidence)) + sum(len(encode(other)) for other in held)
    return len(held) < PENDING_MAX and size <= PENDING_BYTES_MAX


def _watch_ballot(core: Core, ballot: Ballot) -> None:
    first = core.first_words.take_ballot(ballot, tip=core.state.height)
    if first is not None:
        accuse_pair(core, first, ballot)


def _watch_proposal(core: Core, proposal: Proposal) -> None:
    first = core.first_words.take_proposal(proposal, tip=core.state.height)
    if first is not None:
        accuse_pair(core, first, proposal)


def _watch_certificate(core: Core, certificate: CommitCertificate) -> None:
    for signed in certificate.signatures:
        ballot = Ballot(
            BallotKind.PRECOMMIT,
            certificate.height,
            certificate.round,
            certificate.block_id,
            signed.time_ms,
            signed.voter,
            signed.signature,
        )
        _watch_ballot(core, ballot)


def _watch_freeze(core: Core, voter: bytes, epoch: int, word: SignedDigest) -> None:
    first = core.first_words.take_freeze(voter, epoch, word, current=core.state.epoch)
    if first is not None:
        words = (first, word)
        _accuse(core, make_conflicting_freezes(member=voter, epoch=epoch, words=words))


def _find_omitted(
    core: Core, voter: bytes, listed: Mapping[bytes, int], tallies: Iterable[BatchTally]
) -> bytes | None:
    """Return a payment that the member confirmed, its list lacks and the chain has not [T5]."""
    index = core.committee.index_of(voter)
    if index is None or (voter, core.state.epoch) in core.evidence:
        return None
    for tally in tallies:
        bits = tally.bits_of(VoteKind.CONFIRM, index) & ~tally.included
        for position in iterate_bits(bits & ~listed.get(tally.batch_id, 0)):
            if core.overlay.height_of(tally.txids[position]) is None:
                return tally.txids[position]
    return None


def _accuse_omission(
    core: Core, voter: bytes, omitted: bytes, txids: Sequence[bytes], signature: bytes
) -> None:
    index = core.committee.index_of(voter)
    if index is None:
        return
    confirm = _find_word(core, VoteKind.CONFIRM, index, omitted)
    evidence = make_omitted_confirm(
        member=voter, epoch=core.state.epoch, confirm=confirm, txids=txids, signature=signature
    )
    _accuse(core, evidence)


def _counted_in(core: Core, batch_ids: Iterable[bytes]) -> list[BatchTally]:
    """Return the tallies that count what these batches hold: their own, and homes of the rest."""
    found: dict[bytes, BatchTally] = {}
    for batch_id in batch_ids:
        tally = core.finality.batches.get(batch_id)
        if tally is not None:
            found[batch_id] = tally
            found.update((home.batch_id, home) for home, _ in tally.aliases.values())
    return list(found.values())


def _open_tallies(core: Core) -> Iterable[BatchTally]:
    """Return the tallies with transactions that are not in the chain at this closing height.

    The chain stands still until the height is decided, so each is looked at once.
    """
    height = core.height
    batches = core.finality.batches
    for tally in islice(batches.values(), height.scanned_tallies, None):
        if tally.included.bit_count() < len(tally.txids):
            height.open_tallies.append(tally)
    height.scanned_tallies = len(batches)
    return height.open_tallies


def _accuse_voter(core: Core, conflict: Conflict) -> None:
    """Make evidence of a member's Votes, or Confirms, for two payments that share an input."""
    kind, index = conflict.kind, conflict.member_index
    words = (
        _find_word(core, kind, index, conflict.first),
        _find_word(core, kind, index, conflict.second),
    )
    member = core.finality.committee.members[index].member_id
    epoch = core.finality.epoch
    _accuse(core, make_conflicting_votes(member=member, epoch=epoch, kind=kind, words=words))


def _find_word(core: Core, kind: VoteKind, index: int, txid: bytes) -> SpokenPayment:
    """Show the message by which a member is counted for a payment, in whichever batch it named it.

    Raises:
        Misuse: If there is none: only what was counted is looked for.
    """
    tally, position = core.finality.place_of(txid)
    vote = tally.message_of(kind, index, position)
    for entry in () if vote is None else vote.entries:
        batch = core.batches.get(entry.batch_id)
        bits = int.from_bytes(entry.bitmap, "little")
        for place, held in enumerate(() if batch is None else batch.txids):
            if held == txid and bits >> place & 1 and batch is not None and vote is not None:
                return make_spoken_payment(vote, batch, place)
    raise Misuse("a message is counted for a payment that none of its entries names")
