"""The backends of this machine, which must agree on every signature check."""

from pathlib import Path
from typing import Final

import pytest

from lockstep.bench.signature_vectors import (
    load_newer_wycheproof,
    load_speccheck,
    load_wycheproof,
)
from lockstep.crypto.keys import SignatureCheck, SodiumVerifier, Verifier
from lockstep.errors import LockstepError
from lockstep.node.backends import CRYPTO_MB, load_crypto_mb


def load_named_backends() -> tuple[dict[str, Verifier], str]:
    """Return the backends of this machine by name, and why crypto_mb is missing if it is."""
    backends: dict[str, Verifier] = {"sodium": SodiumVerifier()}
    try:
        backends[CRYPTO_MB] = load_crypto_mb().verifier
    except LockstepError as fault:
        return backends, f"{CRYPTO_MB} is not there: {fault}"
    return backends, ""


BACKENDS, MISSING = load_named_backends()
NEEDS_CRYPTO_MB: Final = pytest.mark.skipif(bool(MISSING), reason=MISSING)
EVERY_BACKEND: Final = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(BACKENDS["sodium"], id="sodium"),
        pytest.param(BACKENDS.get(CRYPTO_MB), id=CRYPTO_MB, marks=NEEDS_CRYPTO_MB),
    ],
)


def load_edge_cases(vectors: Path) -> dict[str, SignatureCheck]:
    """Return the 12 + 151 + 210 cases whose verdicts are frozen."""
    return load_speccheck(vectors) | load_wycheproof(vectors)[0] | load_newer_wycheproof()[0]
