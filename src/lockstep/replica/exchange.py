"""What is said again, and what is served: connects, repeats, requests, fetches [T10, B3, F2]."""

from lockstep.consensus.rounds import Phase
from lockstep.ledger.blocks import is_closing_height
from lockstep.primitives.messages import (
    BatchBody,
    GetBatches,
    GetBlock,
    GetOwnWords,
    GetVotes,
    Message,
)
from lockstep.primitives.params import FETCH_DELAY_MS, RESEND_MAX_MS
from lockstep.primitives.votes import Vote
from lockstep.replica import amnesia
from lockstep.replica.agreement import make_message
from lockstep.replica.core import Core
from lockstep.replica.effects import ServeBlock
from lockstep.replica.epoch import make_status, own_votes
from lockstep.replica.events import RequestReceived, Timer, TimerKind
from lockstep.replica.evidence import evidence_messages
from lockstep.replica.fetching import FIRST_DELAY_MS
from lockstep.replica.freezing import known_copies
from lockstep.replica.ownwords import answer
from lockstep.replica.tx_path import is_backed


def on_connect(core: Core, peer: bytes) -> None:
    """Tell a new peer how far we are and all of the height [T10].

    Our votes of the epoch follow when it has said that it is in the same one (`syncing`).
    """
    core.peers[peer] = None
    core.send(peer, make_status(core))
    amnesia.ask(core, peer)
    for message in (*height_messages(core), *evidence_messages(core)):
        core.send(peer, message)


def announce(core: Core) -> None:
    """Say at the start what we had said of the height and the epoch, byte for byte [D2, T10]."""
    core.broadcast(make_status(core))
    for message in [*height_messages(core), *own_votes(core)]:
        core.broadcast(message)


def on_disconnect(core: Core, peer: bytes) -> None:
    """Forget a peer; what it had sent ahead it will say again."""
    core.peers.pop(peer, None)
    core.served.pop(peer, None)
    core.early.forget_peer(peer)


def on_resend_timer(core: Core, timer: Timer) -> None:
    """Repeat what was said of a height that is still undecided, more and more seldom [T10]."""
    if timer.height != core.height.height:
        return
    for message in height_messages(core):
        core.broadcast(message)
    core.broadcast(make_status(core))
    core.height.resend_ms = min(2 * core.height.resend_ms, RESEND_MAX_MS)
    core.set_timer(TimerKind.RESEND, core.height.resend_ms, height=timer.height)


def height_messages(core: Core) -> list[Message]:
    """Return our messages of the undecided height and those of others that we acted on [T10]."""
    messages: list[Message] = []
    if is_closing_height(core.height.height, core.genesis.closing_every):
        # Only what was found to be what its member signed is passed on, and our own.
        messages.extend(copy.freeze for copy in known_copies(core))
    driver = core.height.driver
    if driver is None or (driver.state.phase is Phase.UNSTARTED and not driver.valid_proposals()):
        return messages
    current = driver.state.round
    rounds = (current, driver.state.valid_round, driver.state.locked_round)
    messages.extend(
        make_message(core, driver, proposal)
        for proposal in driver.valid_proposals()
        if proposal.round in rounds or proposal.proposer == core.own_id
    )
    messages.extend(
        ballot
        for member in core.committee.members
        for ballot in driver.votes.votes_of(member.member_id)
        if ballot.round >= current - 1 or ballot.voter == core.own_id
    )
    return messages


def on_request(core: Core, event: RequestReceived) -> None:
    """Serve batches, certificates, blocks, and a member's own words to a peer."""
    request = event.request
    match request:
        case GetBatches(batch_ids=batch_ids):
            for batch_id in batch_ids:
                batch = core.batches.get(batch_id)
                if batch is not None:
                    core.send(event.peer, BatchBody(batch.body))
        case GetVotes(epoch=epoch, batch_ids=batch_ids):
            if epoch == core.finality.epoch:
                for vote in _held_votes(core, batch_ids).values():
                    core.send(event.peer, vote)
        case GetBlock(height=height, page=page):
            if height <= core.state.height:
                core.add(ServeBlock(event.peer, height, page))
        case GetOwnWords():
            answer(core, event.peer, request)


def schedule_fetches(core: Core) -> None:
    """Start the clock for what is wanted, if it does not run."""
    if not core.fetches.timer_set and not core.fetches.is_idle():
        core.fetches.timer_set = True
        core.set_timer(TimerKind.FETCH, FIRST_DELAY_MS)


def on_fetch_timer(core: Core) -> None:
    """Ask for what has not come, each thing from its next source [B3, F2].

    The caller has just let open candidates and FREEZEs say again what they lack.
    """
    core.fetches.timer_set = False
    for batch_id, voters in core.finality.unknown_batches():
        if batch_id in core.quotas.refused and not is_backed(core, batch_id):
            continue
        for voter in voters:
            member = core.committee.find(voter)
            core.fetches.want_batch(batch_id, None if member is None else member.node_key)
    _want_claimed(core)
    if core.fetches.is_idle():
        return
    for peer, request in core.fetches.next_requests(core.finality.epoch, list(core.peers)):
        core.send(peer, request)
    core.fetches.timer_set = True
    core.set_timer(TimerKind.FETCH, FETCH_DELAY_MS)


def _want_claimed(core: Core) -> None:
    """Want the certificates that others have held for a while and that have not come [F2]."""
    for batch_id, (since_ms, sources) in list(core.fetches.claims.items()):
        tally = core.finality.batches.get(batch_id)
        if tally is None or not tally.claimed:
            del core.fetches.claims[batch_id]
        elif not 0 <= core.time_ms - since_ms < FETCH_DELAY_MS:
            for source in sources:
                core.fetches.want_votes(batch_id, source)


def _held_votes(core: Core, batch_ids: tuple[bytes, ...]) -> dict[bytes, Vote]:
    found: dict[bytes, Vote] = {}
    for batch_id in batch_ids:
        tally = core.finality.batches.get(batch_id)
        if tally is None:
            continue
        for vote in tally.all_messages():
            found[vote.signature] = vote
        for position in sorted(tally.aliases):
            for vote in tally.aliases[position][0].all_messages():
                found[vote.signature] = vote
    return found
