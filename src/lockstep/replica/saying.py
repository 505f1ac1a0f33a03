"""Votes and Confirms from promise to message: promised one by one, said together [B2, F1, F3].

A promise binds this node the moment it is made and nobody else can know of it before its message.
So while a commit is in flight, which no message may pass, promises gather, and one signature covers
all that were made meanwhile.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from lockstep.mempool.pool import Entry
from lockstep.primitives.bitmap import bitmap_bytes, collect_bits
from lockstep.primitives.votes import ENTRIES_MAX, Vote, VoteKind, make_vote_digest
from lockstep.primitives.votes import Entry as VoteEntry
from lockstep.replica.core import Core
from lockstep.replica.effects import OwnConfirm, OwnVote


def promise(core: Core, kind: VoteKind, payments: Iterable[Entry]) -> None:
    """Note in the tallies that these payments are voted for or confirmed, and that it is unsaid.

    A message names the copy whose witnesses are good, which need not be the one it is counted by:
    somebody may have spread a spoilt copy first [B5].
    """
    positions: defaultdict[bytes, list[int]] = defaultdict(list)
    for payment in payments:
        positions[payment.batch_id].append(payment.position)
    for batch_id, places in positions.items():
        promise_bits(core, kind, batch_id, collect_bits(places))


def promise_bits(core: Core, kind: VoteKind, batch_id: bytes, bits: int) -> None:
    """Note the same of payments whose good copies stand in this batch, at these bits."""
    core.finality.mark_own(kind, batch_id, bits, is_held=kind is VoteKind.VOTE)
    unsaid = core.unsaid[kind]
    unsaid[batch_id] = unsaid.get(batch_id, 0) | bits


def is_unsaid(core: Core) -> bool:
    """Tell whether anything is promised and not yet said."""
    return any(core.unsaid.values())


def say_promises(core: Core) -> None:
    """Make the messages for all that is promised and unsaid, record, count and send them.

    Who has learnt meanwhile that it may not sign says nothing; its locks stand all the same [D3].
    """
    if not core.is_voting:
        core.unsaid = {kind: {} for kind in VoteKind}
        core.unsaid_certificate = []
        return
    votes, core.unsaid[VoteKind.VOTE] = core.unsaid[VoteKind.VOTE], {}
    for vote in _sign(core, VoteKind.VOTE, votes):
        core.persist(OwnVote(vote))
        _send(core, vote)
    confirms, core.unsaid[VoteKind.CONFIRM] = core.unsaid[VoteKind.CONFIRM], {}
    certificate, core.unsaid_certificate = tuple(core.unsaid_certificate), []
    for confirm in _sign(core, VoteKind.CONFIRM, confirms):
        # The first of them takes the certificates of all along; the rest follow it [F3].
        core.persist(OwnConfirm(confirm, certificate))
        certificate = ()
        _send(core, confirm)


def _send(core: Core, vote: Vote) -> None:
    core.durable[vote.signature] = None
    core.note(core.finality.count(vote))
    core.broadcast(vote)


def _sign(core: Core, kind: VoteKind, unsaid: Mapping[bytes, int]) -> list[Vote]:
    entries = [
        VoteEntry(batch_id, bitmap_bytes(bits, len(core.batches[batch_id].txids)))
        for batch_id, bits in unsaid.items()
    ]
    votes: list[Vote] = []
    for start in range(0, len(entries), ENTRIES_MAX):
        page = tuple(entries[start : start + ENTRIES_MAX])
        epoch = core.finality.epoch
        digest = make_vote_digest(chain_id=core.chain_id, kind=kind, epoch=epoch, entries=page)
        votes.append(Vote(kind, epoch, core.own_id or b"", page, core.sign(digest)))
    return votes
