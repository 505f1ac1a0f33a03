"""Merkle roots against the recursive definition of RFC 6962, with our tags [L8]."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.hashing import EMPTY_ROOT, merkle_root, tagged_hash, tagged_hashes

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
