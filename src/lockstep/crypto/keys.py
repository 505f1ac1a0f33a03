"""Ed25519 keys: sign, and the one verifier that is a consensus rule [M3].

Before a backend decides, three checks of clause 2.8 are made, because backends differ without them:
the scalar S is below the group order, the public key A is canonical and not of small order, and R
is not of small order. Keys are made from given bytes; this room makes no randomness.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from lockstep.errors import Misuse

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_FIELD_PRIME: Final = 2**255 - 19
_GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_ORDER_8_Y: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_Y: Final = (
    0,
    1,
    _FIELD_PRIME - 1,
    _FIELD_PRIME,
    _FIELD_PRIME + 1,
    _ORDER_8_Y,
    _FIELD_PRIME - _ORDER_8_Y,
)
# The sign bit of x is the top bit of the encoding; both forms name a point of small order.
_SMALL_ORDER: Final = frozenset(
    (y | sign << 255).to_bytes(32, "little") for y in _SMALL_ORDER_Y for sign in (0, 1)
)

# The group order is little more than 2^252, so a scalar with a smaller top byte is below it.
_SCALAR_TOP: Final = 0x10
# A number from the prime up has the same bytes between its ends as the prime, which is one of them.
_REFUSED_INSIDES: Final = tuple(dict.fromkeys(sorted(each[1:31] for each in _SMALL_ORDER)))

SignatureCheck = tuple[bytes, bytes, bytes]
"""(public key of 32 bytes, message, signature of 64 bytes)."""


class Verifier(Protocol):
    """Whatever can judge many signatures at once; one verdict each, none probabilistic."""

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Return whether each check holds, in order."""
        ...


class Signer(Protocol):
    """Whatever holds a secret key and signs with it."""

    @property
    def public_key(self) -> bytes:
        """Return the 32-byte public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        ...


def is_acceptable_key(public_key: bytes) -> bool:
    """Tell whether `public_key` is 32 canonical bytes and not of small order [M3, 2.8]."""
    if len(public_key) != KEY_BYTES or public_key in _SMALL_ORDER:
        return False
    # Of the numbers below 2^255, only those whose top byte is full can reach the field prime.
    return (
        public_key[31] & 0x7F != 0x7F
        or int.from_bytes(public_key, "little") & (2**255 - 1) < _FIELD_PRIME
    )


def is_within_bounds(public_key: bytes, signature: bytes) -> bool:
    """Make the checks that come before any backend: S, A and R as clause 2.8 wants them [M3]."""
    if len(signature) != SIGNATURE_BYTES or signature[:32] in _SMALL_ORDER:
        return False
    if signature[63] >= _SCALAR_TOP and int.from_bytes(signature[32:], "little") >= _GROUP_ORDER:
        return False
    return is_acceptable_key(public_key)


def are_surely_within_bounds(keys: Sequence[bytes], signatures: Sequence[bytes]) -> bool:
    """Tell whether keys and signatures show nothing that needs a closer look; for many at once.

    A search for the insides of all refused keys and points, and a look at the scalars' top bytes:
    whoever breaks a bound is found. What is found may be a chance, so ask `is_within_bounds` then.
    """
    if not have_length(keys, KEY_BYTES) or not have_length(signatures, SIGNATURE_BYTES):
        return False
    column = b"".join(signatures)
    if max(column[SIGNATURE_BYTES - 1 :: SIGNATURE_BYTES]) >= _SCALAR_TOP:
        return False
    column += b"".join(keys)
    return not any(inside in column for inside in _REFUSED_INSIDES)


def have_length(values: Sequence[bytes], length: int) -> bool:
    """Tell whether there are values, and all have this length."""
    return set(map(len, values)) == {length}


def sodium_holds(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Let libsodium decide on a check that `is_within_bounds`."""
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is one of `message` under `public_key` [M3, 2.8]."""
    return is_within_bounds(public_key, signature) and sodium_holds(public_key, message, signature)


class SodiumVerifier:
    """The verifier over libsodium, one signature after the other."""

    name = "sodium"

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        """Return whether each check holds, in order."""
        return [verify(key, message, signature) for key, message, signature in checks]


class SecretKey:
    """An Ed25519 secret key; never printed, never compared, never pickled."""

    __slots__ = ("_secret", "public_key")

    def __init__(self, seed: bytes) -> None:
        """Make the key from 32 bytes that the caller drew.

        Raises:
            Misuse: If the seed is not 32 bytes.
        """
        if len(seed) != KEY_BYTES:
            raise Misuse("an Ed25519 seed is 32 bytes")
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message` (RFC 8032, deterministic)."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        """Name the public half only."""
        return f"SecretKey(public={self.public_key.hex()})"

    def __deepcopy__(self, memo: object) -> "SecretKey":
        """Share the key: it never changes, and copies of secrets are to be few."""
        return self
