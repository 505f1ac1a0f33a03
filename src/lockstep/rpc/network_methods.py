"""Methods on masternodes, agreement, peers, and the node itself."""

from typing import Annotated

from msgspec import Meta, Struct

from lockstep import __version__
from lockstep.crypto.address import format_address
from lockstep.net.roster import PeerInfo
from lockstep.primitives.committee import Committee
from lockstep.primitives.params import FEE_MIN, FEE_PER_BYTE, RULE_SET
from lockstep.rpc.faults import WrongValue
from lockstep.rpc.service import NodeService
from lockstep.rpc.shapes import (
    PAGE_ITEMS,
    Coins,
    Cursor,
    Limit,
    Page,
    format_coins,
    make_page,
    parse_hash_cursor,
)

Epoch = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class NetworkAnswer(Struct, frozen=True):
    """The node among its peers; `verify_backend` names what verifies its signatures."""

    version: str
    subversion: str
    protocolversion: int
    verify_backend: str
    networkactive: bool
    connections: int
    connections_in: int
    connections_out: int
    connected_weight: int
    quorum: int
    total_weight: int
    relayfee: Coins
    fee_per_byte_units: int
    warnings: list[str]


class PeerAnswer(Struct, frozen=True):
    """A connected peer; `member_id` is null for one that does not vote."""

    node_key: str
    addr: str
    inbound: bool
    conntime: int
    connected_ms: int
    bytessent: int
    bytesrecv: int
    latency_us: int | None
    synced_blocks: int
    subver: str
    faults: int
    member_id: str | None
    weight: int


class MasternodeAnswer(Struct, frozen=True):
    """A member of the committee.

    `evidence` are the epochs, of the last hundred, for which the chain proves that it signed what
    no honest member signs; `accused` those for which this node has such proof that the chain lacks.
    """

    member_id: str
    voting_key: str
    node_key: str
    weight: int
    reward_weight: int
    payout_address: str
    connected: bool
    own: bool
    evidence: list[int]
    accused: list[int]


class StatusAnswer(Struct, frozen=True):
    """This node as a masternode; the member is null where it is none.

    `state` is `voting`, `following` for one that is no member, `asking` while a node that has just
    started asks its peers what its key has signed, or `amnesia` where its journal lacks some of it.
    """

    state: str
    member: MasternodeAnswer | None
    epoch: int
    ready: bool
    reasons: list[str]


class ConsensusStateAnswer(Struct, frozen=True):
    """Where this node stands in the agreement on the next block."""

    height: int
    round: int
    step: str
    epoch: int
    closing: bool
    frozen: bool
    members: int
    total_weight: int
    quorum: int
    set_hash: str
    own_id: str | None
    proposer: str
    prevote_weight: int
    precommit_weight: int
    freezes: int
    locked_round: int
    valid_round: int
    catching_up: bool


async def getnetworkinfo(service: NodeService) -> NetworkAnswer:
    """Return versions, connections, and how much voting weight is connected."""
    peers = service.peers.peers()
    weight, quorum, total = service.connected_weight()
    inbound = sum(not peer.dialled for peer in peers)
    return NetworkAnswer(
        version=__version__,
        subversion=f"/Lockstep:{__version__}/",
        protocolversion=RULE_SET,
        verify_backend=service.verify_backend,
        networkactive=not service.is_stopping,
        connections=len(peers),
        connections_in=inbound,
        connections_out=len(peers) - inbound,
        connected_weight=weight,
        quorum=quorum,
        total_weight=total,
        relayfee=format_coins(FEE_MIN),
        fee_per_byte_units=FEE_PER_BYTE,
        warnings=[reason.message for reason in service.reasons()],
    )


async def getconnectioncount(service: NodeService) -> int:
    """Return the number of connected peers."""
    return len(service.peers.peers())


async def getpeerinfo(
    service: NodeService, *, cursor: Cursor = "", limit: Limit = PAGE_ITEMS
) -> Page[PeerAnswer]:
    """Return a page of the connected peers ordered by node key."""
    after = parse_hash_cursor(cursor) or b""
    members = _members_by_node_key(service)
    peers = sorted(service.peers.peers(), key=lambda peer: peer.peer)
    page = make_page(
        [peer for peer in peers if peer.peer > after], limit, lambda peer: peer.peer.hex()
    )
    now_ms = service.clock_ms()
    return Page([_describe_peer(peer, members, now_ms) for peer in page.items], page.cursor)


