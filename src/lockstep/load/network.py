"""The network a load runs against, as far as its RPC tells: its nodes, their chain and state."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from lockstep.client.async_client import RpcClient
from lockstep.errors import Rejected
from lockstep.load.station import StationSettings

CALL_TIMEOUT_S: Final = 10
EQUAL_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.1


class OtherChain(Rejected):
    """A node is of another chain than the one meant."""

    code = "load.chain"
    hint = "name the RPC address of a node of this network, or the genesis file of that one"


class Network(Struct, frozen=True):
    """What a load needs to know of a network.

    Attributes:
        stations: Its nodes.
        seeds: Of the keys that hold the load's coins, in hex.
        prefix: That of its addresses.
        payee_lock, chain_id: In hex; an empty chain id is whatever the nodes agree on.
        exits: Tells how nodes ended that should run; nothing where they are not ours.
    """

    stations: list[StationSettings]
    seeds: list[str]
    prefix: str
    payee_lock: str
    chain_id: str
    exits: Callable[[], list[str]]


class Nodes(Struct, frozen=True):
    """What the nodes say of themselves."""

    chain_id: str
    verify_backends: list[str]
    versions: list[str]


async def look_at(network: Network) -> Nodes:
    """Ask every node which chain it is of.

    Raises:
        OtherChain: If one is of another chain.
        LockstepError: If one does not answer.
    """
    chain_id = network.chain_id
    backends: list[str] = []
    versions: list[str] = []
    for station in network.stations:
        async with _open(station) as client:
            found = (await client.call("getblockchaininfo"))["chain_id"]
            about = await client.call("getnetworkinfo")
        if chain_id and found != chain_id:
            raise OtherChain(
                f"the node at {station.host}:{station.rpc_port} is of chain {found[:16]},"
                f" not of {chain_id[:16]}"
            )
        chain_id = found
        backends.append(about["verify_backend"])
        versions.append(about["version"])
    return Nodes(chain_id, backends, versions)


async def are_states_equal(
    stations: Sequence[StationSettings], *, timeout_s: float = EQUAL_TIMEOUT_S
) -> bool:
    """Tell whether all nodes hold the same state at one height: block, coins, commitment.

    Heights grow meanwhile, so it is asked until all have answered for the same one.

    Raises:
        LockstepError: If a node does not answer.
    """
    seen: dict[int, dict[int, Any]] = {}
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        answers = await asyncio.gather(*map(_coin_set, stations))
        for index, answer in enumerate(answers):
            rows = seen.setdefault(answer["height"], {})
            rows[index] = answer
            if len(rows) == len(stations):
                return all(row == answer for row in rows.values())
        await asyncio.sleep(POLL_S)
    return False


async def _coin_set(station: StationSettings) -> Any:
    async with _open(station) as client:
        return await client.call("gettxoutsetinfo")


def _open(station: StationSettings) -> RpcClient:
    return RpcClient(station.host, station.rpc_port, Path(station.cookie), timeout_s=CALL_TIMEOUT_S)
