"""The ingress: frames of peers become events, after every signature in them was judged [M2, M3].

What comes out is a judging: it decodes, gathers checks, and stops where they are to be judged, for
a shell to have that done on its loop or in a thread; it works on values that nobody changes. A
message with a fault becomes a `Fault` that names its sender and a code; the others go on. A message
of an epoch or height whose committee is not known here is left out and counted: it is asked for
again on entry [M4].
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, assert_never

from msgspec import Struct

from lockstep.crypto.keys import Verifier
from lockstep.errors import Rejected
from lockstep.ledger.evidence import evidence_checks
from lockstep.primitives.batch import decode_batch, encode_parts
from lockstep.primitives.block import Ballot, InlinePart, make_block_id
from lockstep.primitives.messages import (
    BatchBody,
    BlockPage,
    EvidenceFound,
    GetBatches,
    GetBlock,
    GetOwnWords,
    GetVotes,
    OwnWords,
    ProposalMessage,
    Status,
    decode_message,
)
from lockstep.primitives.transaction import Transaction, VerifiedBatch, make_batch_id
from lockstep.primitives.votes import Freeze, Vote
from lockstep.replica.events import (
    BallotsReceived,
    BatchReceived,
    Event,
    EvidenceReceived,
    FreezeReceived,
    OwnWordsReceived,
    ProposalReceived,
    RequestReceived,
    StatusReceived,
    VotesReceived,
)
from lockstep.replica.judging import Judging, SignatureGroup, judge_at_once
from lockstep.replica.openbatch import OpenBatch, deriving
from lockstep.replica.openpayments import (
    OpenPayment,
    gather_payments,
    join_payments,
    open_payments,
)
from lockstep.replica.signatures import (
    BadMessageSignature,
    CommitteeLookup,
    UnknownCommittee,
    ballot_check,
    certificate_checks,
    committee_of_epoch,
    freeze_check,
    proposal_check,
    vote_check,
)
from lockstep.replica.witnesses import spend_checks


class MismatchedProposal(Rejected):
    """A proposal's signed word and the block beside it are not about the same thing."""

    code = "proposal.mismatch"


class PageReceived(Struct, frozen=True):
    """A page of a decided block; for the assembler, not for the replica [T9]."""

    peer: bytes
    page: BlockPage


class Fault(Struct, frozen=True):
    """What a peer did that no honest node does: a code and a sentence."""

    peer: bytes
    code: str
    sentence: str


Outcome = Event | PageReceived | Fault
_Opened = tuple[slice, Event | PageReceived | OpenBatch]
"""The claim that must hold, and what the message is then; a batch keeps the claims of its own."""
_UNSIGNED: Final = slice(0, 0)
_Plain = (
    Vote
    | Ballot
    | Status
    | Freeze
    | GetBatches
    | GetVotes
    | GetBlock
    | GetOwnWords
    | OwnWords
    | EvidenceFound
    | BlockPage
)


class Judged(Struct, frozen=True):
    """What became of the frames of one call.

    Attributes:
        outcomes: Events, pages and faults in the order of the frames; neighbouring Votes, and
            neighbouring ballots, of one peer stand in one event.
        left_out: Number of messages whose committee is not known.
        known: Number of batches that were not judged because the replica has them.
        signatures: Number of signatures judged.
    """

    outcomes: tuple[Outcome, ...]
    left_out: int
    known: int
    signatures: int


def prepare_batch(body: bytes, *, chain_id: bytes, verifier: Verifier) -> VerifiedBatch:
    """Judge the bytes of a batch and every witness in it [B1, B5].

    Raises:
        Oversize: If there are more bytes than a batch may have.
        Malformed: If the bytes are not a batch in canonical form.
    """
    return judge_at_once(_judging_batch(body, chain_id), verifier)


def make_batch(
    transactions: Sequence[Transaction], *, chain_id: bytes, verifier: Verifier
) -> tuple[VerifiedBatch | None, dict[int, str]]:
    """Run `judging_submission` to its end at once [B1]."""
    return judge_at_once(judging_submission(transactions, chain_id=chain_id), verifier)


def judging_submission(
    transactions: Sequence[Transaction], *, chain_id: bytes
) -> Judging[tuple[VerifiedBatch | None, dict[int, str]]]:
    """Make a batch of those transactions whose witnesses are good [B1].

    The caller sees to it that together they do not exceed a batch.

    Returns:
        The batch, None where no transaction is left, and a code by position for those left out.
    """
    payments = open_payments(encode_parts(transactions))
    return (yield from judging_payments(payments, chain_id=chain_id))


