"""The sealed part of a wallet file: Argon2id over the passphrase, XChaCha20-Poly1305 around words.

Argon2id takes 256 MiB, so it never runs in a node process; a node has no passphrase to ask for.
"""

import secrets
from typing import Annotated, Final

from msgspec import Meta, Struct
from nacl import exceptions
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2ID13,
    crypto_pwhash_SALTBYTES,
)

from lockstep.errors import Rejected

OPERATIONS: Final = 3
MEMORY_BYTES: Final = 256 * 1024 * 1024
_OPERATIONS_MAX: Final = 16
_MEMORY_BYTES_MAX: Final = 1024 * 1024 * 1024


class WrongPassphrase(Rejected):
    """The passphrase does not open the wallet, or the file was changed."""

    code = "wallet.passphrase"
    hint = "try the passphrase again; `lockstep wallet restore` makes a new file from the 24 words"


class Vault(Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed secret with all that is needed to open it, but the passphrase.

    The bounds on the work keep a planted file from taking the whole machine.
    """

    salt: bytes
    nonce: bytes
    sealed: bytes
    operations: Annotated[int, Meta(ge=1, le=_OPERATIONS_MAX)] = OPERATIONS
    memory_bytes: Annotated[int, Meta(ge=8192, le=_MEMORY_BYTES_MAX)] = MEMORY_BYTES


def seal_vault(secret: bytes, passphrase: bytes, *, bound: bytes) -> Vault:
    """Seal `secret`; `bound` are bytes that must be the same when it is opened."""
    salt = secrets.token_bytes(crypto_pwhash_SALTBYTES)
    nonce = secrets.token_bytes(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
    key = _derive_key(passphrase, salt, operations=OPERATIONS, memory_bytes=MEMORY_BYTES)
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(secret, bound, nonce, key)
    return Vault(salt=salt, nonce=nonce, sealed=sealed)


def open_vault(vault: Vault, passphrase: bytes, *, bound: bytes) -> bytes:
    """Return the secret.

    Raises:
        WrongPassphrase: If the passphrase is wrong, or the vault or `bound` was changed.
    """
    try:
        key = _derive_key(
            passphrase,
            vault.salt,
            operations=vault.operations,
            memory_bytes=vault.memory_bytes,
        )
        return crypto_aead_xchacha20poly1305_ietf_decrypt(vault.sealed, bound, vault.nonce, key)
    except (exceptions.CryptoError, exceptions.TypeError, exceptions.ValueError) as fault:
        raise WrongPassphrase("the passphrase does not open this wallet") from fault


def _derive_key(passphrase: bytes, salt: bytes, *, operations: int, memory_bytes: int) -> bytes:
    return crypto_pwhash_alg(
        crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
        passphrase,
        salt,
        operations,
        memory_bytes,
        crypto_pwhash_ALG_ARGON2ID13,
    )
