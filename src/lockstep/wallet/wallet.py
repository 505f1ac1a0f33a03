"""The wallet file: public keys in the clear, the words sealed, written in one piece, mode 0600.

Addresses and balance need no passphrase; spending does. The public keys are bound to the sealed
words, so a file whose keys were exchanged does not open.
"""

import base64
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from lockstep.crypto.address import format_address
from lockstep.crypto.keys import SecretKey
from lockstep.errors import Rejected
from lockstep.primitives.ids import Key, make_outpoint
from lockstep.primitives.params import NETWORKS
from lockstep.primitives.transaction import Policy, make_single_lock
from lockstep.wallet.keychain import Keychain, check_words
from lockstep.wallet.spend import Spendable
from lockstep.wallet.vault import Vault, open_vault, seal_vault

WALLET_VERSION: Final = 1
ADDRESSES: Final = 20
_FREE: Final = "Unspent"
_WRITABLE_BY_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class WalletExists(Rejected):
    """A file is already there; a wallet is never overwritten."""

    code = "wallet.exists"
    hint = "choose another name with --wallet"


class WalletMissing(Rejected):
    """There is no wallet file of this name."""

    code = "wallet.missing"
    hint = "make one with `lockstep wallet new`, or name one with --wallet"


class WalletDamaged(Rejected):
    """The file is no wallet file of a known version."""

    code = "wallet.damaged"
    hint = "`lockstep wallet restore` makes a new file from the 24 words"


class LoosePermissions(Rejected):
    """A file with secrets can be read by others."""

    code = "wallet.permissions"
    hint = "run `chmod 600` on the file"


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """The file as JSON holds it; bytes are base64."""

    version: Annotated[int, Meta(ge=WALLET_VERSION, le=WALLET_VERSION)]
    network: str
    public_keys: Annotated[list[Key], Meta(min_length=1, max_length=4096)]
    vault: Vault


class Wallet:
    """One wallet file: what can be told without the passphrase, and the door to its keys."""

    def __init__(self, path: Path, file: _File) -> None:
        """Take over what `create_wallet` or `load_wallet` read or wrote."""
        self.path = path
        self._file = file
        self.network = file.network
        self.public_keys: tuple[bytes, ...] = tuple(file.public_keys)
        self.locks: tuple[bytes, ...] = tuple(map(make_single_lock, self.public_keys))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses, in order of their index [L7]."""
        prefix = NETWORKS[self.network].address_prefix
        return tuple(format_address(prefix, lock) for lock in self.locks)

    def spendables(self, rows: Iterable[Mapping[str, Any]]) -> list[Spendable]:
        """Return those coins of a node's `listunspent` that are in the chain and free to spend."""
        policies = {
            address: Policy(1, (key,))
            for address, key in zip(self.addresses, self.public_keys, strict=True)
        }
        return [
            Spendable(
                make_outpoint(bytes.fromhex(row["txid"]), row["vout"]),
                row["amount_units"],
                policies[row["address"]],
            )
            for row in rows
            if row["height"] is not None and row["state"] == _FREE
        ]

    def keys_for(self, coins: Iterable[Spendable], keychain: Keychain) -> dict[bytes, SecretKey]:
        """Return the keys that open these coins, by public key."""
        indices = {key: index for index, key in enumerate(self.public_keys)}
        public = {key: None for coin in coins for key in coin.policy.keys}
        return {key: keychain.key(indices[key]) for key in public}

    def unlock(self, passphrase: str) -> Keychain:
        """Return the keys.

        Raises:
            WrongPassphrase: If the passphrase is wrong, or the file was changed.
        """
        bound = _bound_bytes(self.network, self.public_keys)
        words = open_vault(self._file.vault, passphrase.encode(), bound=bound)
        return Keychain(words.decode(), network=self.network)


def create_wallet(path: Path, *, words: str, passphrase: str, network: str) -> Wallet:
    """Write a new wallet file for these words.

    Raises:
        MalformedWords: If the words are not 24 known ones with a right checksum.
        WalletExists: If there is a file at `path`.
    """
    words = check_words(words)
    if path.exists():
        raise WalletExists(f"there is already a file at {path}")
    keychain = Keychain(words, network=network)
    keys = [keychain.key(index).public_key for index in range(ADDRESSES)]
    bound = _bound_bytes(network, keys)
    vault = seal_vault(words.encode(), passphrase.encode(), bound=bound)
    file = _File(version=WALLET_VERSION, network=network, public_keys=keys, vault=vault)
    write_private(path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
    return Wallet(path, file)


def load_wallet(path: Path) -> Wallet:
    """Read a wallet file.

    Raises:
        WalletMissing: If there is none.
        LoosePermissions: If others can read or write it.
        WalletDamaged: If it is no wallet file of a known version and network.
    """
    try:
        data = read_private(path)
    except FileNotFoundError as fault:
        raise WalletMissing(f"there is no wallet at {path}") from fault
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, ValueError) as fault:
        raise WalletDamaged(f"{path} is not a wallet file: {fault}") from fault
    if file.network not in NETWORKS:
        raise WalletDamaged(f"{path} is of an unknown network {file.network!r}")
    return Wallet(path, file)


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may touch.

    Raises:
        FileNotFoundError: If it is not there.
        LoosePermissions: If others can read or write it.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _WRITABLE_BY_OTHERS:
            raise LoosePermissions(f"{path} is open to other users")
        return file.read()


def write_private(path: Path, data: bytes) -> None:
    """Write a new file in one piece, synced, mode 0600.

    Raises:
        WalletExists: If there is a file at `path` by now.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces a file that came between.
        os.link(name, path)
    except FileExistsError as fault:
        raise WalletExists(f"there is already a file at {path}") from fault
    finally:
        Path(name).unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _bound_bytes(network: str, public_keys: Sequence[bytes]) -> bytes:
    keys = [base64.b64encode(key).decode() for key in public_keys]
    return msgspec.json.encode([WALLET_VERSION, network, keys])