def judging_payments(
    payments: Sequence[OpenPayment], *, chain_id: bytes
) -> Judging[tuple[VerifiedBatch | None, dict[int, str]]]:
    """Do the same with payments that are open already; nothing of them is encoded again."""
    batch = yield from _judging_payments(payments, chain_id)
    if not batch.faults:
        return batch, {}
    good = [each for place, each in enumerate(payments) if place not in batch.faults]
    if not good:
        return None, batch.faults
    leaves = tuple([payment.derived.leaf for payment in good])
    rest = VerifiedBatch(
        batch_id=make_batch_id(leaves),
        body=join_payments(good),
        txids=tuple([payment.derived.txid for payment in good]),
        leaves=leaves,
        transactions=tuple([payment.derived for payment in good]),
        faults={},
    )
    return rest, batch.faults


def _judging_payments(payments: Sequence[OpenPayment], chain_id: bytes) -> Judging[VerifiedBatch]:
    group = SignatureGroup()
    opened = OpenBatch(join_payments(payments), gather_payments(payments))
    yield from opened.judge(chain_id, group)
    yield from group.judge_rest()
    return opened.finish(group)


def _judging_batch(body: bytes, chain_id: bytes) -> Judging[VerifiedBatch]:
    group = SignatureGroup()
    opened = OpenBatch(body, (yield from deriving(decode_batch(body))))
    yield from opened.judge(chain_id, group)
    yield from group.judge_rest()
    return opened.finish(group)


def judge_frames(
    frames: Iterable[tuple[bytes, bytes]],
    *,
    chain_id: bytes,
    lookup: CommitteeLookup,
    verifier: Verifier,
    is_known_batch: Callable[[bytes], bool] = lambda _: False,
) -> Judged:
    """Run `judging_frames` to its end at once."""
    judging = judging_frames(
        frames, chain_id=chain_id, lookup=lookup, is_known_batch=is_known_batch
    )
    return judge_at_once(judging, verifier)


def judging_frames(
    frames: Iterable[tuple[bytes, bytes]],
    *,
    chain_id: bytes,
    lookup: CommitteeLookup,
    is_known_batch: Callable[[bytes], bool],
) -> Judging[Judged]:
    """Judge frames, each with the peer it came from, and make events of them.

    `is_known_batch` says of a batch id that the replica has it, so that it is not verified again.
    """
    call = _Call(chain_id=chain_id, lookup=lookup, is_known_batch=is_known_batch)
    group = call.group
    opened: list[tuple[bytes, _Opened | Fault | None]] = []
    for peer, data in frames:
        found: _Opened | Fault | None
        try:
            message = decode_message(data)
            if isinstance(message, BatchBody | ProposalMessage):
                found = yield from call.open_payments(peer, message)
            else:
                found = call.open(peer, message)
        except Rejected as fault:
            found = _blame(peer, fault)
        except UnknownCommittee:
            call.left_out += 1
            found = None
        opened.append((peer, found))
        if group.is_full:
            yield from group.judge_full()
    yield from group.judge_rest()
    outcomes: list[Outcome] = []
    for peer, found in opened:
        if found is not None:
            _append(outcomes, _finish(peer, found, group))
    return Judged(
        outcomes=tuple(outcomes),
        left_out=call.left_out,
        known=call.known,
        signatures=len(call.group),
    )


def _finish(peer: bytes, found: _Opened | Fault, group: SignatureGroup) -> Outcome:
    """Return what a message is now that its checks were judged."""
    if isinstance(found, Fault):
        return found
    claim, outcome = found
    try:
        if not group.holds(claim):
            raise BadMessageSignature("a signature of the message does not hold")
        if isinstance(outcome, OpenBatch):
            return BatchReceived(peer=peer, batch=outcome.finish(group))
    except Rejected as fault:
        return _blame(peer, fault)
    return outcome


def _blame(peer: bytes, fault: Rejected) -> Fault:
    return Fault(peer=peer, code=fault.code, sentence=str(fault))


def _append(outcomes: list[Outcome], outcome: Outcome) -> None:
    """Append, or join with the last outcome where both are Votes, or ballots, of one peer."""
    last = outcomes[-1] if outcomes else None
    if isinstance(outcome, VotesReceived):
        if isinstance(last, VotesReceived) and last.peer == outcome.peer:
            outcomes[-1] = VotesReceived(peer=last.peer, votes=last.votes + outcome.votes)
            return
    elif (
        isinstance(outcome, BallotsReceived)
        and isinstance(last, BallotsReceived)
        and last.peer == outcome.peer
    ):
        outcomes[-1] = BallotsReceived(peer=last.peer, ballots=last.ballots + outcome.ballots)
        return
    outcomes.append(outcome)