async def masternodelist(
    service: NodeService,
    *,
    epoch: Epoch | None = None,
    cursor: Cursor = "",
    limit: Limit = PAGE_ITEMS,
) -> Page[MasternodeAnswer]:
    """Return a page of the masternodes of an epoch, the present one where none is named."""
    committee = _committee(service, epoch)
    after = parse_hash_cursor(cursor) or b""
    ids = [member.member_id for member in committee.members if member.member_id > after]
    page = make_page(ids, limit, bytes.hex)
    connected = {peer.peer for peer in service.peers.peers()}
    return Page(
        [_describe_member(service, committee, name, connected) for name in page.items], page.cursor
    )


async def masternodestatus(service: NodeService) -> StatusAnswer:
    """Return whether this node votes, as whom, and what keeps it from being ready."""
    epoch = service.view.state.epoch
    committee = service.view.committee_for_epoch(epoch)
    own_id = service.view.own_id
    reasons = service.reasons()
    member = None
    if committee is not None and own_id is not None and own_id in committee:
        connected = {peer.peer for peer in service.peers.peers()}
        member = _describe_member(service, committee, own_id, connected)
    return StatusAnswer(
        state=service.view.voting().state,
        member=member,
        epoch=epoch,
        ready=not reasons,
        reasons=[reason.message for reason in reasons],
    )


async def getconsensusinfo(service: NodeService) -> ConsensusStateAnswer:
    """Return height, round, step and epoch, the set, and the votes held."""
    answer = service.view.consensus()
    return ConsensusStateAnswer(
        height=answer.height,
        round=answer.round,
        step=answer.step,
        epoch=answer.epoch,
        closing=answer.closing,
        frozen=answer.frozen,
        members=answer.members,
        total_weight=answer.total_weight,
        quorum=answer.quorum,
        set_hash=answer.set_hash.hex(),
        own_id=answer.own_id.hex() if answer.own_id else None,
        proposer=answer.proposer.hex(),
        prevote_weight=answer.prevote_weight,
        precommit_weight=answer.precommit_weight,
        freezes=answer.freezes,
        locked_round=answer.locked_round,
        valid_round=answer.valid_round,
        catching_up=answer.catching_up,
    )


async def uptime(service: NodeService) -> int:
    """Return for how many seconds the node has run."""
    return service.uptime_s()


async def stop(service: NodeService) -> str:
    """Stop the node in order: it takes no more work, says goodbye, and closes its database."""
    service.request_stop()
    return "Lockstep is stopping"


def _committee(service: NodeService, epoch: int | None) -> Committee:
    wanted = service.view.state.epoch if epoch is None else epoch
    committee = service.view.committee_for_epoch(wanted)
    if committee is None:
        raise WrongValue(f"parameter 'epoch': the set of epoch {wanted} is not known")
    return committee


def _members_by_node_key(service: NodeService) -> dict[bytes, tuple[bytes, int]]:
    committee = service.view.committee_for_epoch(service.view.state.epoch)
    members = committee.members if committee else ()
    return {member.node_key: (member.member_id, member.weight) for member in members}


def _describe_peer(
    peer: PeerInfo, members: dict[bytes, tuple[bytes, int]], now_ms: int
) -> PeerAnswer:
    member = members.get(peer.peer)
    return PeerAnswer(
        node_key=peer.peer.hex(),
        addr=peer.address,
        inbound=not peer.dialled,
        conntime=peer.since_ms // 1000,
        connected_ms=max(0, now_ms - peer.since_ms),
        bytessent=peer.bytes_out,
        bytesrecv=peer.bytes_in,
        latency_us=peer.latency_us,
        synced_blocks=peer.height,
        subver=peer.software,
        faults=peer.faults,
        member_id=member[0].hex() if member else None,
        weight=member[1] if member else 0,
    )


def _describe_member(
    service: NodeService, committee: Committee, member_id: bytes, connected: set[bytes]
) -> MasternodeAnswer:
    index = committee.index_of(member_id) or 0
    member = committee.members[index]
    own = member_id == service.view.own_id
    return MasternodeAnswer(
        member_id=member_id.hex(),
        voting_key=member.voting_key.hex(),
        node_key=member.node_key.hex(),
        weight=member.weight,
        reward_weight=member.reward_weight,
        payout_address=format_address(service.params.address_prefix, member.payout_lock),
        connected=own or member.node_key in connected,
        own=own,
        evidence=[
            epoch for epoch, name in service.readers.state().evidence_used if name == member_id
        ],
        accused=sorted(e for name, e in service.view.pending_evidence() if name == member_id),
    )
