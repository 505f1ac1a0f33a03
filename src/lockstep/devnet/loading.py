"""Networks for `lockstep load`: one of its own, a devnet that runs, or nodes named by address."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import uvloop
from msgspec import Struct

from lockstep.crypto.keys import SecretKey
from lockstep.devnet.faults import start_nodes, stop_nodes
from lockstep.devnet.founding import open_devnet
from lockstep.devnet.load_settings import PAYEE_INDEX, make_stations
from lockstep.devnet.options import DevnetOptions, check_options
from lockstep.devnet.place import NODE_RUNTIME_FILE, Place
from lockstep.devnet.ports import HOST
from lockstep.devnet.process import NodeProcess
from lockstep.devnet.screen import Screen
from lockstep.errors import Rejected, Unavailable
from lockstep.load.accounts import Limit
from lockstep.load.campaign import Campaign
from lockstep.load.network import Network
from lockstep.load.payments import LOAD_ACCOUNT
from lockstep.load.plan import Plan
from lockstep.load.station import StationSettings
from lockstep.node.config import COOKIE_FILE
from lockstep.primitives.genesis import parse_genesis
from lockstep.primitives.params import MAINNET, params_of
from lockstep.primitives.transaction import make_single_lock
from lockstep.wallet.keychain import Keychain
from lockstep.wallet.wallet import Wallet

TEMPORARY_PREFIX: Final = "lockstep-load-"


class WrongAddress(Rejected):
    """An address of a node's RPC cannot be read."""

    code = "load.address"
    hint = "write it like http://127.0.0.1:24201"


class NothingRuns(Unavailable):
    """No node of the place meant is running."""

    code = "load.nothing_runs"
    hint = "start the network first, or let the load start its own with --devnet 4"


class OwnNetwork(Struct, frozen=True):
    """A devnet that the load starts and stops."""

    nodes: int
    verify_backend: str | None = None
    block_ms: int | None = None


def run_load(
    target: OwnNetwork | Network, plan: Plan, *, limit: Limit
) -> tuple[dict[str, Any], list[str]]:
    """Run a load; return its report, and the faults of our own nodes' shutdown.

    Raises:
        NodeFailed: If nodes of our own do not come up.
        WrongOptions: If there cannot be a network of that size.
    """
    screen = Screen()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(target, plan, limit, screen))
    finally:
        screen.close()


async def _run(
    target: OwnNetwork | Network, plan: Plan, limit: Limit, screen: Screen
) -> tuple[dict[str, Any], list[str]]:
    faults: list[str] = []
    if isinstance(target, Network):
        return await _measure(target, plan, limit, screen), faults
    async with own_network(target, screen, faults) as network:
        report = await _measure(network, plan, limit, screen)
    return report, faults


async def _measure(network: Network, plan: Plan, limit: Limit, screen: Screen) -> dict[str, Any]:
    campaign = Campaign(network, plan, screen, limit=limit)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, campaign.stop)
    await campaign.run()
    return campaign.report


@asynccontextmanager
async def own_network(
    target: OwnNetwork, screen: Screen, faults: list[str]
) -> AsyncIterator[Network]:
    """Start a devnet in a temporary directory; stop it in the end.

    Its epochs are as long as the main network's, not half as long as a devnet's: a measurement is
    of what operators run. What is not orderly about the stop is added to `faults`, and the
    directory is then kept.
    """
    options = DevnetOptions(
        nodes=target.nodes, closing_every=MAINNET.closing_every, block_ms=target.block_ms
    )
    check_options(options)
    directory = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    screen.show(f"founding a network of {target.nodes} nodes")
    with open_devnet(directory, options) as devnet:
        nodes = [
            NodeProcess(
                index,
                devnet.place.node_directory(index),
                None,
                verify_backend=target.verify_backend,
            )
            for index in range(target.nodes)
        ]
        try:
            await start_nodes(nodes)
            screen.say(f"{target.nodes} nodes in {directory}")
            yield Network(
                stations=make_stations(devnet, None),
                seeds=_seeds(devnet.keychain, ()),
                prefix=params_of(devnet.genesis.network).address_prefix,
                payee_lock=_payee_lock(devnet.keychain),
                chain_id=devnet.genesis.chain_id.hex(),
                exits=lambda: [
                    node.describe_exit() for node in nodes if node.is_wanted and not node.is_running
                ],
            )
        finally:
            faults += [
                node.describe_exit() for node in nodes if node.is_wanted and not node.is_running
            ]
            faults += await stop_nodes(nodes)
            if faults:
                screen.say(f"the network is kept in {directory}")
            else:
                shutil.rmtree(directory)


def find_network(place: Place, wallet: Wallet, keychain: Keychain) -> Network:
    """Return the network whose nodes run in a place, paid for by a wallet.

    Raises:
        NothingRuns: If no node does.
    """
    stations: list[StationSettings] = []
    for directory in place.node_directories():
        try:
            runtime = msgspec.json.decode(
                (directory / NODE_RUNTIME_FILE).read_bytes(), type=dict[str, Any]
            )
        except (OSError, msgspec.DecodeError):
            continue
        stations.append(
            StationSettings(len(stations), HOST, runtime["rpc"], str(directory / COOKIE_FILE))
        )
    if not stations:
        raise NothingRuns(f"no node in {place.directory} is running")
    return _make_network(stations, wallet, keychain, place.genesis_path)


def name_network(
    addresses: Sequence[str],
    cookies: Sequence[Path],
    wallet: Wallet,
    keychain: Keychain,
    *,
    genesis: Path | None,
) -> Network:
    """Return the network of nodes at these RPC addresses, each with its cookie file.

    Raises:
        WrongAddress: If an address is none, or a cookie file is missing.
        WrongGenesis: If the genesis file is damaged.
    """
    if len(cookies) != len(addresses):
        raise WrongAddress("name a --cookie for each --rpc, in the same order")
    stations: list[StationSettings] = []
    for text, cookie in zip(addresses, cookies, strict=True):
        parts = urlsplit(text if "//" in text else f"//{text}")
        if not parts.hostname or not parts.port:
            raise WrongAddress(f"{text[:60]!r} names no host and port")
        stations.append(StationSettings(len(stations), parts.hostname, parts.port, str(cookie)))
    return _make_network(stations, wallet, keychain, genesis)


def _make_network(
    stations: list[StationSettings], wallet: Wallet, keychain: Keychain, genesis: Path | None
) -> Network:
    chain_id = ""
    if genesis is not None and genesis.is_file():
        chain_id = parse_genesis(genesis.read_bytes()).chain_id.hex()
    return Network(
        stations=stations,
        seeds=_seeds(keychain, range(len(wallet.public_keys))),
        prefix=params_of(wallet.network).address_prefix,
        payee_lock=_payee_lock(keychain),
        chain_id=chain_id,
        exits=list,
    )


def _seeds(keychain: Keychain, indices: Sequence[int]) -> list[str]:
    """Return the load's own seed, and those of the wallet's addresses."""
    own = keychain.seed(0, account=LOAD_ACCOUNT)
    return [own.hex(), *(keychain.seed(index).hex() for index in indices)]


def _payee_lock(keychain: Keychain) -> str:
    seed = keychain.seed(PAYEE_INDEX, account=LOAD_ACCOUNT)
    return make_single_lock(SecretKey(seed).public_key).hex()
