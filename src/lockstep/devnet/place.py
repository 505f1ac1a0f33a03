"""Where a devnet keeps its things, and how the other commands find the last one."""

import os
import warnings
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from lockstep.errors import Unavailable

SETTINGS_FILE: Final = "devnet.json"
GENESIS_FILE: Final = "genesis.json"
NODE_SETTINGS_FILE: Final = "lockstep.toml"
NODE_RUNTIME_FILE: Final = "node.json"
WALLET_FILE: Final = "funded.wallet"
PASSPHRASE_FILE: Final = "funded.passphrase"  # noqa: S105  # The name of a file.
DIRECTORY_VARIABLE: Final = "LOCKSTEP_DIR"


class NoNetwork(Unavailable):
    """Nothing says which network or node is meant."""

    code = "place.none"
    hint = "start one with `lockstep devnet`, or name a directory with --dir or LOCKSTEP_DIR"


class UnknownPlace(Unavailable):
    """The directory named holds neither a devnet nor a node."""

    code = "place.unknown"
    hint = "name a devnet's directory, or one made by `lockstep init`"


class LastDevnet(Struct, frozen=True):
    """The runtime file: which devnet was started last, by which process."""

    directory: str
    pid: int


class Place(Struct, frozen=True):
    """A devnet's directory, or a single node's."""

    directory: Path
    is_devnet: bool

    @property
    def genesis_path(self) -> Path:
        """Return where the genesis file is."""
        return self.directory / GENESIS_FILE

    @property
    def wallet_directory(self) -> Path:
        """Return where the wallet files are."""
        return self.directory / "wallet"

    @property
    def funded_wallet(self) -> Path:
        """Return the devnet's own wallet file, which holds the first coins."""
        return self.wallet_directory / WALLET_FILE

    @property
    def funded_passphrase(self) -> Path:
        """Return the file with the passphrase of the devnet's own wallet."""
        return self.wallet_directory / PASSPHRASE_FILE

    @property
    def evidence_directory(self) -> Path:
        """Return where what the judge needs is recorded."""
        return self.directory / "evidence"

    def node_directory(self, index: int) -> Path:
        """Return the data directory of one node of a devnet."""
        return self.directory / f"node{index}"

    def node_directories(self) -> list[Path]:
        """Return the data directories of all nodes, in order."""
        if not self.is_devnet:
            return [self.directory]
        directories: list[Path] = []
        while (directory := self.node_directory(len(directories))).is_dir():
            directories.append(directory)
        return directories


def find_place(named: Path | None) -> Place:
    """Return the place that --dir, else LOCKSTEP_DIR, else the runtime file names.

    Raises:
        NoNetwork: If none of them does.
        UnknownPlace: If there is neither a devnet nor a node.
    """
    directory = named
    if directory is None and (text := os.environ.get(DIRECTORY_VARIABLE)):
        directory = Path(text)
    if directory is None:
        last = read_last_devnet()
        if last is None:
            raise NoNetwork("no devnet was started on this machine by this user")
        directory = Path(last.directory)
        if not directory.is_dir():
            raise NoNetwork(f"the last devnet, in {directory}, is gone")
    if (directory / SETTINGS_FILE).is_file():
        return Place(directory.resolve(), is_devnet=True)
    if (directory / NODE_SETTINGS_FILE).is_file():
        return Place(directory.resolve(), is_devnet=False)
    raise UnknownPlace(f"{directory} holds neither a devnet nor a node")


def runtime_file() -> Path:
    """Return the path of the runtime file."""
    # Imported here because most commands are told the directory and need not look.
    import platformdirs  # noqa: PLC0415  # Lazily, as said above.

    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR platformdirs takes a private directory below /tmp, and warns.
        warnings.simplefilter("ignore")
        return Path(platformdirs.user_runtime_dir("lockstep")) / SETTINGS_FILE


def write_last_devnet(directory: Path) -> None:
    """Name this devnet as the last one."""
    path = runtime_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(LastDevnet(str(directory), os.getpid())))
    fresh.replace(path)


def read_last_devnet() -> LastDevnet | None:
    """Return which devnet was started last, None where none was."""
    try:
        return msgspec.json.decode(runtime_file().read_bytes(), type=LastDevnet)
    except (OSError, msgspec.DecodeError):
        return None


def forget_last_devnet() -> None:
    """Remove the runtime file, if this process wrote it."""
    last = read_last_devnet()
    if last is not None and last.pid == os.getpid():
        runtime_file().unlink(missing_ok=True)
