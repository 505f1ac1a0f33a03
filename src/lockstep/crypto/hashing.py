"""Tagged hashes, Merkle roots and audit paths [L8].

H(tag, x) = sha256(sha256(tag) || sha256(tag) || x), so that bytes hashed for one purpose never
equal bytes hashed for another. Merkle trees have the shape of RFC 6962 with tagged leaf and node
hashes.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash


@lru_cache(maxsize=256)
def _begin(tag: str) -> "Callable[[], _Hash]":
    """Return what makes a state that has the tag's block behind it.

    A copy of such a state costs less than a new one, and the block is hashed once.
    """
    return sha256(sha256(tag.encode("ascii")).digest() * 2).copy


def tagged_hash(tag: str, data: bytes) -> bytes:
    """Hash `data` under `tag` to 32 bytes [L8]."""
    state = _begin(tag)()
    state.update(data)
    return state.digest()


def tagged_hashes(tag: str, items: Iterable[bytes]) -> list[bytes]:
    """Hash every item under one tag, in order [L8]."""
    begin = _begin(tag)
    hashes: list[bytes] = []
    for item in items:
        state = begin()
        state.update(item)
        hashes.append(state.digest())
    return hashes


EMPTY_ROOT = tagged_hash("merkle-empty", b"")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Compute the 32-byte root over `leaves` in the shape of RFC 6962 [L8].

    An odd last node is promoted, never duplicated, so no two lists of leaves share a root.
    """
    return merkle_root_above(merkle_nodes(leaves))


def merkle_nodes(leaves: Iterable[bytes]) -> list[bytes]:
    """Return the lowest nodes of a tree; a leaf has the same in every tree [L8]."""
    return tagged_hashes("merkle-leaf", leaves)


def merkle_root_above(nodes: Sequence[bytes]) -> bytes:
    """Compute the root of the tree that has these lowest nodes [L8]."""
    if not nodes:
        return EMPTY_ROOT
    level = nodes
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def merkle_path(leaves: Sequence[bytes], place: int) -> tuple[bytes, ...]:
    """Return the audit path of the leaf at `place`: the siblings on its way up [L8].

    A node that is promoted has no sibling, so the path may be shorter than the tree is high.
    """
    level: Sequence[bytes] = merkle_nodes(leaves)
    path: list[bytes] = []
    while len(level) > 1:
        if place ^ 1 < len(level):
            path.append(level[place ^ 1])
        level = _level_above(level)
        place >>= 1
    return tuple(path)


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above these, the last one promoted where it has no sibling."""
    above = tagged_hashes("merkle-node", map(add, level[::2], level[1::2]))
    if len(level) & 1:
        above.append(level[-1])
    return above


def merkle_path_root(leaf: bytes, *, place: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root to which the path leads from `leaf` at `place` of `count` leaves [L8].

    None where a path of this place and count has another length, or there is no such place.
    """
    if not 0 <= place < count:
        return None
    siblings = iter(path)
    node = tagged_hash("merkle-leaf", leaf)
    while count > 1:
        if place ^ 1 < count:
            sibling = next(siblings, None)
            if sibling is None:
                return None
            pair = sibling + node if place & 1 else node + sibling
            node = tagged_hash("merkle-node", pair)
        place >>= 1
        count = count + 1 >> 1
    return node if next(siblings, None) is None else None
