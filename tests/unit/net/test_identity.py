"""Node keys in certificates: the same bytes for one key always, and only Ed25519 leaves count."""

import hashlib
import os
import ssl
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockstep.crypto.keys import SecretKey
from lockstep.errors import Misuse
from lockstep.net import identity
from lockstep.net.identity import (
    NodeIdentity,
    WrongCertificate,
    authority_certificate,
    make_leaf,
    peer_key,
)

SEED = bytes(range(32))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def test_the_key_is_the_one_of_the_rest_of_the_system() -> None:
    node = NodeIdentity(SEED)
    assert node.public_key == SecretKey(SEED).public_key == peer_key(der(node.certificate))


def test_certificates_are_frozen() -> None:
    """Two versions of Lockstep must make the same authority, or they cannot meet."""
    assert der(NodeIdentity(SEED).certificate) == der(NodeIdentity(SEED).certificate)
    assert hashlib.sha256(der(authority_certificate())).hexdigest() == AUTHORITY_SHA256
    assert hashlib.sha256(der(NodeIdentity(SEED).certificate)).hexdigest() == LEAF_SHA256


AUTHORITY_SHA256 = "51bfa94a3eb988e854b801c008b94a8932a19f19942928d9b4629c8a97e60929"
LEAF_SHA256 = "77da3aabd05e7b7bea23fa613e90abb23bde6db29769433207bad6bb26cfd8f7"


def test_the_leaf_is_signed_by_the_authority() -> None:
    NodeIdentity(SEED).certificate.verify_directly_issued_by(authority_certificate())


def test_contexts_demand_a_proof_from_both_sides() -> None:
    node = NodeIdentity(SEED)
    for context in (node.server_context, node.client_context):
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert node.server_context.num_tickets == 0


def test_an_rsa_leaf_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaf = (
        identity._builder("rsa", b"rsa")
        .public_key(key.public_key())
        .sign(identity._authority_key(), None)
    )
    leaf.verify_directly_issued_by(authority_certificate())
    with pytest.raises(WrongCertificate, match="not Ed25519"):
        peer_key(der(leaf))


def test_a_key_of_small_order_is_refused() -> None:
    """Anybody can sign for such a key, so it proves nothing [2.8]."""
    leaf = make_leaf(Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31)))
    with pytest.raises(WrongCertificate, match="small order"):
        peer_key(der(leaf))


@pytest.mark.parametrize("certificate", [None, b"", b"\x30\x00", os.urandom(200)])
def test_no_or_damaged_certificate_is_refused(certificate: bytes | None) -> None:
    with pytest.raises(WrongCertificate):
        peer_key(certificate)


def test_a_seed_of_another_length_is_our_mistake() -> None:
    with pytest.raises(Misuse):
        NodeIdentity(SEED[:31])


def test_without_memory_files_the_key_is_on_disk_for_its_owner_only_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with identity._as_file(b"secret") as path:
        assert Path(path).read_bytes() == b"secret"
        assert Path(path).stat().st_mode & 0o077 == 0
        assert Path(path).parent.stat().st_mode & 0o077 == 0
    assert NodeIdentity(SEED).public_key == SecretKey(SEED).public_key
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_never_printed() -> None:
    assert SEED.hex() not in repr(NodeIdentity(SEED))
