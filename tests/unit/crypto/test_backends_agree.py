"""No backend differs from another on any signature: the verifier is a consensus rule [M3, 2.8].

OpenSSL is asked too, behind the same checks of clause 2.8, so that something is compared where
crypto_mb cannot run. A disagreement prints the check, which then belongs into the self-test.
"""

import itertools
import random
from collections.abc import Sequence
from typing import Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockstep.crypto.keys import SecretKey, SignatureCheck, SodiumVerifier, is_within_bounds
from lockstep.crypto.multibuffer import DESK_CHECKS, MultiBufferVerifier
from lockstep.node.backends import CRYPTO_MB
from lockstep.node.kernel import load_kernel
from unit.crypto.signature_cases import BACKENDS, NEEDS_CRYPTO_MB
from unit.crypto.signature_fuzz import SignatureFuzz

CALL_CHECKS: Final = 500
KEYS: Final = [(i, SecretKey(bytes([i]) * 32)) for i in range(8)]


def openssl_holds(check: SignatureCheck) -> bool:
    """Let OpenSSL decide, behind the checks of clause 2.8."""
    key, message, signature = check
    if not is_within_bounds(key, signature):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def compare(seed: int, count: int) -> int:
    """Judge that many checks by crypto_mb and libsodium; return how many hold."""
    fuzz = SignatureFuzz(seed)
    good = 0
    for _ in range(0, count, CALL_CHECKS):
        checks = list(fuzz.checks(CALL_CHECKS))
        verdicts = [backend.verify_many(checks) for backend in BACKENDS.values()]
        for check, *each in zip(checks, *verdicts, strict=True):
            assert len(set(each)) == 1, (list(BACKENDS), each, [part.hex() for part in check])
        good += sum(verdicts[0])
    return good


def test_libsodium_and_openssl_agree() -> None:
    """[M3] Cofactor, canonical R and all: behind the same bounds they are the same rule."""
    checks = list(SignatureFuzz(1).checks(3_000))
    verdicts = SodiumVerifier().verify_many(checks)
    assert [openssl_holds(check) for check in checks] == verdicts
    assert 300 < sum(verdicts) < 1_000


@NEEDS_CRYPTO_MB
def test_backends_agree_on_some() -> None:
    """[M3]."""
    assert 400 < compare(seed=2, count=4_000) < 1_300


@NEEDS_CRYPTO_MB
def test_without_the_checks_of_the_clause_they_would_differ() -> None:
    """[M3] What the comparison would find if one backend were asked without them."""
    drawn = SignatureFuzz(4).checks(2_000)
    checks = [check for check in drawn if (len(check[0]), len(check[2])) == (32, 64)]
    verifier = MultiBufferVerifier(load_kernel())
    bare: list[bool] = []
    for start in range(0, len(checks), DESK_CHECKS):
        bare += verifier._decide(checks[start : start + DESK_CHECKS])
    ruled = SodiumVerifier().verify_many(checks)
    verdicts = zip(checks, bare, ruled, strict=True)
    differing = [check for check, kernel, rule in verdicts if kernel != rule]
    assert len(differing) > 50
    assert not any(is_within_bounds(key, signature) for key, _, signature in differing)


@NEEDS_CRYPTO_MB
@pytest.mark.slow
def test_backends_agree_on_a_hundred_thousand() -> None:
    """[M3]."""
    assert compare(seed=random.SystemRandom().getrandbits(32), count=100_000) > 10_000


@NEEDS_CRYPTO_MB
@pytest.mark.long
def test_backends_agree_on_a_million() -> None:
    """[M3]."""
    assert compare(seed=random.SystemRandom().getrandbits(32), count=1_000_000) > 100_000


@NEEDS_CRYPTO_MB
def test_lanes_are_independent() -> None:
    """[M3] Every pattern of good and bad in a group of eight comes out as it went in."""
    good = [(key.public_key, key.public_key[:i], key.sign(key.public_key[:i])) for i, key in KEYS]
    bad = [(key, message, _with_other_scalar(signature)) for key, message, signature in good]
    checks: list[SignatureCheck] = []
    expected: list[bool] = []
    for pattern in itertools.product((True, False), repeat=8):
        checks += [good[i] if holds else bad[i] for i, holds in enumerate(pattern)]
        expected += pattern
    assert BACKENDS[CRYPTO_MB].verify_many(checks) == expected
    groups = [slice(start, start + 8) for start in range(0, len(checks), 8)]
    alone = [BACKENDS[CRYPTO_MB].verify_many(checks[group]) for group in groups]
    assert alone == [expected[group] for group in groups]


def _with_other_scalar(signature: bytes) -> bytes:
    return signature[:33] + bytes([signature[33] ^ 1]) + signature[34:]


@NEEDS_CRYPTO_MB
def test_order_and_number_change_no_verdict() -> None:
    """[M3] Any number of checks in any order, over messages of many lengths."""
    fuzz, dice = SignatureFuzz(3), random.Random(3)
    checks: Sequence[SignatureCheck] = list(fuzz.checks(40))
    known = dict(zip(checks, SodiumVerifier().verify_many(checks), strict=True))
    for count in (*range(41), *[17, 24] * 20):
        drawn = dice.sample(checks, count)
        assert BACKENDS[CRYPTO_MB].verify_many(drawn) == [known[check] for check in drawn]
