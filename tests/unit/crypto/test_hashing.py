"""Merkle roots against the recursive definition of RFC 6962, with our tags [L8]."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.hashing import (
    EMPTY_ROOT,
    merkle_path,
    merkle_path_root,
    merkle_root,
    tagged_hash,
    tagged_hashes,
)

LEAVES = st.lists(st.binary(max_size=40), max_size=40)


def naive_root(leaves: list[bytes]) -> bytes:
    """Split at the greatest power of two below the count, as the RFC says."""
    if not leaves:
        return tagged_hash("merkle-empty", b"")
    if len(leaves) == 1:
        return tagged_hash("merkle-leaf", leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return tagged_hash("merkle-node", naive_root(leaves[:split]) + naive_root(leaves[split:]))


def naive_path(leaves: list[bytes], place: int) -> list[bytes]:
    """PATH(m, D[n]) as the RFC says."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if place < split:
        return [*naive_path(leaves[:split], place), naive_root(leaves[split:])]
    return [*naive_path(leaves[split:], place - split), naive_root(leaves[:split])]


@given(LEAVES)
def test_root_is_that_of_the_recursive_definition(leaves: list[bytes]) -> None:
    """[L8]."""
    assert merkle_root(leaves) == naive_root(leaves)


def test_root_of_every_small_count() -> None:
    """[L8]."""
    for count in range(130):
        leaves = [bytes([i]) for i in range(count)]
        assert merkle_root(leaves) == naive_root(leaves)


@given(LEAVES, LEAVES)
def test_different_lists_have_different_roots(first: list[bytes], second: list[bytes]) -> None:
    """[L8] In particular none is equal to itself with its last leaf repeated."""
    assert (merkle_root(first) == merkle_root(second)) == (first == second)
    if first:
        assert merkle_root([*first, first[-1]]) != merkle_root(first)


def test_a_node_is_no_leaf() -> None:
    """[L8] The second-preimage trick of untagged trees."""
    inner = tagged_hash("merkle-leaf", b"a") + tagged_hash("merkle-leaf", b"b")
    assert merkle_root([inner]) != merkle_root([b"a", b"b"])
    assert merkle_root([]) == EMPTY_ROOT != merkle_root([b""])


@given(st.binary(), st.text("abcdefgh-", min_size=1, max_size=10))
def test_tag_is_hashed_twice_before_the_data(data: bytes, tag: str) -> None:
    """[L8] H(tag, x) = sha256(sha256(tag) || sha256(tag) || x)."""
    prefix = sha256(tag.encode()).digest()
    expected = sha256(prefix + prefix + data).digest()
    assert tagged_hash(tag, data) == expected
    assert tagged_hashes(tag, [data, b""]) == [expected, tagged_hash(tag, b"")]


def test_path_of_every_leaf_of_every_small_tree() -> None:
    """[L8] It is the RFC's, and leads to the root from its own place alone."""
    for count in range(1, 34):
        leaves = [bytes([i]) for i in range(count)]
        for place in range(count):
            path = merkle_path(leaves, place)
            assert list(path) == naive_path(leaves, place)
            led = [
                other
                for other in range(count)
                if merkle_path_root(leaves[place], place=other, count=count, path=path)
                == merkle_root(leaves)
            ]
            assert led == [place]


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_a_path_proves_its_leaf_and_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    """[L8] Whatever is changed of leaf, place, count's shape or path, the root is missed."""
    place = data.draw(st.integers(0, len(leaves) - 1))
    path = merkle_path(leaves, place)
    root = merkle_root(leaves)

    def leads(leaf: bytes, path: tuple[bytes, ...], place: int = place) -> bool:
        return merkle_path_root(leaf, place=place, count=len(leaves), path=path) == root

    assert leads(leaves[place], path)
    assert not leads(leaves[place] + b"x", path)
    assert not leads(leaves[place], (*path, root))
    assert not leads(leaves[place], path, len(leaves))
    assert not leads(leaves[place], path, -1)
    for i in range(len(path)):
        assert not leads(leaves[place], path[:i] + path[i + 1 :])
        assert not leads(leaves[place], (*path[:i], bytes(32), *path[i + 1 :]))
