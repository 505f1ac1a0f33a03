"""The blocks of a model: what a Byzantine proposer may propose, and what was decided.

A block is described by the names of its payments and, where it closes an epoch, by J; the real one
is made over the chain of the node that is to judge it.
"""

from collections.abc import Sequence

from msgspec import Struct

from lockstep.ledger.blocks import (
    AssembledBlock,
    assemble_block,
    is_closing_height,
    kind_index,
    make_block,
)
from lockstep.primitives.bitmap import bitmap_bytes, iterate_bits, parse_bitmap
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    CommitCertificate,
    CommitSignature,
    CompactBlock,
    InlinePart,
    NamedPart,
    Proposal,
    make_ballot_digest,
    make_block_id,
    make_proposal_digest,
)
from lockstep.primitives.messages import DecidedBlock, ProposalMessage
from lockstep.primitives.votes import Freeze
from lockstep.replica.core import Core
from lockstep.replica.events import BlockFetched, ProposalReceived
from lockstep.sim.exhaustive.scenario import BYZANTINE, SEATS, Scenario
from lockstep.sim.exhaustive.words import make_freeze


class Listing(Struct, frozen=True, order=True):
    """An entry of J: whose FREEZE, what that FREEZE says, and what the block says it lists.

    `signed` is (epoch, names) of a FREEZE that its member sent, or None where the proposer has none
    and makes one up.
    """

    seat: int
    signed: tuple[int, tuple[str, ...]] | None
    claimed: tuple[str, ...]


Proposed = tuple[tuple[str, ...], tuple[Listing, ...]]
"""The payments and the J of a block."""


def make_proposal(
    scenario: Scenario, core: Core, names: Sequence[str], listings: Sequence[Listing]
) -> ProposalReceived:
    """Return the Byzantine member's proposal of this block, in the first round that is its own."""
    height = core.state.height + 1
    proposer = scenario.members[BYZANTINE].member_id
    index = kind_index(height, scenario.genesis.closing_every)
    round_number = 0
    while core.committee.proposer(index, round_number).member_id != proposer:
        round_number += 1
    assembled = _assemble(scenario, core, names, listings)
    header = assembled.header
    closing = is_closing_height(height, scenario.genesis.closing_every)
    coinbase = assembled.transactions[:1] if closing else ()
    parts: list[NamedPart | InlinePart] = [
        NamedPart(scenario.batches[name].batch_id, bitmap_bytes(1, 1)) for name in names
    ]
    if coinbase:
        parts.insert(0, InlinePart((coinbase[0].transaction,)))
    block_id = make_block_id(header)
    digest = make_proposal_digest(
        chain_id=scenario.chain_id,
        height=height,
        round_number=round_number,
        block_id=block_id,
        valid_round=-1,
    )
    signature = scenario.signers[BYZANTINE].sign(digest)
    proposal = Proposal(height, round_number, block_id, -1, proposer, signature)
    block = CompactBlock(
        header, assembled.previous_commit, tuple(parts), assembled.justification, ()
    )
    return ProposalReceived(
        scenario.peers[BYZANTINE], ProposalMessage(proposal, block, ()), coinbase
    )


def read_block(scenario: Scenario, block: AssembledBlock) -> Proposed:
    """Return the payments and the J of a block that an honest member made."""
    names = [scenario.name_of.get(verified.txid, "") for verified in block.transactions]
    epoch = block.header.epoch
    listings = []
    for proof in block.justification:
        places = iterate_bits(parse_bitmap(proof.bitmap, len(names), may_be_empty=True))
        listed = tuple(sorted(names[place] for place in places))
        listings.append(Listing(scenario.seat_of[proof.voter], (epoch, listed), listed))
    return tuple(name for name in names if name), tuple(sorted(listings))


def make_decided(scenario: Scenario, core: Core, names: Sequence[str]) -> BlockFetched:
    """Return the decided block of these payments as it is fetched by whoever lacks it [T9].

    J is the other members' with nothing listed and no signature: a commit certificate stands for
    it, so nobody looks, and chains of equal payments are one chain.
    """
    height = core.state.height + 1
    listings: list[Listing] = []
    if is_closing_height(height, scenario.genesis.closing_every):
        own = scenario.seat_of.get(core.own_id or b"")
        listings = [Listing(seat, None, ()) for seat in range(SEATS) if seat != own]
        voters = [scenario.members[listing.seat].member_id for listing in listings]
        if core.committee.weight_of_ids(voters) < core.committee.quorum:
            listings = [Listing(seat, None, ()) for seat in range(SEATS)]
    assembled = _assemble(scenario, core, names, listings)
    block_id = make_block_id(assembled.header)
    certificate = _certify(scenario, core, height, block_id, assembled.header.time_ms + 1)
    decided = DecidedBlock(make_block(assembled), certificate)
    return BlockFetched(scenario.peers[BYZANTINE], decided, assembled.transactions)


def _certify(
    scenario: Scenario, core: Core, height: int, block_id: bytes, time_ms: int
) -> CommitCertificate:
    """Return a certificate without the node's own precommit, for agreement is not modelled [D3].

    Where no quorum is without it, the node is made to remember that it precommitted.
    """
    committee = core.committee
    digest = make_ballot_digest(
        chain_id=scenario.chain_id,
        kind=BallotKind.PRECOMMIT,
        height=height,
        round_number=0,
        block_id=block_id,
        time_ms=time_ms,
    )
    rows = {
        member.member_id: scenario.signers[scenario.seat_of[member.member_id]].sign(digest)
        for member in committee.members
    }
    others = {voter: row for voter, row in rows.items() if voter != core.own_id}
    if committee.weight_of_ids(others) >= committee.quorum:
        rows = others
    elif core.own_id is not None:
        kind = BallotKind.PRECOMMIT
        own = Ballot(kind, height, 0, block_id, time_ms, core.own_id, rows[core.own_id])
        core.height.own_ballots[0, kind] = own
    entries = [CommitSignature(voter, time_ms, row) for voter, row in rows.items()]
    return CommitCertificate(height, 0, block_id, tuple(entries))


def _assemble(
    scenario: Scenario, core: Core, names: Sequence[str], listings: Sequence[Listing]
) -> AssembledBlock:
    return assemble_block(
        genesis=core.genesis,
        state=core.state,
        committee=core.committee,
        previous_committee=core.previous_committee,
        previous_commit=core.tip_certificate,
        payments=[scenario.payments[name] for name in names],
        fees=sum(scenario.fees[name] for name in names),
        freezes=[_freeze(scenario, listing) for listing in listings],
        proposer=scenario.members[BYZANTINE].member_id,
        coins_sum=core.settled_sum,
    )


def _freeze(scenario: Scenario, listing: Listing) -> tuple[Freeze, list[bytes]]:
    if listing.signed is None:
        member = scenario.members[listing.seat]
        freeze = Freeze(0, member.member_id, (), bytes(32), bytes(64))
    else:
        freeze = make_freeze(scenario, listing.seat, *listing.signed)
    return freeze, [scenario.payments[name].txid for name in listing.claimed]
