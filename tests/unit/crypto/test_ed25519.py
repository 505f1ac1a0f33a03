"""One verdict a signature, whatever the backend: the verifier is a consensus rule [M3].

The verdicts on the external vectors are frozen in `tests/vectors/ed25519-verdicts.json`;
`REWRITE=1` writes them anew, and the diff is reviewed.
"""

import json
import os
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from lockstep.bench.signature_vectors import (
    load_newer_wycheproof,
    load_official,
    load_wycheproof,
)
from lockstep.crypto import keys
from lockstep.crypto.keys import SecretKey, Verifier, is_acceptable_key
from lockstep.errors import Misuse
from unit.crypto.signature_cases import EVERY_BACKEND, load_edge_cases
from unit.crypto.signature_fuzz import ORDER, PRIME, SMALL_ORDER

FROZEN: Final = Path(__file__).parents[2] / "vectors" / "ed25519-verdicts.json"
KEY: Final = SecretKey(bytes(range(32)))


@EVERY_BACKEND
def test_verdicts_on_the_external_vectors_are_frozen(backend: Verifier, vectors: Path) -> None:
    """[M3] Also one by one, in eights and in one call: grouping changes no verdict."""
    cases = load_edge_cases(vectors)
    assert len(cases) == 12 + 151 + 210
    verdicts = dict(zip(cases, backend.verify_many(list(cases.values())), strict=True))
    alone = {name: backend.verify_many([check])[0] for name, check in cases.items()}
    assert verdicts == alone
    eights = {name: backend.verify_many([check] * 8) for name, check in cases.items()}
    assert eights == {name: [verdict] * 8 for name, verdict in verdicts.items()}
    if os.environ.get("REWRITE") == "1":
        FROZEN.write_text(json.dumps(verdicts, indent=0) + "\n")
    assert json.loads(FROZEN.read_text()) == verdicts


@EVERY_BACKEND
def test_official_signatures_are_good_and_none_is_for_another_message(backend: Verifier) -> None:
    """[M3] Ed25519's authors made one for each length from 0 to 1,023 bytes."""
    checks = list(load_official().values())
    assert [len(message) for _, message, _ in checks] == list(range(1024))
    assert backend.verify_many(checks) == [True] * 1024
    crossed = [(key, message + b"\x00", signature) for key, message, signature in checks]
    assert backend.verify_many(crossed) == [False] * 1024


def test_wycheproof_agrees(vectors: Path) -> None:
    """[M3] Where its authors say valid or invalid, so do we: its cases are off the boundary."""
    frozen = json.loads(FROZEN.read_text())
    said = load_wycheproof(vectors)[1] | load_newer_wycheproof()[1]
    unclear = {name for name, result in said.items() if result == "acceptable"}
    assert {name: frozen[name] for name in said if name not in unclear} == {
        name: result == "valid" for name, result in said.items() if name not in unclear
    }
    assert len(unclear) == 29, unclear


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200))
def test_signing_is_that_of_another_library(seed: bytes, message: bytes) -> None:
    """RFC 8032: deterministic, so two libraries write the same bytes."""
    other = Ed25519PrivateKey.from_private_bytes(seed)
    key = SecretKey(seed)
    assert key.public_key == other.public_key().public_bytes_raw()
    assert key.sign(message) == other.sign(message)


@EVERY_BACKEND
@given(message=st.binary(max_size=64), place=st.integers(0, 511), cut=st.integers(0, 63))
def test_every_bit_of_a_signature_matters(
    backend: Verifier, message: bytes, place: int, cut: int
) -> None:
    """[M3]."""
    good = KEY.sign(message)
    flipped = bytearray(good)
    flipped[place >> 3] ^= 1 << (place & 7)
    key = KEY.public_key
    checks = [
        (key, message, good),
        (key, message, bytes(flipped)),
        (key, message, good[:cut]),
        (key, message, good + b"\x00"),
        (key, message + b"\x00", good),
        (key[: cut % 32], message, good),
    ]
    assert backend.verify_many(checks) == [True, False, False, False, False, False]


@EVERY_BACKEND
def test_scalar_beyond_the_group_order_is_refused(backend: Verifier) -> None:
    """[M3] S + L satisfies the equation too; accepting it would let anybody change a leaf."""
    good = KEY.sign(b"message")
    scalar = int.from_bytes(good[32:], "little")
    for more in range(1, 9):
        longer = good[:32] + (scalar + more * ORDER).to_bytes(32, "little")
        assert backend.verify_many([(KEY.public_key, b"message", longer)]) == [False]


@EVERY_BACKEND
def test_points_of_small_order_are_refused(backend: Verifier) -> None:
    """[M3] As key they sign everything; as R they make backends disagree."""
    signature = KEY.sign(b"message")
    for point in SMALL_ORDER:
        assert not is_acceptable_key(point)
        trivial = point + bytes(32)
        checks = [
            (point, b"message", trivial),
            (KEY.public_key, b"message", point + signature[32:]),
        ]
        assert backend.verify_many(checks) == [False, False]


def test_the_boundary_is_judged_before_any_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """[M3] Even a backend that accepts everything does not move it."""
    monkeypatch.setattr(keys, "crypto_sign_open", lambda signed, key: signed[64:])
    good = KEY.sign(b"message")
    scalar = int.from_bytes(good[32:], "little")
    small = SMALL_ORDER
    far = (PRIME + 2).to_bytes(32, "little")
    refused = [
        (KEY.public_key, good[:32] + (scalar + ORDER).to_bytes(32, "little")),
        (KEY.public_key, good[:32] + ORDER.to_bytes(32, "little")),
        (KEY.public_key, good[:63]),
        (far, good),
        *((KEY.public_key, point + good[32:]) for point in small),
        *((point, good) for point in small),
    ]
    last = good[:32] + (ORDER - 1).to_bytes(32, "little")
    accepted = [(KEY.public_key, good), (KEY.public_key, last)]
    assert [keys.verify(key, b"message", signature) for key, signature in refused] == [False] * 32
    assert [keys.verify(key, b"message", signature) for key, signature in accepted] == [True] * 2


@given(st.integers(PRIME, 2**255 - 1), st.integers(0, 1))
def test_keys_are_canonical(place: int, sign: int) -> None:
    """[M3] A y at or beyond the field prime is another name of a smaller one."""
    assert not is_acceptable_key((place | sign << 255).to_bytes(32, "little"))


def test_keys_are_acceptable_and_seeds_whole() -> None:
    assert is_acceptable_key(KEY.public_key)
    assert not is_acceptable_key(KEY.public_key[:31])
    for size in (0, 31, 33, 64):
        with pytest.raises(Misuse):
            SecretKey(bytes(size))


def test_a_secret_key_does_not_show_its_secret() -> None:
    seed = bytes(range(32))
    shown = f"{KEY!r} {KEY}"
    assert seed.hex() not in shown
    assert repr(seed) not in shown
    assert KEY.public_key.hex() in shown
