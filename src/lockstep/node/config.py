"""Settings of a node: command line over environment (`LOCKSTEP_...`) over `lockstep.toml`.

What is set wrong is refused by name before anything starts; nothing unknown is ignored in the file.
"""

import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec
import tomlkit
from msgspec import Struct

from lockstep.crypto.keys import is_acceptable_key
from lockstep.errors import Fatal
from lockstep.node.backends import AUTO, CHOICES
from lockstep.primitives.params import DEVNET, NETWORKS

SETTINGS_FILE: Final = "lockstep.toml"
GENESIS_FILE: Final = "genesis.json"
NODE_KEY_FILE: Final = "node.key"
VOTING_KEY_FILE: Final = "voting.key"
COOKIE_FILE: Final = ".cookie"
RUNTIME_FILE: Final = "node.json"
LOG_FILE: Final = "log/node.log"
VARIABLE_PREFIX: Final = "LOCKSTEP_"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

EXPLAINED: Final = {
    "network": "The network; it must be the one the genesis file names.",
    "p2p_listen": "Where other nodes connect, as host:port.",
    "rpc_listen": "Where programs of this machine ask, as host:port of a loopback address.",
    "metrics_listen": "A second loopback address that answers the same, to scrape; empty: none.",
    "peers": "Nodes to keep a connection with, as host:port each.",
    "followers": "Node keys in hexadecimal that may connect though the chain does not know them.",
    "verify_backend": "What verifies signatures, auto the fastest: " + ", ".join(CHOICES) + ".",
    "log_level": "The least level that is logged: " + ", ".join(LOG_LEVELS) + ".",
}


_LISTS: Final = ("peers", "followers")


class WrongSetting(Fatal):
    """A setting has a value that cannot be."""

    code = "config.value"
    hint = "correct the setting in lockstep.toml, the environment or the command line"


class UnknownSetting(Fatal):
    """The settings file has a name that means nothing."""

    code = "config.unknown"
    hint = "remove or correct the name; `lockstep init` writes a file with all names explained"


class MissingFile(Fatal):
    """The data directory lacks a file that every node has."""

    code = "config.missing"
    hint = "make a data directory with `lockstep init`"


class NotLoopback(Fatal):
    """A door for this machine alone would be open to others."""

    code = "config.not_loopback"
    hint = "listen on 127.0.0.1 and forward from there"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What `lockstep.toml` may say; every name with its default."""

    network: str = DEVNET.network
    p2p_listen: str = f"127.0.0.1:{DEVNET.p2p_port}"
    rpc_listen: str = f"127.0.0.1:{DEVNET.p2p_port + 1}"
    metrics_listen: str = ""
    peers: tuple[str, ...] = ()
    followers: tuple[str, ...] = ()
    verify_backend: str = AUTO
    log_level: str = "info"


class NodeConfig(Struct, frozen=True):
    """All that a node is started with.

    Attributes:
        directory: The data directory.
        settings: The settings as they were given, for people.
        p2p, rpc, metrics: (host, port) to listen on; port 0 takes a free one, None is off.
        peers: (host, port) to keep a connection with.
        followers: Node keys, 32 bytes each, that may connect beside the chain's members.
        record: File to append every frame of a peer to, for a judge; None records nothing.
    """

    directory: Path
    settings: Settings
    p2p: tuple[str, int]
    rpc: tuple[str, int]
    metrics: tuple[str, int] | None
    peers: tuple[tuple[str, int], ...]
    followers: tuple[bytes, ...]
    record: Path | None


def load_config(
    directory: Path,
    *,
    environment: Mapping[str, str],
    flags: Mapping[str, str],
    record: Path | None = None,
) -> NodeConfig:
    """Read the settings of a data directory.

    `flags` and `environment` hold texts; the entries of a list are joined by commas. Names in
    `environment` are those of the file in capitals after `LOCKSTEP_`.

    Raises:
        MissingFile: If there is no settings file.
        UnknownSetting: If the file has an unknown name; the sentence says which.
        WrongSetting: If a value cannot be; the sentence says which.
        NotLoopback: If RPC or metrics would be open to other machines.
    """
    content = _read_file(directory / SETTINGS_FILE)
    for name in Settings.__struct_fields__:
        text = flags.get(name, environment.get(VARIABLE_PREFIX + name.upper()))
        if text is not None:
            content[name] = _split(text) if name in _LISTS else text
    try:
        settings = msgspec.convert(content, Settings)
    except msgspec.ValidationError as fault:
        raise WrongSetting(f"a setting has a wrong value: {fault}") from fault
    if settings.network not in NETWORKS:
        raise WrongSetting(f"network: there is no network {settings.network!r}")
    if settings.verify_backend not in CHOICES:
        known = ", ".join(CHOICES)
        raise WrongSetting(f"verify_backend: {settings.verify_backend!r} is none of {known}")
    if settings.log_level not in LOG_LEVELS:
        raise WrongSetting(f"log_level: {settings.log_level!r} is none of {', '.join(LOG_LEVELS)}")
    return NodeConfig(
        directory=directory,
        settings=settings,
        p2p=parse_endpoint("p2p_listen", settings.p2p_listen),
        rpc=_parse_loopback("rpc_listen", settings.rpc_listen),
        metrics=_parse_loopback("metrics_listen", settings.metrics_listen)
        if settings.metrics_listen
        else None,
        peers=tuple(parse_endpoint("peers", peer) for peer in settings.peers),
        followers=tuple(_parse_key("followers", key) for key in settings.followers),
        record=record,
    )


def format_settings(settings: Settings) -> str:
    """Write a settings file in which every name is explained."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Settings of a Lockstep node. Environment variables and the"))
    document.add(tomlkit.comment("command line go before what stands here."))
    for name, explanation in EXPLAINED.items():
        document.add(tomlkit.nl())
        document.add(tomlkit.comment(explanation))
        value = getattr(settings, name)
        document.add(name, list(value) if isinstance(value, tuple) else value)
    return tomlkit.dumps(document)


def parse_endpoint(name: str, text: str) -> tuple[str, int]:
    """Read host:port; an IPv6 host stands in brackets.

    Raises:
        WrongSetting: If it is neither; the sentence names the setting.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not colon or not port.isdecimal() or int(port) > 65535:
        raise WrongSetting(f"{name}: {text!r} is not host:port")
    return host, int(port)


def _parse_key(name: str, text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as fault:
        raise WrongSetting(f"{name}: {text!r} is not hexadecimal") from fault
    if not is_acceptable_key(key):
        raise WrongSetting(f"{name}: {text!r} is not a node key of 32 bytes")
    return key


def _parse_loopback(name: str, text: str) -> tuple[str, int]:
    host, port = parse_endpoint(name, text)
    if host == "localhost":
        return "127.0.0.1", port
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError as fault:
        raise WrongSetting(f"{name}: {host!r} is not an address of this machine") from fault
    if not is_loopback:
        raise NotLoopback(f"{name}: {host} can be reached from other machines")
    return host, port


def _read_file(path: Path) -> dict[str, object]:
    try:
        content: dict[str, object] = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as fault:
        raise MissingFile(f"there is no {path.name} in {path.parent}") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as fault:
        raise WrongSetting(f"{path.name} cannot be read: {fault}") from fault
    for name in content:
        if name not in Settings.__struct_fields__:
            known = ", ".join(Settings.__struct_fields__)
            raise UnknownSetting(f"{path.name}: nothing is called {name!r}; known: {known}")
    return content


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