class _Call:
    """What the messages of one call share: the group of signatures and the counters."""

    def __init__(
        self, *, chain_id: bytes, lookup: CommitteeLookup, is_known_batch: Callable[[bytes], bool]
    ) -> None:
        self.group = SignatureGroup()
        self.left_out = 0
        self.known = 0
        self._chain_id = chain_id
        self._lookup = lookup
        self._is_known_batch = is_known_batch

    def open_payments(
        self, peer: bytes, message: BatchBody | ProposalMessage
    ) -> Judging[_Opened | None]:
        """Add the checks of a message that carries payments; yield where there are many.

        Raises:
            Rejected: If no honest node sends this.
            UnknownCommittee: If it is of a committee that is not known.
        """
        if isinstance(message, BatchBody):
            return (yield from self._open_batch(message))
        return (yield from self._open_proposal(peer, message))

    def open(self, peer: bytes, message: _Plain) -> _Opened:
        """Add the checks of any other message; there are so many of these that each is quick.

        Raises:
            Rejected: If no honest node sends this.
            UnknownCommittee: If it is of a committee that is not known.
        """
        lookup, chain_id = self._lookup, self._chain_id
        match message:
            case Vote():
                check = vote_check(message, lookup=lookup, chain_id=chain_id)
                return self.group.add([check]), VotesReceived(peer=peer, votes=(message,))
            case Ballot():
                check = ballot_check(message, lookup=lookup, chain_id=chain_id)
                return self.group.add([check]), BallotsReceived(peer=peer, ballots=(message,))
            case Status():
                return _UNSIGNED, StatusReceived(peer=peer, status=message)
            case Freeze():
                check = freeze_check(message, lookup=lookup, chain_id=chain_id)
                return self.group.add([check]), FreezeReceived(peer=peer, freeze=message)
            case GetBatches() | GetVotes() | GetBlock() | GetOwnWords():
                return _UNSIGNED, RequestReceived(peer=peer, request=message)
            case OwnWords():
                return self._open_own_words(peer, message)
            case EvidenceFound(evidence=evidence):
                committee = committee_of_epoch(lookup, evidence.epoch)
                checks = evidence_checks(evidence, committee=committee, chain_id=chain_id)
                return self.group.add(checks), EvidenceReceived(peer=peer, evidence=evidence)
            case BlockPage():
                return _UNSIGNED, PageReceived(peer=peer, page=message)
            case _:
                assert_never(message)

    def _open_batch(self, message: BatchBody) -> Judging[_Opened | None]:
        parts = decode_batch(message.body)
        opened = OpenBatch(message.body, (yield from deriving(parts)))
        if self._is_known_batch(opened.batch_id):
            self.known += 1
            return None
        yield from opened.judge(self._chain_id, self.group)
        return _UNSIGNED, opened

    def _open_own_words(self, peer: bytes, words: OwnWords) -> _Opened:
        lookup, chain_id = self._lookup, self._chain_id
        checks = [vote_check(v, lookup=lookup, chain_id=chain_id) for v in words.votes]
        checks += [freeze_check(f, lookup=lookup, chain_id=chain_id) for f in words.freezes]
        checks += [proposal_check(p, lookup=lookup, chain_id=chain_id) for p in words.proposals]
        checks += [ballot_check(b, lookup=lookup, chain_id=chain_id) for b in words.ballots]
        return self.group.add(checks), OwnWordsReceived(peer=peer, words=words)

    def _open_proposal(self, peer: bytes, message: ProposalMessage) -> Judging[_Opened]:
        proposal, block = message.proposal, message.block
        if (
            block.header.height != proposal.height
            or make_block_id(block.header) != proposal.block_id
        ):
            raise MismatchedProposal("the proposal names another block than the one beside it")
        lookup, chain_id = self._lookup, self._chain_id
        checks = [proposal_check(proposal, lookup=lookup, chain_id=chain_id)]
        checks += [ballot_check(b, lookup=lookup, chain_id=chain_id) for b in message.polc]
        if block.previous_commit is not None:
            checks += certificate_checks(block.previous_commit, lookup=lookup, chain_id=chain_id)
        parts = encode_parts(
            [
                transaction
                for part in block.parts
                if isinstance(part, InlinePart)
                for transaction in part.transactions
            ]
        )
        steps = yield from deriving(parts)
        for step in steps:
            checks += spend_checks(step, chain_id=chain_id)
        inline = tuple([each for step in steps for each in step.derived])
        event = ProposalReceived(peer=peer, message=message, inline=inline)
        return self.group.add(checks), event
