"""The ingress: frames of peers become events, after every signature in them was judged [M2, M3].

What comes out is a judging: it decodes, gathers checks, and stops where they are to be judged, for
a shell to have that done on its loop or in a thread; it works on values that nobody changes. A
message with a fault becomes a `Fault` that names its sender and a code; the others go on. A message
of an epoch or height whose committee is not known here is left out and counted: it is asked for
again on entry [M4].
"""

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from msgspec import Struct

from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Rejected
from lockstep.ledger.evidence import evidence_checks
from lockstep.primitives.batch import (
    decode_batch,
    encode_parts,
    join_parts,
)
from lockstep.primitives.block import Ballot, InlinePart, make_block_id
from lockstep.primitives.messages import (
    BatchBody,
    BlockPage,
    EvidenceFound,
    GetBatches,
    GetBlock,
    GetOwnWords,
    GetVotes,
    Message,
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
from lockstep.replica.openpayments import OpenPayment, join_payments, open_payments
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
_Finish = Callable[[], Event | PageReceived | None]


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
        body=join_parts(join_payments(good)),
        txids=tuple([payment.derived.txid for payment in good]),
        leaves=leaves,
        transactions=tuple([payment.derived for payment in good]),
        faults={},
    )
    return rest, batch.faults


def _judging_payments(payments: Sequence[OpenPayment], chain_id: bytes) -> Judging[VerifiedBatch]:
    group = SignatureGroup()
    body = join_parts(join_payments(payments))
    opened = OpenBatch(body, [payment.derived for payment in payments])
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
    opened: list[tuple[bytes, _Finish | Fault]] = []
    for peer, data in frames:
        opened.append((peer, (yield from call.open(peer, data))))
        yield from call.group.judge_full()
    yield from call.group.judge_rest()
    outcomes: list[Outcome] = []
    for peer, result in opened:
        if isinstance(result, Fault):
            outcomes.append(result)
            continue
        try:
            outcome = result()
        except Rejected as fault:
            outcomes.append(Fault(peer=peer, code=fault.code, sentence=str(fault)))
            continue
        if outcome is not None:
            _append(outcomes, outcome)
    return Judged(
        outcomes=tuple(outcomes),
        left_out=call.left_out,
        known=call.known,
        signatures=len(call.group),
    )


def _append(outcomes: list[Outcome], outcome: Outcome) -> None:
    """Append, or join with the last outcome where both are Votes, or ballots, of one peer."""
    match (outcomes[-1] if outcomes else None), outcome:
        case VotesReceived(peer=peer, votes=votes), VotesReceived(peer=other) if peer == other:
            outcomes[-1] = VotesReceived(peer=peer, votes=votes + outcome.votes)
        case BallotsReceived(peer=peer, ballots=ballots), BallotsReceived(peer=other) if (
            peer == other
        ):
            outcomes[-1] = BallotsReceived(peer=peer, ballots=ballots + outcome.ballots)
        case _:
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

    def open(self, peer: bytes, data: bytes) -> Judging[_Finish | Fault]:
        """Decode a frame and add its checks; return how to finish it after the judgement."""
        try:
            return (yield from self._open_message(peer, decode_message(data)))
        except Rejected as fault:
            return Fault(peer=peer, code=fault.code, sentence=str(fault))
        except UnknownCommittee:
            self.left_out += 1
            return lambda: None

    def _open_message(self, peer: bytes, message: Message) -> Judging[_Finish]:
        lookup, chain_id = self._lookup, self._chain_id
        match message:
            case BatchBody():
                return (yield from self._open_batch(peer, message))
            case Vote():
                check = vote_check(message, lookup=lookup, chain_id=chain_id)
                return self._when([check], VotesReceived(peer=peer, votes=(message,)))
            case Freeze():
                check = freeze_check(message, lookup=lookup, chain_id=chain_id)
                return self._when([check], FreezeReceived(peer=peer, freeze=message))
            case Ballot():
                check = ballot_check(message, lookup=lookup, chain_id=chain_id)
                return self._when([check], BallotsReceived(peer=peer, ballots=(message,)))
            case ProposalMessage():
                return (yield from self._open_proposal(peer, message))
            case GetBatches() | GetVotes() | GetBlock() | GetOwnWords():
                return self._when([], RequestReceived(peer=peer, request=message))
            case Status():
                return self._when([], StatusReceived(peer=peer, status=message))
            case OwnWords():
                return self._open_own_words(peer, message)
            case EvidenceFound(evidence=evidence):
                committee = committee_of_epoch(lookup, evidence.epoch)
                checks = evidence_checks(evidence, committee=committee, chain_id=chain_id)
                return self._when(checks, EvidenceReceived(peer=peer, evidence=evidence))
            case BlockPage():
                return self._when([], PageReceived(peer=peer, page=message))
            case _:
                assert_never(message)

    def _when(self, checks: list[SignatureCheck], outcome: Event | PageReceived) -> _Finish:
        claim = self.group.add(checks)

        def finish() -> Event | PageReceived:
            if not self.group.holds(claim):
                raise BadMessageSignature("a signature of the message does not hold")
            return outcome

        return finish

    def _open_batch(self, peer: bytes, message: BatchBody) -> Judging[_Finish]:
        parts = decode_batch(message.body)
        opened = OpenBatch(message.body, (yield from deriving(parts)))
        if self._is_known_batch(opened.batch_id):
            self.known += 1
            return lambda: None
        yield from opened.judge(self._chain_id, self.group)
        return lambda: BatchReceived(peer=peer, batch=opened.finish(self.group))

    def _open_own_words(self, peer: bytes, words: OwnWords) -> _Finish:
        lookup, chain_id = self._lookup, self._chain_id
        checks = [vote_check(v, lookup=lookup, chain_id=chain_id) for v in words.votes]
        checks += [freeze_check(f, lookup=lookup, chain_id=chain_id) for f in words.freezes]
        checks += [proposal_check(p, lookup=lookup, chain_id=chain_id) for p in words.proposals]
        checks += [ballot_check(b, lookup=lookup, chain_id=chain_id) for b in words.ballots]
        return self._when(checks, OwnWordsReceived(peer=peer, words=words))

    def _open_proposal(self, peer: bytes, message: ProposalMessage) -> Judging[_Finish]:
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
        inline = yield from deriving(parts)
        checks += spend_checks(inline, chain_id=chain_id)
        event = ProposalReceived(peer=peer, message=message, inline=tuple(inline))
        return self._when(checks, event)
