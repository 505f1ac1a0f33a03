"""Seed words and the keys derived from them: the only maker of keys.

24 words (BIP-39) stand for 256 bits; keys follow by SLIP-0010 for Ed25519, hardened at every step,
at m/44'/COIN'/account'/0'/index'. The same words give the same addresses anywhere.
"""

import secrets
from typing import Final

from mnemonic import Mnemonic
from slip10 import HARDENED_INDEX, SLIP10

from lockstep.crypto.keys import KEY_BYTES, SecretKey
from lockstep.errors import Rejected

WORDS: Final = 24
ENTROPY_BITS: Final = 256
INDEX_MAX: Final = 2**31 - 1
"""The highest number of a derived key."""
_PURPOSE: Final = 44
# Coin type 1 is every project's test network; the main network's is not registered by anybody else.
COIN_TYPES: Final = {"mainnet": 0x4C53, "testnet": 1, "devnet": 1}
_LANGUAGE: Final = Mnemonic("english")


class MalformedWords(Rejected):
    """The text is not 24 known words with a right checksum."""

    code = "wallet.words"
    hint = "compare the words with your paper, in order; one wrong word spoils the checksum"


def draw_seed() -> bytes:
    """Draw 32 bytes for a new Ed25519 key from the system's randomness."""
    return secrets.token_bytes(KEY_BYTES)


def draw_words() -> str:
    """Draw 24 new words, separated by blanks."""
    return str(_LANGUAGE.generate(strength=ENTROPY_BITS))


def check_words(text: str) -> str:
    """Return the words in lower case with single blanks.

    Raises:
        MalformedWords: If a word is unknown, their number is not 24, or the checksum is wrong.
    """
    words = text.lower().split()
    if len(words) != WORDS:
        raise MalformedWords(f"there are {len(words)} words where {WORDS} are due")
    known = frozenset(_LANGUAGE.wordlist)
    for place, word in enumerate(words, 1):
        if word not in known:
            # The word itself is a secret, so only its place is told.
            raise MalformedWords(f"word {place} is not in the list of words")
    joined = " ".join(words)
    if not _LANGUAGE.check(joined):
        raise MalformedWords("the checksum of the words is wrong")
    return joined


class Keychain:
    """All keys of one seed on one network; holds secrets, so keep it short and never print it."""

    __slots__ = ("_coin_type", "_root")

    def __init__(self, words: str, *, network: str) -> None:
        """Derive the root from 24 words.

        Raises:
            MalformedWords: If the words are not 24 known ones with a right checksum.
        """
        seed = Mnemonic.to_seed(check_words(words))
        self._root = SLIP10.from_seed(seed, curve_name="ed25519")
        self._coin_type = COIN_TYPES[network]

    def seed(self, index: int, *, account: int = 0) -> bytes:
        """Return the 32-byte seed of the key at m/44'/COIN'/account'/0'/index'."""
        path = (_PURPOSE, self._coin_type, account, 0, index)
        return self._root.get_privkey_from_path([step | HARDENED_INDEX for step in path])

    def key(self, index: int, *, account: int = 0) -> SecretKey:
        """Return the key at m/44'/COIN'/account'/0'/index'."""
        return SecretKey(self.seed(index, account=account))
