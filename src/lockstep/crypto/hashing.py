"""Tagged hashes and Merkle roots [L8].

H(tag, x) = sha256(sha256(tag) || sha256(tag) || x), so that bytes hashed for one purpose never
equal bytes hashed for another. Merkle trees have the shape of RFC 6962 with tagged leaf and node
hashes.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256


@lru_cache(maxsize=256)
def _prefix(tag: str) -> bytes:
    return sha256(tag.encode("ascii")).digest() * 2


def tagged_hash(tag: str, data: bytes) -> bytes:
    """Hash `data` under `tag` to 32 bytes [L8]."""
    return sha256(_prefix(tag) + data).digest()


def tagged_hashes(tag: str, items: Iterable[bytes]) -> list[bytes]:
    """Hash every item under one tag, in order [L8]."""
    prefix = _prefix(tag)
    return [sha256(prefix + item).digest() for item in items]


EMPTY_ROOT = tagged_hash("merkle-empty", b"")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Compute the 32-byte root over `leaves` in the shape of RFC 6962 [L8].

    An odd last node is promoted, never duplicated, so no two lists of leaves share a root.
    """
    if not leaves:
        return EMPTY_ROOT
    level = tagged_hashes("merkle-leaf", leaves)
    prefix = _prefix("merkle-node")
    while len(level) > 1:
        odd = level[-1:] if len(level) & 1 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(prefix + left + right).digest() for left, right in pairs] + odd
    return level[0]
