"""Making a devnet's directory, or continuing one: genesis, nodes, ports and the funded wallet."""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from lockstep.crypto.keys import SecretKey
from lockstep.devnet.options import (
    DRAIN_S,
    DevnetOptions,
    WrongOptions,
    check_continuation,
)
from lockstep.devnet.place import SETTINGS_FILE, Place
from lockstep.devnet.ports import HOST, NodePorts, hold_ports
from lockstep.load.payments import LOAD_ACCOUNT, LOAD_COIN
from lockstep.node.config import SETTINGS_FILE as NODE_SETTINGS_FILE
from lockstep.node.config import Settings, format_settings
from lockstep.node.datadir import init_node
from lockstep.primitives.genesis import (
    GENESIS_VERSION,
    Genesis,
    GenesisMember,
    check_genesis,
    format_genesis,
    parse_genesis,
)
from lockstep.primitives.params import COIN, DEVNET
from lockstep.primitives.transaction import TransactionOutput, make_single_lock
from lockstep.storage.directory import DirectoryLock
from lockstep.wallet.keychain import Keychain, draw_seed, draw_words
from lockstep.wallet.wallet import Wallet, create_wallet, load_wallet, read_private, write_private

WALLET_COINS: Final = 100
WALLET_COIN: Final = 1_000 * COIN
LOAD_COINS_MIN: Final = 2_000
LOAD_COINS_MAX: Final = 50_000
LOAD_COINS_SECONDS: Final = 60
_SETTINGS_VERSION: Final = 1


class _Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The file that makes a directory a devnet's; the ports are those of the last run."""

    version: int
    ports: list[NodePorts]


class Devnet(Struct, frozen=True):
    """A network that is ready to be started; `keychain` is that of its funded wallet."""

    place: Place
    genesis: Genesis
    ports: list[NodePorts]
    wallet: Wallet
    keychain: Keychain
    is_new: bool


@contextmanager
def open_devnet(directory: Path, options: DevnetOptions) -> Iterator[Devnet]:
    """Continue the devnet in a directory, or found one there; hold its directory and ports.

    Raises:
        WrongOptions: If the options contradict what the directory holds.
        DirectoryLocked: If another devnet runs in the directory.
        NoFreePorts: If there are no ports for the nodes.
    """
    is_new = not (directory / SETTINGS_FILE).is_file()
    if is_new:
        if directory.exists() and any(directory.iterdir()):
            raise WrongOptions(f"{directory} is not empty and holds no devnet")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ExitStack() as stack:
        # Before anything is read or written: the settings there are those of whoever runs.
        stack.enter_context(DirectoryLock(directory))
        make = _found_devnet if is_new else _continue_devnet
        yield make(directory, options, stack)


def _found_devnet(directory: Path, options: DevnetOptions, stack: ExitStack) -> Devnet:
    place = Place(directory.resolve(), is_devnet=True)
    passphrase = secrets.token_urlsafe(16)
    wallet = create_wallet(
        place.funded_wallet, words=draw_words(), passphrase=passphrase, network=DEVNET.network
    )
    write_private(place.funded_passphrase, passphrase.encode() + b"\n")
    keychain = wallet.unlock(passphrase)
    seeds = [(draw_seed(), draw_seed()) for _ in options.node_weights]
    genesis = _make_genesis(options, wallet, keychain, seeds)
    ports = stack.enter_context(hold_ports(len(seeds)))
    for index, (node_seed, voting_seed) in enumerate(seeds):
        init_node(
            place.node_directory(index),
            genesis,
            settings=_node_settings(ports, index),
            node_seed=node_seed,
            voting_seed=voting_seed,
        )
    place.genesis_path.write_bytes(format_genesis(genesis))
    # Written last: a founding that was cut short is no devnet.
    _write_settings(place, ports)
    return Devnet(place, genesis, ports, wallet, keychain, is_new=True)


def _continue_devnet(directory: Path, options: DevnetOptions, stack: ExitStack) -> Devnet:
    place = Place(directory.resolve(), is_devnet=True)
    genesis = parse_genesis(place.genesis_path.read_bytes())
    check_continuation(options, genesis)
    try:
        data = (place.directory / SETTINGS_FILE).read_bytes()
        before = msgspec.json.decode(data, type=_Settings).ports
    except msgspec.DecodeError as fault:
        raise WrongOptions(f"{SETTINGS_FILE} in {directory} is damaged: {fault}") from fault
    ports = stack.enter_context(hold_ports(len(genesis.members), preferred=before))
    if ports != before:
        for index in range(len(ports)):
            path = place.node_directory(index) / NODE_SETTINGS_FILE
            path.write_text(format_settings(_node_settings(ports, index)), "utf-8")
        _write_settings(place, ports)
    wallet = load_wallet(place.funded_wallet)
    passphrase = read_private(place.funded_passphrase).decode().removesuffix("\n")
    return Devnet(place, genesis, ports, wallet, wallet.unlock(passphrase), is_new=False)


def _make_genesis(
    options: DevnetOptions,
    wallet: Wallet,
    keychain: Keychain,
    seeds: Sequence[tuple[bytes, bytes]],
) -> Genesis:
    load_lock = make_single_lock(keychain.key(0, account=LOAD_ACCOUNT).public_key)
    seconds = options.seconds - DRAIN_S if options.seconds else LOAD_COINS_SECONDS
    wanted = options.payments_per_second * seconds + options.double_spend
    load_coins = min(LOAD_COINS_MAX, max(LOAD_COINS_MIN, wanted + wanted // 10))
    coins = [TransactionOutput(WALLET_COIN, wallet.locks[0])] * WALLET_COINS
    coins += [TransactionOutput(LOAD_COIN, load_lock)] * load_coins
    members = tuple(
        GenesisMember(
            voting_key=SecretKey(voting_seed).public_key,
            node_key=SecretKey(node_seed).public_key,
            weight=weight,
            payout_lock=wallet.locks[(index + 1) % len(wallet.locks)],
        )
        for index, (weight, (node_seed, voting_seed)) in enumerate(
            zip(options.node_weights, seeds, strict=True)
        )
    )
    genesis = Genesis(
        version=GENESIS_VERSION,
        network=DEVNET.network,
        time_ms=int(time.time() * 1000),
        closing_every=options.epoch_heights,
        block_interval_ms=options.block_interval_ms,
        idle_interval_ms=max(options.block_interval_ms, DEVNET.idle_interval_ms),
        members=members,
        coins=tuple(coins),
    )
    check_genesis(genesis)
    return genesis


def _node_settings(ports: Sequence[NodePorts], index: int) -> Settings:
    own = ports[index]
    return Settings(
        network=DEVNET.network,
        p2p_listen=f"{HOST}:{own.p2p}",
        rpc_listen=f"{HOST}:{own.rpc}",
        metrics_listen=f"{HOST}:{own.metrics}",
        peers=tuple(f"{HOST}:{other.p2p}" for other in ports if other is not own),
    )


def _write_settings(place: Place, ports: list[NodePorts]) -> None:
    settings = _Settings(version=_SETTINGS_VERSION, ports=ports)
    data = msgspec.json.format(msgspec.json.encode(settings), indent=2)
    (place.directory / SETTINGS_FILE).write_bytes(data + b"\n")
