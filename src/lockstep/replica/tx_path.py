"""Batches and votes as they come in: held, counted, voted on [B1-B5, F1]."""

from collections.abc import Mapping
from functools import partial

from lockstep.primitives.bitmap import MalformedBitmap
from lockstep.primitives.evidence import spent_outpoints
from lockstep.primitives.messages import BatchBody
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.admission import admit_batch, answer_submission
from lockstep.replica.core import Core
from lockstep.replica.effects import BatchHeld
from lockstep.replica.events import BatchReceived
from lockstep.replica.voting import confirm_waiting, vote_admitted


def on_batch(core: Core, event: BatchReceived) -> None:
    """Take a batch in: hold what may become valid, journal it, vote for what is valid [B5, F1].

    A batch in which nothing new is worth holding is kept only where a vote or a block names it.
    """
    batch, own = event.batch, event.peer is None
    if batch.batch_id in core.batches:
        if own:
            # What had been evicted meanwhile is held again, and voted for like anything new.
            admission = admit_batch(core, batch, own=True)
            vote_admitted(core, admission)
            answer_submission(core, batch, admission)
        return
    wanted = is_wanted(core, batch.batch_id)
    payer = None if event.peer is None else _payer_of(core, batch.batch_id, event.peer)
    if payer is not None and not core.quotas.make_room(
        payer, len(batch.body), partial(is_backed, core), core.time_ms
    ):
        core.quotas.refuse(batch.batch_id)
        core.fetches.batches.pop(batch.batch_id, None)
        return
    admission = admit_batch(core, batch, own=own)
    if admission.entries or wanted:
        hold_batch(core, batch, admission.spenders)
        if payer is not None:
            core.quotas.charge(payer, batch.batch_id, len(batch.body))
        if own:
            core.broadcast(BatchBody(batch.body), is_free=True)
        vote_admitted(core, admission)
        confirm_waiting(core)
        core.height.recheck = True
    if own:
        answer_submission(core, batch, admission)


def hold_batch(
    core: Core, batch: VerifiedBatch, spenders: Mapping[bytes, bytes] | None = None
) -> None:
    """Keep and journal a batch, and count the votes that came before it [B3].

    `spenders` is txid by outpoint where it is known that no coin is spent twice.
    """
    core.batches[batch.batch_id] = batch
    core.fetches.batches.pop(batch.batch_id, None)
    core.persist(BatchHeld(batch.batch_id, batch.body, tuple(sorted(batch.faults.items()))))
    inputs = spent_outpoints(batch)
    core.note(core.finality.add_batch(batch.batch_id, batch.txids, inputs, spenders))
    for voter in core.height.freezes:
        core.height.suspect(voter, (batch.batch_id,))
    core.note_copies(batch)
    if batch.batch_id in core.finality.missed:
        del core.finality.missed[batch.batch_id]
        core.fetches.want_votes(batch.batch_id, None)


def is_wanted(core: Core, batch_id: bytes) -> bool:
    """Tell whether a vote, a FREEZE or a proposed block names this batch, which is not held."""
    return core.finality.is_named(batch_id) or batch_id in core.height.named


def is_backed(core: Core, batch_id: bytes) -> bool:
    """Tell whether an honest member must be among those that spoke for a batch, held or not."""
    return core.committee.is_skip(core.finality.backing(batch_id))


def _payer_of(core: Core, batch_id: bytes, peer: bytes) -> bytes | None:
    """Return the node that answers for a batch: one that named it, else who brought it [B3].

    Nobody answers for what over a third of the weight stands behind, or a block or FREEZE names:
    without that no height would end.
    """
    if batch_id in core.height.named or is_backed(core, batch_id):
        return None
    namers = core.finality.namers(batch_id)
    member = core.committee.find(namers[0]) if namers else None
    return peer if member is None else member.node_key


def on_vote(core: Core, peer: bytes, vote: Vote) -> None:
    """Count a Vote or Confirm; one of the next epoch waits, one of an older is over [M4].

    An entry that does not fit its batch is the voter's fault alone: whoever passed the vote on may
    not have had the batch.
    """
    if vote.epoch == core.state.epoch + 1:
        core.early.keep_vote(peer, vote)
    if vote.epoch != core.state.epoch or vote.voter not in core.committee:
        return
    progress = core.finality.count(vote)
    core.note(progress)
    member = core.committee.find(vote.voter)
    voter = None if member is None else member.node_key
    for batch_id in progress.unknown:
        if batch_id in core.quotas.refused and not is_backed(core, batch_id):
            continue
        core.fetches.want_batch(batch_id, voter)
    for batch_id in progress.claimed:
        core.fetches.claim(batch_id, voter, core.time_ms)
    if vote.kind is VoteKind.CONFIRM and vote.voter in core.height.freezes:
        core.height.suspect(vote.voter, [entry.batch_id for entry in vote.entries])
    if progress.malformed and peer == voter:
        core.penalise(peer, MalformedBitmap.code)
