"""Signatures for speed: a keyed hash behind the interface of Ed25519.

Anybody who knows the public key could forge these, which is no matter in a simulation whose nodes
run our own code: what is exercised is who signs what, and that every signature is checked. A share
of the seeds runs with Ed25519 itself.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from lockstep.crypto.keys import SIGNATURE_BYTES, SignatureCheck


@lru_cache(maxsize=4096)
def _secret_of(public_key: bytes) -> bytes:
    return blake2b(public_key, person=b"lockstep-sim").digest()


def keyed_signature(public_key: bytes, message: bytes) -> bytes:
    """Return the 64 bytes that stand for a signature of `message` under the key."""
    return blake2b(message, digest_size=SIGNATURE_BYTES, key=_secret_of(public_key)).digest()


class KeyedHashSigner:
    """A signer whose signature is a keyed hash."""

    __slots__ = ("public_key",)

    def __init__(self, public_key: bytes) -> None:
        """Sign under these 32 bytes."""
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte keyed hash of `message`."""
        return keyed_signature(self.public_key, message)


class KeyedHashVerifier:
    """The verifier that belongs to `KeyedHashSigner`."""

    name = "keyed-hash"

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Return whether each check holds, in order."""
        return [keyed_signature(key, message) == signature for key, message, signature in checks]
