"""The bytes of every consensus object are frozen: a change of one is a change of protocol [L8].

`REWRITE=1` writes the file anew; its diff is what a reviewer looks at.
"""

import json
import os
from pathlib import Path
from typing import Final

from lockstep.crypto.address import format_address
from lockstep.crypto.hashing import EMPTY_ROOT, merkle_root, tagged_hash
from lockstep.primitives import codec
from lockstep.primitives.block import (
    make_ballot_digest,
    make_block_id,
    make_commit_hash,
    make_evidence_root,
    make_justification_hash,
    make_proposal_digest,
)
from lockstep.primitives.genesis import genesis_outpoint
from lockstep.primitives.params import NETWORKS
from lockstep.primitives.transaction import (
    make_leaf,
    make_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.primitives.votes import (
    make_entries_root,
    make_freeze_digest,
    make_vote_digest,
)
from unit.primitives import specimens as the

FROZEN: Final = Path(__file__).parents[2] / "vectors" / "objects.json"


def make_hashes() -> dict[str, bytes]:
    """Return every derived name and every signed digest of the specimens."""
    single, multisig = the.SINGLE, the.MULTISIG
    prevote, proposal = the.PREVOTE, the.PROPOSAL
    closing = the.CLOSING.header
    hashes = {
        "tagged hash": tagged_hash("tag", b"data"),
        "empty merkle root": EMPTY_ROOT,
        "merkle root of 1": merkle_root([b"a"]),
        "merkle root of 5": merkle_root([b"a", b"b", b"c", b"d", b"e"]),
        "lock of 2 of 3 keys": make_lock(the.MULTISIG_POLICY),
        "txid": make_txid(single.body),
        "leaf": make_leaf(make_txid(single.body), single.witnesses),
        "spend digest": make_spend_digest(the.CHAIN_ID, make_txid(single.body)),
        "txid with 2 of 3 keys": make_txid(multisig.body),
        "leaf with 2 of 3 keys": make_leaf(make_txid(multisig.body), multisig.witnesses),
        "batch id": the.BATCH_ID,
        "entries root": make_entries_root(the.ENTRIES),
        "freeze list digest": the.LIST_DIGEST,
        "freeze digest": make_freeze_digest(
            chain_id=the.CHAIN_ID, epoch=the.EPOCH, digest=the.LIST_DIGEST
        ),
        "proposal digest": make_proposal_digest(
            chain_id=the.CHAIN_ID,
            height=proposal.height,
            round_number=proposal.round,
            block_id=proposal.block_id,
            valid_round=proposal.valid_round,
        ),
        "prevote digest": make_ballot_digest(
            chain_id=the.CHAIN_ID,
            kind=prevote.kind,
            height=prevote.height,
            round_number=prevote.round,
            block_id=prevote.block_id,
            time_ms=prevote.time_ms,
        ),
        "chain id": the.CHAIN_ID,
        "genesis outpoint 1": genesis_outpoint(the.CHAIN_ID, 1),
        "set hash": the.GENESIS.committee.set_hash,
        "block id of an ordinary block": make_block_id(the.ORDINARY.header),
        "block id of a closing block": make_block_id(closing),
        "hash of no certificate": make_commit_hash(None),
        "hash of a certificate": make_commit_hash(the.CLOSING.previous_commit),
        "justification hash": make_justification_hash(the.CLOSING.justification),
        "evidence root": make_evidence_root(()),
        "evidence root of 5": make_evidence_root(
            tuple(codec.encode(piece) for piece in the.EVIDENCE.values())
        ),
    }
    for vote in (the.VOTE, the.CONFIRM):
        hashes[f"{vote.kind.name.lower()} digest"] = make_vote_digest(
            chain_id=the.CHAIN_ID, kind=vote.kind, epoch=vote.epoch, entries=vote.entries
        )
    for i, member in enumerate(the.GENESIS.committee.members):
        hashes[f"member id {i}"] = member.member_id
    return hashes


def make_frozen() -> dict[str, dict[str, str | list[int]]]:
    """Return the content of the file of frozen vectors."""
    committee = the.GENESIS.committee
    order = [committee.members.index(committee.proposer(p, 0)) for p in range(22)]
    lock = make_lock(the.MULTISIG_POLICY)
    return {
        "objects": {name: codec.encode(value).hex() for name, value in the.SHAPES.items()},
        "messages": {name: codec.encode(value).hex() for name, value in the.MESSAGES.items()},
        "hashes": {name: value.hex() for name, value in make_hashes().items()},
        "addresses": {
            params.network: format_address(params.address_prefix, lock)
            for params in NETWORKS.values()
        },
        "proposers of weights 4, 3, 2, 2": {"places": order},
    }


def test_bytes_and_hashes_are_those_frozen() -> None:
    """[L8, L2, L3, L7, B1, B2, T1, T2, T5, M2]."""
    found = make_frozen()
    if os.environ.get("REWRITE") == "1":
        FROZEN.write_text(json.dumps(found, indent=1) + "\n")
    frozen = json.loads(FROZEN.read_text())
    for group, values in found.items():
        assert frozen[group].keys() == values.keys()
        for name, value in values.items():
            assert frozen[group][name] == value, f"{group}: {name}"
    assert frozen.keys() == found.keys()


def test_no_two_hashes_are_alike() -> None:
    """[M2, L8] Different content under different tags."""
    hashes = make_hashes()
    hashes.pop("evidence root")
    assert len(set(hashes.values())) == len(hashes)
    assert make_evidence_root(()) == EMPTY_ROOT
