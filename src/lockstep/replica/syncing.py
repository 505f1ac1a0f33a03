"""Following the chain from others' decided blocks [T9].

A block with its commit certificate suffices: it replaces J and vote certificates. Peers say how far
they are; a node that is behind asks several of them for the next heights and applies what comes in
order, through the same door as its own decisions.
"""

from lockstep.errors import Fatal, Rejected
from lockstep.ledger.blocks import AssembledBlock, check_block
from lockstep.primitives.messages import GetBlock, Status
from lockstep.replica import amnesia
from lockstep.replica.agreement import begin_height
from lockstep.replica.catchup import CATCHUP_DELAY_MS
from lockstep.replica.commit import commit_block
from lockstep.replica.core import Core
from lockstep.replica.epoch import own_votes
from lockstep.replica.events import BlockFetched, StatusReceived, TimerKind
from lockstep.replica.proposing import known_of


class CertifiedInvalid(Fatal):
    """A block with a commit certificate is invalid on the chain below: the set is broken [T9]."""

    code = "chain.certified_invalid"
    hint = "stop relying on this network and compare with the operators of other masternodes"


def on_status(core: Core, event: StatusReceived) -> None:
    """Note how far a peer is; follow if it is ahead, and repeat our votes if it has caught up.

    A peer that is gone is not noted again, and no chain grows shorter: who says so wants our votes
    repeated without end.
    """
    before = core.peers.get(event.peer)
    if event.peer not in core.peers or (before and event.status.height < before.height):
        return
    core.peers[event.peer] = event.status
    if event.status.height > core.state.height:
        follow_others(core)
    entered = before is None or before.epoch < event.status.epoch
    if entered and event.status.epoch == core.state.epoch:
        for vote in own_votes(core):
            core.send(event.peer, vote)
        amnesia.ask(core, event.peer)


def schedule_catchup(core: Core, delay_ms: int) -> None:
    """Look again after a while, if that is not planned already."""
    if not core.catchup.timer_set:
        core.catchup.timer_set = True
        core.set_timer(TimerKind.CATCHUP, delay_ms)


def on_catchup_timer(core: Core) -> None:
    """Ask for what is still missing, of others where one did not answer."""
    core.catchup.timer_set = False
    follow_others(core)


def follow_others(core: Core) -> None:
    """Ask for the blocks that others say they have and this node lacks.

    The decision of a single one is most likely a message away: it is fetched when it has stayed
    away for a while. Each block has that while, for on a busy network there is always a next one.
    """
    ahead = _best_height(core) - core.state.height
    if ahead <= 0:
        return
    if ahead == 1:
        left_ms = core.catchup.grace_left_ms(core.state.height, core.time_ms)
        if left_ms:
            schedule_catchup(core, left_ms)
            return
    request_blocks(core)
    schedule_catchup(core, CATCHUP_DELAY_MS)


def is_outvoted(core: Core) -> bool:
    """Tell whether members of over a third of the weight say that they have a block we lack.

    One peer may lie; among these is an honest one.
    """
    weight = sum(
        member.weight
        for member in core.committee.members
        if (status := core.peers.get(member.node_key)) is not None
        and status.height > core.state.height
    )
    return core.committee.is_skip(weight)


def request_blocks(core: Core) -> None:
    """Ask for the next blocks, each height of one peer that has it, as far as its set is known."""
    last = (core.state.epoch + 2) * core.genesis.closing_every
    tips = {p: min(s.height, last) for p, s in core.peers.items() if s is not None}
    for peer, height in core.catchup.next_requests(core.state.height, tips, core.time_ms):
        core.send(peer, GetBlock(height, 0))


def on_block_fetched(core: Core, event: BlockFetched) -> None:
    """Hold a fetched block, and apply all that now follow on the tip.

    Raises:
        CertifiedInvalid: If a certified block is invalid on the chain below.
    """
    if core.catchup.hold(core.state.height, event):
        apply_held(core)


def apply_held(core: Core) -> None:
    """Apply the fetched blocks that now follow on the tip, whoever decided the one below.

    Raises:
        CertifiedInvalid: If a certified block is invalid on the chain below.
    """
    while (fetched := core.catchup.take(core.state.height + 1)) is not None:
        _apply(core, fetched)
        begin_height(core)
    follow_others(core)


def _apply(core: Core, fetched: BlockFetched) -> None:
    block, certificate = fetched.decided.block, fetched.decided.certificate
    assembled = AssembledBlock(
        block.header,
        block.previous_commit,
        fetched.transactions,
        block.justification,
        block.evidence,
    )
    try:
        delta, after = check_block(
            assembled,
            genesis=core.genesis,
            state=core.state,
            committee=core.committee,
            previous_committee=core.previous_committee,
            view=core.overlay,
            verifier=core.verifier,
            certified=True,
            coins_sum=core.settled_sum,
            # Whoever judged the block's bytes compared their root with the header's.
            known=known_of(core, fetched.transactions, root=block.header.transaction_root),
        )
    except Rejected as fault:
        sentence = f"the certified block of height {block.header.height} is invalid: {fault}"
        raise CertifiedInvalid(sentence) from fault
    commit_block(core, assembled, delta, after, certificate, by_sync=True)


def _best_height(core: Core) -> int:
    heights: list[Status] = [status for status in core.peers.values() if status is not None]
    return max((status.height for status in heights), default=0)
