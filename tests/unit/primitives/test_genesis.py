"""A genesis file is read as one chain or refused with what is wrong [M2, M4]."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from building import make_genesis, secret
from lockstep.crypto.hashing import tagged_hash
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import (
    WrongGenesis,
    format_genesis,
    genesis_committee,
    genesis_outpoint,
    parse_genesis,
)
from lockstep.primitives.params import SUPPLY_MAX

GENESIS = make_genesis((4, 3, 2, 2))


def test_reading_undoes_writing() -> None:
    """[M2]."""
    again = parse_genesis(format_genesis(GENESIS))
    assert again == GENESIS
    assert again.chain_id == GENESIS.chain_id == tagged_hash("genesis", encode(GENESIS))


def test_white_space_and_order_of_keys_make_no_other_chain() -> None:
    """[M2]."""
    content = json.loads(format_genesis(GENESIS))
    shuffled = dict(reversed(content.items()))
    assert parse_genesis(json.dumps(shuffled, indent=7).encode()).chain_id == GENESIS.chain_id


def test_any_other_content_is_another_chain() -> None:
    """[M2] Pacing, coins, members and time are all in the chain id."""
    others = [
        replace(GENESIS, time_ms=GENESIS.time_ms + 1),
        replace(GENESIS, closing_every=GENESIS.closing_every + 1),
        replace(GENESIS, block_interval_ms=1),
        replace(GENESIS, idle_interval_ms=1),
        replace(GENESIS, network="testnet"),
        replace(GENESIS, coins=GENESIS.coins[1:]),
        replace(GENESIS, coins=GENESIS.coins[::-1]),
        make_genesis((4, 3, 2, 1)),
    ]
    ids = {GENESIS.chain_id, *(other.chain_id for other in others)}
    assert len(ids) == len(others) + 1
    assert len({genesis_outpoint(chain_id, 0) for chain_id in ids}) == len(ids)


def test_first_set_states_weights_and_pays_ten_times_them() -> None:
    """[N1, M4]."""
    committee = genesis_committee(GENESIS)
    assert sorted(m.weight for m in committee.members) == [2, 2, 3, 4]
    assert all(m.reward_weight == 10 * m.weight for m in committee.members)
    assert committee.set_hash == GENESIS.committee.set_hash


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.pop("time_ms"),
        lambda g: g.update(surplus=1),
        lambda g: g.update(version=2),
        lambda g: g.update(network="othernet"),
        lambda g: g.update(closing_every=1),
        lambda g: g.update(time_ms=-1),
        lambda g: g.update(time_ms="soon"),
        lambda g: g.update(members=g["members"][:3]),
        lambda g: g["members"].append(g["members"][0]),
        lambda g: g["members"][0].pop("weight"),
        lambda g: g["members"][0].update(weight=0),
        lambda g: g["members"][0].update(weight=-4),
        lambda g: g["members"][0].update(weight=2**41),
        lambda g: g["members"][0].update(voting_key="01" + "00" * 31),
        lambda g: g["members"][0].update(voting_key="zz"),
        lambda g: g["members"][0].update(voting_key="00" * 31),
        lambda g: g["members"][0].update(node_key=g["members"][1]["node_key"]),
        lambda g: g["members"][0].update(payout_lock="00"),
        lambda g: g["coins"][0].update(amount=545),
        lambda g: g["coins"][0].update(amount=1.5),
        lambda g: g["coins"][0].update(amount=SUPPLY_MAX),
        lambda g: g["coins"][0].update(lock=""),
    ],
)
def test_faults_are_refused(change: Change) -> None:
    content = json.loads(format_genesis(GENESIS))
    change(content)
    with pytest.raises(WrongGenesis) as caught:
        parse_genesis(json.dumps(content).encode())
    assert caught.value.code == "genesis.wrong"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'"' + b"[" * 100_000])
def test_damaged_files_are_refused(data: bytes) -> None:
    with pytest.raises(WrongGenesis):
        parse_genesis(data)


def test_keys_of_specimens_are_distinct() -> None:
    assert len({secret(i).public_key for i in range(50)}) == 50
