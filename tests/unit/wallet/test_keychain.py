"""Words, derivation and the wallet file, against published vectors and changed files."""

from pathlib import Path

import msgspec
import pytest
from mnemonic import Mnemonic
from slip10 import HARDENED_INDEX, SLIP10

from lockstep.crypto.address import parse_address
from lockstep.crypto.keys import SecretKey, verify
from lockstep.wallet.keychain import Keychain, MalformedWords, check_words, draw_words
from lockstep.wallet.vault import WrongPassphrase, open_vault, seal_vault
from lockstep.wallet.wallet import (
    LoosePermissions,
    WalletDamaged,
    WalletExists,
    WalletMissing,
    create_wallet,
    load_wallet,
)

WORDS = " ".join(["abandon"] * 23 + ["art"])

# BIP-39, test vectors of the reference implementation, 256 bits, passphrase TREZOR.
BIP39 = [
    (
        WORDS,
        (
            "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd30971"
            "70af7a4d73245cafa9c3cca8d561a7c3de6f5d4a10be8ed2a5e608d68f92fcc8"
        ),
    ),
    (
        " ".join(["zoo"] * 23 + ["vote"]),
        (
            "dd48c104698c30cfe2b6142103248622fb7bb0ff692eebb00089b32d22484e16"
            "13912f0a5b694407be899ffd31ed3992c456cdf60f5d4564b8ba3f05a69890ad"
        ),
    ),
]

# SLIP-0010, test vector 1 for Ed25519: path, private key, public key without its leading zero.
SLIP10_SEED = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
SLIP10_ED25519 = [
    (
        [],
        "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
        "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
    ),
    (
        [0],
        "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
        "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
    ),
    (
        [0, 1, 2, 2, 1000000000],
        "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
        "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
    ),
]


@pytest.mark.parametrize(("words", "seed"), BIP39)
def test_words_give_the_published_seed(words: str, seed: str) -> None:
    assert check_words(words) == words
    assert Mnemonic.to_seed(words, "TREZOR").hex() == seed


@pytest.mark.parametrize(("path", "private", "public"), SLIP10_ED25519)
def test_derivation_gives_the_published_keys(path: list[int], private: str, public: str) -> None:
    root = SLIP10.from_seed(SLIP10_SEED, curve_name="ed25519")
    key = root.get_privkey_from_path([step | HARDENED_INDEX for step in path])
    assert key.hex() == private
    assert SecretKey(key).public_key.hex() == public


def test_keys_are_frozen() -> None:
    """Addresses of old words must never move; these were made by the first version."""
    devnet, mainnet = (Keychain(WORDS, network=name) for name in ("devnet", "mainnet"))
    keys = [devnet.key(0), devnet.key(1), devnet.key(0, account=1), mainnet.key(0)]
    assert [key.public_key.hex() for key in keys] == FROZEN
    signature = keys[0].sign(b"word")
    assert verify(keys[0].public_key, b"word", signature)


FROZEN = [
    "811b322f9c28877bf9f543a8e8db1f3c4fd45a6ccc6cadf315499893d49b8299",
    "7cf67ee680b85939fcabb6bc404152276dd4bb1c042a1db9d86c01d306fd6e9a",
    "76ac01598e40599edd1fc690323f2d0b7b9febdf55d54c4883c913b81de76835",
    "a1a90cacba482dcbe8c1db515fa8d03da4ec5976788922e366db4fb5146725eb",
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abandon " * 23,
        "abandon " * 24,
        WORDS.replace("art", "artt"),
        WORDS + " art",
        " ".join(["abandon"] * 11 + ["about"]),
    ],
)
def test_wrong_words_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(MalformedWords) as caught:
        check_words(text)
    assert "abandon" not in str(caught.value)
    assert "artt" not in str(caught.value)


def test_drawn_words_are_24_and_new() -> None:
    first, second = draw_words(), draw_words()
    assert len(first.split()) == 24
    assert first != second
    assert check_words(first.upper()) == first


def test_file_round_trip_and_restore(tmp_path: Path) -> None:
    made = create_wallet(tmp_path / "a", words=WORDS, passphrase="pass", network="devnet")
    read = load_wallet(tmp_path / "a")
    again = create_wallet(tmp_path / "b", words=WORDS, passphrase="other", network="devnet")
    assert made.addresses == read.addresses == again.addresses
    assert len(dict.fromkeys(made.addresses)) == 20
    assert [parse_address("dls", text) for text in read.addresses] == list(read.locks)
    keychain = read.unlock("pass")
    assert tuple(keychain.key(i).public_key for i in range(20)) == read.public_keys
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert "abandon" not in (tmp_path / "a").read_text()


def test_wrong_passphrase_and_exchanged_keys_do_not_open(tmp_path: Path) -> None:
    wallet = create_wallet(tmp_path / "a", words=WORDS, passphrase="pass", network="devnet")
    with pytest.raises(WrongPassphrase):
        wallet.unlock("Pass")
    content = msgspec.json.decode((tmp_path / "a").read_bytes())
    content["public_keys"][0] = content["public_keys"][1]
    (tmp_path / "a").write_bytes(msgspec.json.encode(content))
    with pytest.raises(WrongPassphrase):
        load_wallet(tmp_path / "a").unlock("pass")


def test_planted_work_factor_is_refused_before_it_is_done(tmp_path: Path) -> None:
    create_wallet(tmp_path / "a", words=WORDS, passphrase="pass", network="devnet")
    content = msgspec.json.decode((tmp_path / "a").read_bytes())
    content["vault"]["memory_bytes"] = 2**40
    (tmp_path / "a").write_bytes(msgspec.json.encode(content))
    with pytest.raises(WalletDamaged):
        load_wallet(tmp_path / "a")


def test_files_that_are_none_or_loose(tmp_path: Path) -> None:
    with pytest.raises(WalletMissing):
        load_wallet(tmp_path / "a")
    (tmp_path / "a").write_text("{}")
    (tmp_path / "a").chmod(0o640)
    with pytest.raises(LoosePermissions):
        load_wallet(tmp_path / "a")
    (tmp_path / "a").chmod(0o600)
    with pytest.raises(WalletDamaged):
        load_wallet(tmp_path / "a")
    with pytest.raises(WalletExists):
        create_wallet(tmp_path / "a", words=WORDS, passphrase="pass", network="devnet")
    assert (tmp_path / "a").read_text() == "{}"


@pytest.mark.slow
def test_vault_needs_every_byte() -> None:
    vault = seal_vault(b"secret", b"pass", bound=b"bound")
    assert open_vault(vault, b"pass", bound=b"bound") == b"secret"
    changed = msgspec.structs.replace(vault, sealed=vault.sealed[:-1] + b"?")
    shortened = msgspec.structs.replace(vault, salt=vault.salt[1:])
    for vault_, bound in ((vault, b"other"), (changed, b"bound"), (shortened, b"bound")):
        with pytest.raises(WrongPassphrase):
            open_vault(vault_, b"pass", bound=bound)
