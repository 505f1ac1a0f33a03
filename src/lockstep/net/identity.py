"""Who a node is on the wire: an Ed25519 node key, proved by mutual TLS 1.3.

TLS verifies chains, not bare keys, so every leaf is signed by one authority whose private key is
public: it is derived from a constant. The chain always verifies and proves nothing; what counts is
that the leaf's key is the node key and that TLS 1.3 proves possession of it. Both sides then read
the raw key and compare it with what the chain says. The authority does not depend on the chain, so
that a node of another network gets a sentence in the session and not a bare alert.

Certificates are a pure function of the key. The voting key never comes here.
"""

import contextlib
import datetime as dt
import os
import ssl
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from lockstep.crypto.hashing import tagged_hash
from lockstep.crypto.keys import KEY_BYTES, is_acceptable_key
from lockstep.errors import Misuse, Rejected

AUTHORITY: Final = "lockstep/p2p/1"
# No clock may decide who can connect: the dates are the widest that X.509 can say.
NOT_BEFORE: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NOT_AFTER: Final = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


class WrongCertificate(Rejected):
    """The peer's certificate holds no acceptable Ed25519 node key."""

    code = "session.wrong_certificate"


class NodeIdentity:
    """A node key with its certificate and the two TLS contexts made of them."""

    __slots__ = ("certificate", "client_context", "public_key", "server_context")

    def __init__(self, seed: bytes) -> None:
        """Make the identity from the 32-byte seed of the node key.

        Raises:
            Misuse: If the seed is not 32 bytes.
        """
        if len(seed) != KEY_BYTES:
            raise Misuse("the seed of a node key is 32 bytes")
        secret = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = secret.public_key().public_bytes_raw()
        self.certificate = make_leaf(secret.public_key())
        pem = self.certificate.public_bytes(serialization.Encoding.PEM) + secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.server_context = _make_context(ssl.PROTOCOL_TLS_SERVER, pem)
        self.client_context = _make_context(ssl.PROTOCOL_TLS_CLIENT, pem)

    def __repr__(self) -> str:
        """Name the public half only."""
        return f"NodeIdentity(public={self.public_key.hex()})"


def peer_key(certificate_der: bytes | None) -> bytes:
    """Return the raw node key of the certificate a peer proved possession of.

    Raises:
        WrongCertificate: If there is none, or its key is not an acceptable Ed25519 key. OpenSSL
            lets an RSA leaf of our authority pass, so this is the place that refuses it.
    """
    if certificate_der is None:
        raise WrongCertificate("the peer showed no certificate")
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
    except ValueError as fault:
        raise WrongCertificate("the peer's certificate is damaged") from fault
    if not isinstance(key, Ed25519PublicKey):
        raise WrongCertificate("the peer's certificate holds a key that is not Ed25519")
    raw = key.public_bytes_raw()
    if not is_acceptable_key(raw):
        raise WrongCertificate("the peer's node key is not canonical or of small order")
    return raw


def make_leaf(key: Ed25519PublicKey) -> x509.Certificate:
    """Return the certificate of a node key: the same bytes whoever makes it, whenever."""
    raw = key.public_bytes_raw()
    return (
        _builder(raw.hex(), raw)
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(_authority_key(), None)
    )


@cache
def authority_certificate() -> x509.Certificate:
    """Return the certificate of the authority whose private key everybody knows."""
    key = _authority_key().public_key()
    return (
        _builder(AUTHORITY, key.public_bytes_raw())
        .public_key(key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_authority_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .sign(_authority_key(), None)
    )


@cache
def _authority_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(tagged_hash("p2p-authority", AUTHORITY.encode()))


def _authority_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(subject: str, raw: bytes) -> x509.CertificateBuilder:
    # A serial number is positive and at most 20 bytes; 15 bytes of hash never set its sign bit.
    serial = int.from_bytes(tagged_hash("p2p-serial", raw)[:15], "big") + 1
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY)]))
        .serial_number(serial)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(_authority_key().public_key()),
            critical=False,
        )
    )


def _make_context(protocol: int, pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    authority = authority_certificate().public_bytes(serialization.Encoding.PEM)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        # A ticket would let a later connection skip the proof of the key.
        context.num_tickets = 0
    with _as_file(pem) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Lend the content as a file's path, because OpenSSL's loader takes nothing else.

    In memory on Linux; elsewhere a file only its owner can read, removed at once.
    """
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("lockstep-leaf", os.MFD_CLOEXEC)
        try:
            os.write(handle, content)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory(prefix="lockstep-") as directory:
        path = Path(directory, "leaf.pem")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, content)
        finally:
            os.close(handle)
        yield str(path)
