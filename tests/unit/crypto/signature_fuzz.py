"""Signature checks of every kind on which implementations of Ed25519 have differed, from a seed.

The verdict is not always known here; what is compared is that all backends give the same one.
"""

import random
from collections.abc import Callable, Iterator
from hashlib import sha512
from typing import Final

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)

from lockstep.crypto.keys import SecretKey, SignatureCheck

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
PRIME: Final = 2**255 - 19
_EIGHT: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_Y: Final = (0, 1, PRIME - 1, PRIME, PRIME + 1, _EIGHT, PRIME - _EIGHT)
SMALL_ORDER: Final = [(y | sign << 255).to_bytes(32, "little") for y in _SMALL_Y for sign in (0, 1)]
"""All 14 encodings of the points whose order divides 8, the non-canonical ones included."""
_TORSION: Final = [
    point for point in SMALL_ORDER if 1 < int.from_bytes(point, "little") & (2**255 - 1) < PRIME
]
_POOL: Final = 64


class SignatureFuzz:
    """Draws checks; the same ones from the same seed."""

    def __init__(self, seed: int) -> None:
        """Draw the keys."""
        self._dice = random.Random(seed)
        self._keys = [SecretKey(self._dice.randbytes(32)) for _ in range(_POOL)]
        self._kinds: list[Callable[[], SignatureCheck]] = [
            self.good,
            self.good,
            self.flipped_r,
            self.flipped_s,
            self.flipped_key,
            self.flipped_message,
            self.large_scalar,
            self.small_key,
            self.small_r,
            self.non_canonical_key,
            self.non_canonical_r,
            self.mixed_order,
            self.crossed,
            self.random_bytes,
            self.wrong_length,
        ]

    def checks(self, count: int) -> Iterator[SignatureCheck]:
        """Return that many checks, kinds mixed at random."""
        return (self._dice.choice(self._kinds)() for _ in range(count))

    def good(self) -> SignatureCheck:
        """Return a good check; two of three messages have the length of a digest."""
        dice = self._dice
        key = dice.choice(self._keys)
        size = 32 if dice.randrange(3) else dice.randrange(300)
        message = dice.randbytes(size)
        return key.public_key, message, key.sign(message)

    def flipped_r(self) -> SignatureCheck:
        """Return a check with one bit of R flipped."""
        key, message, signature = self.good()
        return key, message, self._flip(signature[:32]) + signature[32:]

    def flipped_s(self) -> SignatureCheck:
        """Return a check with one bit of S flipped."""
        key, message, signature = self.good()
        return key, message, signature[:32] + self._flip(signature[32:])

    def flipped_key(self) -> SignatureCheck:
        """Return a check with one bit of A flipped; half of these are no point."""
        key, message, signature = self.good()
        return self._flip(key), message, signature

    def flipped_message(self) -> SignatureCheck:
        """Return a check with one bit of the message flipped, or a byte more."""
        key, message, signature = self.good()
        return key, self._flip(message) if message else b"\x00", signature

    def large_scalar(self) -> SignatureCheck:
        """Return a check with a multiple of the group order added to S."""
        key, message, signature = self.good()
        times = self._dice.choice((0, 1, 1, 1, 2, 3, 7))
        scalar = int.from_bytes(signature[32:], "little") + times * ORDER
        return key, message, signature[:32] + scalar.to_bytes(32, "little")

    def small_key(self) -> SignatureCheck:
        """Return a check under a key of small order, half of them with S = 0."""
        _, message, signature = self.good()
        r = self._dice.choice((signature[:32], self._dice.choice(SMALL_ORDER)))
        s = self._dice.choice((signature[32:], bytes(32)))
        return self._dice.choice(SMALL_ORDER), message, r + s

    def small_r(self) -> SignatureCheck:
        """Return a check with an R of small order that satisfies the equation half the time."""
        dice = self._dice
        secret, public = self._scalar_pair()
        message, r = dice.randbytes(32), dice.choice(SMALL_ORDER)
        s = crypto_core_ed25519_scalar_mul(_challenge(r, public, message), secret)
        return public, message, r + (s if dice.randrange(2) else self._scalar_pair()[0])

    def non_canonical_key(self) -> SignatureCheck:
        """Return a check under a key whose y is at or beyond the field prime."""
        _, message, signature = self.good()
        y = PRIME + self._dice.randrange(19)
        return (y | self._dice.randrange(2) << 255).to_bytes(32, "little"), message, signature

    def non_canonical_r(self) -> SignatureCheck:
        """Return a check with an R whose y is at or beyond the field prime."""
        key, message, signature = self.good()
        y = PRIME + self._dice.randrange(19)
        r = (y | self._dice.randrange(2) << 255).to_bytes(32, "little")
        return key, message, r + signature[32:]

    def mixed_order(self) -> SignatureCheck:
        """Return a check whose A, or A and R, have a part of small order.

        The equation with the cofactor always holds, the one without it sometimes.
        """
        dice = self._dice
        secret, public = self._scalar_pair()
        nonce, r = self._scalar_pair()
        public = crypto_core_ed25519_add(public, dice.choice(_TORSION))
        if dice.randrange(2):
            r = crypto_core_ed25519_add(r, dice.choice(_TORSION))
        message = dice.randbytes(32)
        product = crypto_core_ed25519_scalar_mul(_challenge(r, public, message), secret)
        return public, message, r + crypto_core_ed25519_scalar_add(product, nonce)

    def crossed(self) -> SignatureCheck:
        """Return the key of one check with the signature of another."""
        return (*self.good()[:2], self.good()[2])

    def random_bytes(self) -> SignatureCheck:
        """Return a check of noise."""
        dice = self._dice
        scalar = dice.randrange(ORDER).to_bytes(32, "little")
        return dice.randbytes(32), dice.randbytes(dice.randrange(64)), dice.randbytes(32) + scalar

    def wrong_length(self) -> SignatureCheck:
        """Return a check whose key or signature is cut or too long."""
        key, message, signature = self.good()
        cut = self._dice.randrange(32)
        choices = ((key[:cut], signature), (key, signature[: cut * 2]), (key, signature + b"\x00"))
        key, signature = self._dice.choice(choices)
        return key, message, signature

    def _flip(self, data: bytes) -> bytes:
        place = self._dice.randrange(len(data) * 8)
        flipped = bytearray(data)
        flipped[place >> 3] ^= 1 << (place & 7)
        return bytes(flipped)

    def _scalar_pair(self) -> tuple[bytes, bytes]:
        scalar = self._dice.randrange(1, ORDER).to_bytes(32, "little")
        return scalar, crypto_scalarmult_ed25519_base_noclamp(scalar)


def _challenge(r: bytes, public: bytes, message: bytes) -> bytes:
    return crypto_core_ed25519_scalar_reduce(sha512(r + public + message).digest())
