"""Genesis: the file every node of a chain starts from; its hash is the chain id [M2, M4].

The file is JSON for people; the hash covers the canonical encoding of its content, so white space
and the order of keys do not make another chain.
"""

from functools import cached_property
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from lockstep.crypto.hashing import tagged_hash
from lockstep.crypto.keys import is_acceptable_key
from lockstep.errors import Fatal
from lockstep.primitives.codec import encode
from lockstep.primitives.committee import Committee, Member, Weight, make_member_id
from lockstep.primitives.ids import Amount, Counter, Hash, Key, make_outpoint
from lockstep.primitives.params import DUST, MEMBERS_MIN, NETWORKS, SUPPLY_MAX
from lockstep.primitives.transaction import TransactionOutput

GENESIS_VERSION: Final = 1


class WrongGenesis(Fatal):
    """The genesis file is damaged, breaks a rule, or is another network's."""

    code = "genesis.wrong"
    hint = "get the genesis file from the operators of the network you mean to join"


class GenesisMember(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A masternode of the first epoch [N1]."""

    voting_key: Key
    node_key: Key
    weight: Weight
    payout_lock: Hash


class Genesis(Struct, frozen=True, array_like=True, dict=True, forbid_unknown_fields=True):
    """The first set, the first coins, and the pacing every node must agree on.

    What is derived from its thousands of coins is asked for at every block and computed once.
    """

    version: Annotated[int, Meta(ge=GENESIS_VERSION, le=GENESIS_VERSION)]
    network: Annotated[str, Meta(max_length=16)]
    time_ms: Counter
    closing_every: Annotated[int, Meta(ge=2, le=100_000)]
    block_interval_ms: Annotated[int, Meta(ge=1, le=600_000)]
    idle_interval_ms: Annotated[int, Meta(ge=1, le=600_000)]
    members: Annotated[tuple[GenesisMember, ...], Meta(min_length=1, max_length=1024)]
    coins: Annotated[tuple[TransactionOutput, ...], Meta(max_length=65536)]

    @cached_property
    def chain_id(self) -> bytes:
        """Return the hash that names the chain and stands for the block of height 0."""
        return tagged_hash("genesis", encode(self))

    @cached_property
    def supply(self) -> Amount:
        """Return the sum of the first coins in base units [L6]."""
        return sum(coin.amount for coin in self.coins)

    @cached_property
    def committee(self) -> Committee:
        """Return Set(0) [M4]."""
        return genesis_committee(self)


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    network: str
    time_ms: int
    closing_every: int
    block_interval_ms: int
    idle_interval_ms: int
    members: list[dict[str, str | int]]
    coins: list[dict[str, str | int]]


def check_genesis(genesis: Genesis) -> None:
    """Refuse a genesis that no chain may start from.

    Raises:
        WrongGenesis: If a member, key, coin or parameter breaks a rule; the sentence says which.
    """
    if genesis.network not in NETWORKS:
        raise WrongGenesis(f"the genesis names an unknown network {genesis.network!r}")
    if len(genesis.members) < MEMBERS_MIN:
        raise WrongGenesis(f"a network needs at least {MEMBERS_MIN} masternodes")
    for keys in (
        [member.voting_key for member in genesis.members],
        [member.node_key for member in genesis.members],
    ):
        if len(dict.fromkeys(keys)) != len(keys) or not all(map(is_acceptable_key, keys)):
            raise WrongGenesis("a member's key is repeated or not an acceptable Ed25519 key")
    if any(coin.amount < DUST for coin in genesis.coins) or genesis.supply > SUPPLY_MAX:
        raise WrongGenesis("a coin is below dust, or the coins exceed the maximum supply")


def genesis_committee(genesis: Genesis) -> Committee:
    """Return Set(0): reward weight is ten times the stated weight [M4, N1]."""
    return Committee(
        Member(
            member_id=make_member_id(member.voting_key),
            voting_key=member.voting_key,
            node_key=member.node_key,
            weight=member.weight,
            reward_weight=10 * member.weight,
            payout_lock=member.payout_lock,
        )
        for member in genesis.members
    )


def genesis_outpoint(chain_id: bytes, index: int) -> bytes:
    """Name the genesis coin with this index, as if one transaction had made them all."""
    return make_outpoint(tagged_hash("genesis-coins", chain_id), index)


def format_genesis(genesis: Genesis) -> bytes:
    """Write the genesis as an indented JSON file."""
    content = {
        "version": genesis.version,
        "network": genesis.network,
        "time_ms": genesis.time_ms,
        "closing_every": genesis.closing_every,
        "block_interval_ms": genesis.block_interval_ms,
        "idle_interval_ms": genesis.idle_interval_ms,
        "members": [
            {
                "voting_key": member.voting_key.hex(),
                "node_key": member.node_key.hex(),
                "weight": member.weight,
                "payout_lock": member.payout_lock.hex(),
            }
            for member in genesis.members
        ],
        "coins": [{"amount": coin.amount, "lock": coin.lock.hex()} for coin in genesis.coins],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def parse_genesis(data: bytes) -> Genesis:
    """Read and check a genesis file.

    Raises:
        WrongGenesis: If it is damaged or breaks a rule; the sentence says which.
    """
    try:
        file = msgspec.json.decode(data, type=_File, strict=True)
        genesis = msgspec.convert(
            (
                file.version,
                file.network,
                file.time_ms,
                file.closing_every,
                file.block_interval_ms,
                file.idle_interval_ms,
                [
                    (
                        bytes.fromhex(str(row["voting_key"])),
                        bytes.fromhex(str(row["node_key"])),
                        row["weight"],
                        bytes.fromhex(str(row["payout_lock"])),
                    )
                    for row in file.members
                ],
                [(row["amount"], bytes.fromhex(str(row["lock"]))) for row in file.coins],
            ),
            Genesis,
        )
    except (msgspec.DecodeError, ValueError, KeyError) as fault:
        raise WrongGenesis(f"the genesis file is damaged: {fault}") from fault
    check_genesis(genesis)
    return genesis
