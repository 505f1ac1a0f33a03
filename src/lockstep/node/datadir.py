"""The data directory of a node: its keys, its genesis, and how both come into being.

Keys are files only their owner may read; looser permissions are refused, not repaired, because the
key may have been read already. The voting key is made together with its journal [D3].
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from lockstep.crypto.keys import KEY_BYTES, SecretKey
from lockstep.errors import Fatal
from lockstep.node.config import (
    GENESIS_FILE,
    NODE_KEY_FILE,
    SETTINGS_FILE,
    VOTING_KEY_FILE,
    MissingFile,
    Settings,
    format_settings,
)
from lockstep.primitives.genesis import Genesis, WrongGenesis, format_genesis, parse_genesis
from lockstep.storage.crashpoints import reach
from lockstep.storage.directory import CHAIN_DIRECTORY, sync_directory
from lockstep.storage.store import Store

UNFINISHED_FILE: Final = f"{SETTINGS_FILE}.new"
"""The settings as long as the rest of the directory is being made."""


class LooseKey(Fatal):
    """Others than the owner may read a key file."""

    code = "key.permissions"
    hint = "make a new key if others may have read it; otherwise: chmod 600"


class MalformedKey(Fatal):
    """A key file does not hold a key."""

    code = "key.malformed"
    hint = "a key file holds 64 hexadecimal characters and a new line"


class ForeignNodeKey(Fatal):
    """The node key is not the one that the chain knows this masternode by."""

    code = "key.foreign"
    hint = "put back the node key that was made together with this voting key"


class DirectoryTaken(Fatal):
    """There is a node in the directory already."""

    code = "node.exists"
    hint = "choose an empty directory"


def init_node(
    directory: Path,
    genesis: Genesis,
    *,
    settings: Settings,
    node_seed: bytes,
    voting_seed: bytes | None,
) -> None:
    """Make the data directory of a node, with its keys and the journal of its voting key [D3].

    Seeds are 32 bytes each, drawn by the caller; without `voting_seed` the node only follows. The
    settings get their name last, when all the rest is on the disk: no node starts in a directory
    that is half made, and an `init` that was cut short is begun again with new keys.

    Raises:
        DirectoryTaken: If the directory holds a node's files already, or is being made.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = directory / UNFINISHED_FILE
    if unfinished.exists() and not (directory / SETTINGS_FILE).exists():
        _clear(directory)
    for name in (SETTINGS_FILE, GENESIS_FILE, NODE_KEY_FILE, VOTING_KEY_FILE):
        if (directory / name).exists():
            raise DirectoryTaken(f"{directory} holds a {name} already")
    with _claim(unfinished) as file:
        _write(file, format_settings(settings).encode())
        # No key without the name that tells that it is of an unfinished directory.
        sync_directory(directory)
        reach("init.settings.after")
        write_private(directory / NODE_KEY_FILE, f"{node_seed.hex()}\n")
        reach("init.node_key.after")
        voting_key = None
        if voting_seed is not None:
            write_private(directory / VOTING_KEY_FILE, f"{voting_seed.hex()}\n")
            voting_key = SecretKey(voting_seed).public_key
            reach("init.voting_key.after")
        Store.create(directory, genesis, voting_key=voting_key)
        reach("init.chain.after")
        with (directory / GENESIS_FILE).open("xb") as rules:
            _write(rules, format_genesis(genesis))
        sync_directory(directory)
        reach("init.rename.before")
        unfinished.rename(directory / SETTINGS_FILE)
    reach("init.rename.after")
    sync_directory(directory)
    sync_directory(directory.parent)


@contextmanager
def _claim(path: Path) -> Iterator[BinaryIO]:
    """Open the unfinished settings for the one `init` that may be at work here."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise DirectoryTaken(f"another process is making {path.parent}") from fault
        file.truncate(0)
        yield file


def _clear(directory: Path) -> None:
    """Remove what an `init` left that was cut short; no node has ever run on it."""
    with _claim(directory / UNFINISHED_FILE):
        for name in (GENESIS_FILE, NODE_KEY_FILE, VOTING_KEY_FILE):
            (directory / name).unlink(missing_ok=True)
        if (directory / CHAIN_DIRECTORY).exists():
            shutil.rmtree(directory / CHAIN_DIRECTORY)


def _write(file: BinaryIO, content: bytes) -> None:
    """Write and bring to the disk."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def load_genesis(directory: Path, network: str) -> Genesis:
    """Read the genesis file of a data directory.

    Raises:
        MissingFile: If there is none.
        WrongGenesis: If it is damaged, or names another network than the settings.
    """
    try:
        genesis = parse_genesis((directory / GENESIS_FILE).read_bytes())
    except FileNotFoundError as fault:
        raise MissingFile(f"there is no {GENESIS_FILE} in {directory}") from fault
    if genesis.network != network:
        raise WrongGenesis(f"the genesis file is of {genesis.network}, the settings name {network}")
    return genesis


def load_seed(path: Path) -> bytes:
    """Read the 32-byte seed in a key file.

    Raises:
        MissingFile: If there is no such file.
        LooseKey: If group or others have any right to it.
        MalformedKey: If it does not hold a key.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError as fault:
        raise MissingFile(f"there is no {path.name} in {path.parent}") from fault
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise LooseKey(f"{path} may be read or changed by others (mode {mode:04o})")
        text = file.read(4 * KEY_BYTES)
    try:
        seed = bytes.fromhex(text.decode("ascii").removesuffix("\n"))
    except ValueError as fault:
        raise MalformedKey(f"{path} does not hold a key") from fault
    if len(seed) != KEY_BYTES or len(text) > 2 * KEY_BYTES + 1:
        raise MalformedKey(f"{path} does not hold a key of {KEY_BYTES} bytes")
    return seed


def load_voting_key(directory: Path) -> SecretKey | None:
    """Read the voting key, None where the node only follows.

    Raises:
        LooseKey: If group or others have any right to it.
        MalformedKey: If it does not hold a key.
    """
    path = directory / VOTING_KEY_FILE
    return SecretKey(load_seed(path)) if path.exists() else None


def check_node_key(genesis: Genesis, *, node_key: bytes, voting_key: bytes | None) -> None:
    """Refuse a node key, damaged or mixed up, that no peer would let in.

    Raises:
        ForeignNodeKey: If the chain binds the voting key to another node key.
    """
    for member in genesis.members:
        if member.voting_key == voting_key and member.node_key != node_key:
            raise ForeignNodeKey(
                f"the chain knows this masternode by the node key {member.node_key.hex()}, "
                f"{NODE_KEY_FILE} holds {node_key.hex()}"
            )


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read, and bring it to the disk.

    Raises:
        FileExistsError: If there is such a file.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
