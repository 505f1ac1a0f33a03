"""Addresses are bech32m, of one network each; one typing error is always noticed [L7].

The first two tables are the vectors of BIP-350 for version 1 and 32 bytes, and its invalid ones.
"""

from typing import Final

import bech32m
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.address import (
    ForeignAddress,
    MalformedAddress,
    format_address,
    parse_address,
)
from lockstep.errors import Rejected
from lockstep.primitives.params import NETWORKS

LOCKS: Final = st.binary(min_size=32, max_size=32)
PREFIXES: Final = [params.address_prefix for params in NETWORKS.values()]
CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

GOOD: Final = [
    (
        "bc",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    ),
    (
        "tb",
        "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
        "000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
    ),
]

BAD: Final = [
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    "bc1pw5dgrnzv",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    "bc1gmk9yu",
    # Valid under BIP-350, but of another version or length than ours.
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    "BC1SW50QGDZ25J",
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
]


@pytest.mark.parametrize(("prefix", "text", "lock"), GOOD)
def test_vectors_of_the_standard(prefix: str, text: str, lock: str) -> None:
    """[L7]."""
    assert parse_address(prefix, text).hex() == lock
    assert format_address(prefix, bytes.fromhex(lock)) == text
    assert parse_address(prefix, text.upper()).hex() == lock


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("prefix", ["bc", "tb", "ls"])
def test_invalid_vectors_of_the_standard(prefix: str, text: str) -> None:
    """[L7]."""
    with pytest.raises(Rejected):
        parse_address(prefix, text)


@given(LOCKS, st.sampled_from(PREFIXES))
def test_reading_undoes_writing(lock: bytes, prefix: str) -> None:
    """[L7]."""
    text = format_address(prefix, lock)
    assert text.startswith(prefix + "1")
    assert parse_address(prefix, text) == lock
    assert parse_address(prefix, text.upper()) == lock


@given(LOCKS, st.sampled_from(PREFIXES), st.sampled_from(PREFIXES))
def test_each_network_has_its_own_addresses(lock: bytes, prefix: str, other: str) -> None:
    """[L7] And says so, rather than calling them damaged."""
    text = format_address(prefix, lock)
    if prefix != other:
        with pytest.raises(ForeignAddress):
            parse_address(other, text)


@given(LOCKS, st.sampled_from([0, 2, 15, 16]))
def test_other_versions_are_refused(lock: bytes, version: int) -> None:
    """[L7] A lock of a version we do not know could not be opened by what we know."""
    with pytest.raises(MalformedAddress):
        parse_address("ls", str(bech32m.encode("ls", version, lock)))


@given(LOCKS, st.data())
def test_up_to_four_typing_errors_are_noticed(lock: bytes, data: st.DataObject) -> None:
    """[L7] The checksum's promise for wrong characters behind the prefix."""
    text = format_address("ls", lock)
    places = data.draw(st.lists(st.integers(3, len(text) - 1), min_size=1, max_size=4, unique=True))
    letters = list(text)
    for place in places:
        others = CHARSET.replace(letters[place], "")
        letters[place] = data.draw(st.sampled_from(others))
    with pytest.raises(MalformedAddress):
        parse_address("ls", "".join(letters))


@given(st.text(max_size=90) | st.text(CHARSET + "1LSls", max_size=90))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """[L7] No error but Rejected comes out."""
    try:
        lock = parse_address("ls", text)
    except Rejected:
        return
    assert format_address("ls", lock) == text.lower()
