"""Which network or node a command speaks to, and how it gets there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import rich_click as click

from lockstep.client.sync_client import SyncRpcClient
from lockstep.devnet.place import NODE_RUNTIME_FILE, Place, find_place
from lockstep.devnet.ports import HOST
from lockstep.errors import LockstepError, Unavailable

F = TypeVar("F", bound=Callable[..., Any])
COOKIE_FILE: Final = ".cookie"
CALL_TIMEOUT_S: Final = 75


class NoNodeRuns(Unavailable):
    """None of the nodes meant is running."""

    code = "node.down"
    hint = "start it with `lockstep node --dir DIR`, or a network with `lockstep devnet`"


def dir_option(function: F) -> F:
    """Add `--dir` to a command; the parameter is `directory`."""
    return click.option(
        "--dir",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="A devnet's or a node's directory. Default: LOCKSTEP_DIR, else the last devnet.",
    )(function)


def read_runtime(directory: Path) -> dict[str, Any] | None:
    """Return what the node in a directory wrote when it came up, None where it did not."""
    try:
        return msgspec.json.decode(
            (directory / NODE_RUNTIME_FILE).read_bytes(), type=dict[str, Any]
        )
    except (OSError, msgspec.DecodeError):
        return None


def open_node(directory: Path, *, timeout_s: float = CALL_TIMEOUT_S) -> SyncRpcClient | None:
    """Return a client of the node in a directory, None where it does not run."""
    runtime = read_runtime(directory)
    if runtime is None:
        return None
    client = SyncRpcClient(HOST, runtime["rpc"], directory / COOKIE_FILE, timeout_s=timeout_s)
    try:
        client.call("getblockcount")
    except LockstepError:
        # Killed, it could not take its runtime file away.
        client.close()
        return None
    return client


def open_place(directory: Path | None) -> tuple[Place, SyncRpcClient]:
    """Return the place meant, and a client of the first node in it that answers.

    Raises:
        NoNetwork: If nothing says which place is meant.
        UnknownPlace: If it is neither a devnet nor a node.
        NoNodeRuns: If no node in it answers.
    """
    place = find_place(directory)
    for node in place.node_directories():
        if (client := open_node(node)) is not None:
            return place, client
    raise NoNodeRuns(f"no node in {place.directory} is running")
