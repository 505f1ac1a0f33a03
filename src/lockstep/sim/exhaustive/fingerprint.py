"""When two nodes of a model are in the same state: all that can ever matter to what they do next.

Left out is what only looks back (counters, times, block ids, who stands behind a quorum that is
complete) and what only asks others for things, which a model delivers anyway. Which Votes of others
have been counted towards a quorum that is not complete is left out too unless it is asked for: they
were all sent, and whatever was sent can be delivered again at any time.
"""

from collections.abc import Iterable

from lockstep.consensus.tally import BatchTally
from lockstep.primitives.committee import Committee
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.effects import OwnConfirm, OwnFreeze, OwnVote, QuorumConfirmed
from lockstep.sim.exhaustive.node import Node
from lockstep.sim.exhaustive.scenario import Scenario

_FULL = ("quorum",)
_KINDS = (VoteKind.VOTE, VoteKind.CONFIRM)

Fingerprint = tuple[object, ...]


def fingerprint(node: Node, *, has_partial: bool, has_disk: bool) -> Fingerprint:
    """Return the node's state; `has_disk` says that it may crash yet, so that the journal counts.

    `has_partial` keeps apart which members were counted towards quorums that are not complete.
    """
    core, scenario = node.core, node.setting.scenario
    payments = tuple(_payment(node, name, has_partial=has_partial) for name in scenario.names)
    order = tuple(scenario.name_of[entry.verified.txid] for entry in core.pool)
    return (
        node.said,
        node.crashes,
        core.state.height,
        core.finality.frozen,
        core.finality.epoch,
        payments,
        order,
        _journal(node) if has_disk else (),
    )


def _payment(node: Node, name: str, *, has_partial: bool) -> Fingerprint:
    core, scenario = node.core, node.setting.scenario
    verified = scenario.payments[name]
    txid, inputs = verified.txid, verified.transaction.body.inputs
    entry = core.pool.get(txid)
    holders = (core.finality.holder_of(outpoint) for outpoint in inputs)
    # Asked for a txid that nobody has, the rival is whatever was confirmed.
    confirmed = (core.finality.confirmed_rival(b"", (outpoint,)) for outpoint in inputs)
    return (
        core.overlay.height_of(txid),
        scenario.batches[name].batch_id in core.batches,
        None if entry is None else (entry.fee is None, entry.voted, entry.waiting),
        tuple(None if holder is None else scenario.name_of[holder] for holder in holders),
        tuple(None if other is None else scenario.name_of[other] for other in confirmed),
        txid in core.unconfirmed,
        _tally(node, txid, has_partial=has_partial),
    )


def _tally(node: Node, txid: bytes, *, has_partial: bool) -> Fingerprint | None:
    finality = node.core.finality
    home = finality.home_of(txid)
    if home is None:
        return None
    tally, position = home
    bits = (
        tally.own_voted,
        tally.own_confirmed,
        tally.certified,
        tally.final,
        tally.included,
        tally.dead,
    )
    partial: Fingerprint = ()
    if has_partial:
        partial = tuple(_counted(node, tally, position, kind) for kind in _KINDS)
    return (*(bit >> position & 1 for bit in bits), *partial)


def _counted(node: Node, tally: BatchTally, position: int, kind: VoteKind) -> Fingerprint:
    """Return who is counted, and the weight as the tally has it."""
    members = tally.members_at(kind, position, node.core.finality.committee)
    seats = sorted(node.setting.scenario.seat_of[member] for member in members)
    return (*seats, tally.weight_at(kind, position))


def _journal(node: Node) -> Fingerprint:
    """Return what the journal would bring back: own words, complete quorums, FREEZE, batches."""
    scenario = node.setting.scenario
    own: dict[object, None] = {}
    counted: dict[tuple[VoteKind, str], dict[int, None]] = {}
    for record in node.disk.journal():
        votes: Iterable[Vote] = ()
        match record:
            case OwnVote(vote=vote):
                own["vote", _names(scenario, vote)] = None
                votes = (vote,)
            case OwnConfirm(confirm=confirm, certificate=certificate):
                own["confirm", _names(scenario, confirm)] = None
                votes = (confirm, *certificate)
            case QuorumConfirmed(confirms=confirms):
                votes = confirms
            case OwnFreeze(freeze=freeze):
                own["freeze", freeze.epoch, freeze.digest] = None
            case _:
                pass
        for vote in votes:
            for name in _names(scenario, vote):
                counted.setdefault((vote.kind, name), {})[scenario.seat_of[vote.voter]] = None
    committee = scenario.genesis.committee
    quorums = tuple(
        _voters(scenario, committee, counted.get((kind, name), {}))
        for kind in _KINDS
        for name in scenario.names
    )
    return (node.disk.state.height, tuple(own), quorums)


def _names(scenario: Scenario, vote: Vote) -> tuple[str, ...]:
    return tuple(name for entry in vote.entries for name in scenario.names_of[entry.batch_id])


def _voters(scenario: Scenario, committee: Committee, seats: Iterable[int]) -> Fingerprint:
    found = sorted(seats)
    weight = sum(scenario.weights[seat] for seat in found)
    return _FULL if weight >= committee.quorum else tuple(found)
