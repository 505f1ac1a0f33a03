"""Which wallet file a command means."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import rich_click as click
from msgspec import Struct

from lockstep.devnet.place import NoNetwork, Place, find_place
from lockstep.primitives.genesis import parse_genesis
from lockstep.primitives.params import DEVNET, NETWORKS
from lockstep.wallet.wallet import Wallet, WalletMissing, load_wallet

F = TypeVar("F", bound=Callable[..., Any])
SUFFIX: Final = ".wallet"
FIRST_NAME: Final = "wallet"


class ChosenWallet(Struct, frozen=True):
    """A wallet, and the file with its passphrase where it is a devnet's own."""

    wallet: Wallet
    passphrase_file: Path | None


def wallet_option(function: F) -> F:
    """Add `--wallet` to a command; the parameter is `wallet_name`."""
    return click.option(
        "--wallet",
        "wallet_name",
        envvar="LOCKSTEP_WALLET",
        metavar="NAME",
        help="A name among the network's wallets, or the path of a wallet file.",
    )(function)


def network_option(function: F) -> F:
    """Add `--network` to a command."""
    return click.option(
        "--network",
        type=click.Choice(sorted(NETWORKS)),
        help="The network of the addresses. Default: that of --dir, else devnet.",
    )(function)


def choose_network(named: str | None, directory: Path | None) -> str:
    """Return the network meant: the named one, else that of the place, else the devnet."""
    if named is not None:
        return named
    place = _place_or_none(directory)
    if place is None or not place.genesis_path.is_file():
        return DEVNET.network
    return parse_genesis(place.genesis_path.read_bytes()).network


def choose_new_path(name: str | None, directory: Path | None) -> Path:
    """Return where a new wallet file goes; without a name, the first that is free."""
    if name is not None:
        return _path_of(name, directory)
    number = 1
    while (path := _path_of(_numbered(number), directory)).exists():
        number += 1
    return path


def choose_wallet(name: str | None, directory: Path | None) -> ChosenWallet:
    """Return the named wallet, else the devnet's own, else the first one made.

    Raises:
        WalletMissing: If there is none.
    """
    place = _place_or_none(directory)
    own = place.funded_wallet if place is not None and place.is_devnet else None
    if name is not None:
        path = _path_of(name, directory)
    else:
        path = own if own is not None else _path_of(FIRST_NAME, directory)
    if not path.exists():
        raise WalletMissing(f"there is no wallet at {path}")
    is_own = place is not None and own is not None and path == own
    return ChosenWallet(
        load_wallet(path), place.funded_passphrase if is_own and place is not None else None
    )


def _numbered(number: int) -> str:
    return FIRST_NAME if number == 1 else f"{FIRST_NAME}-{number}"


def _path_of(name: str, directory: Path | None) -> Path:
    path = Path(name)
    if len(path.parts) > 1 or path.suffix or path.exists():
        return path
    place = _place_or_none(directory)
    if place is not None:
        return place.wallet_directory / (name + SUFFIX)
    # Imported here because with a network at hand nobody needs it.
    import platformdirs

    return Path(platformdirs.user_data_dir("lockstep")) / "wallets" / (name + SUFFIX)


def _place_or_none(directory: Path | None) -> Place | None:
    """Return the place meant; a wallet needs none, unless one was named."""
    try:
        return find_place(directory)
    except NoNetwork:
        return None
