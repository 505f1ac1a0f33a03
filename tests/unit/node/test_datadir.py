"""A data directory is made once, its keys are its owner's alone, its journal is its key's [D3]."""

from pathlib import Path

import pytest

from lockstep.crypto.keys import SecretKey
from lockstep.errors import LockstepError
from lockstep.node.config import Settings, load_config
from lockstep.node.datadir import init_node, load_genesis, load_seed, load_voting_key
from lockstep.primitives.genesis import Genesis, GenesisMember
from lockstep.storage.crashpoints import listen
from lockstep.storage.store import Store

SEEDS = [bytes([i]) * 32 for i in range(1, 9)]
GENESIS = Genesis(
    1,
    "devnet",
    1,
    10,
    250,
    1000,
    tuple(
        GenesisMember(SecretKey(v).public_key, SecretKey(n).public_key, 1, bytes(32))
        for v, n in zip(SEEDS[:4], SEEDS[4:], strict=True)
    ),
    (),
)


def make(directory: Path, *, voting_seed: bytes | None = SEEDS[0]) -> Path:
    init_node(directory, GENESIS, settings=Settings(), node_seed=SEEDS[4], voting_seed=voting_seed)
    return directory


def test_what_is_made_can_be_loaded(tmp_path: Path) -> None:
    place = make(tmp_path / "node")
    assert load_genesis(place, "devnet") == GENESIS
    assert load_seed(place / "node.key") == SEEDS[4]
    assert load_config(place, environment={}, flags={}).settings == Settings()
    for name in ("node.key", "voting.key"):
        assert (place / name).stat().st_mode & 0o777 == 0o600


def test_the_journal_belongs_to_the_voting_key_from_the_beginning(tmp_path: Path) -> None:
    place = make(tmp_path / "node")
    key = load_voting_key(place)
    assert key is not None
    store = Store.open(place, GENESIS, voting_key=key.public_key)
    assert not store.has_amnesia
    store.close()
    with pytest.raises(LockstepError) as caught:
        Store.open(place, GENESIS, voting_key=SecretKey(SEEDS[1]).public_key)
    assert caught.value.code == "storage.foreign_key"


def test_a_follower_has_no_voting_key(tmp_path: Path) -> None:
    assert load_voting_key(make(tmp_path / "node", voting_seed=None)) is None


def test_nothing_is_written_over(tmp_path: Path) -> None:
    place = make(tmp_path / "node")
    with pytest.raises(LockstepError) as caught:
        make(place)
    assert caught.value.code == "node.exists"
    assert load_seed(place / "voting.key") == SEEDS[0]


class CutShort(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "site", ["settings.after", "node_key.after", "voting_key.after", "chain.after", "rename.before"]
)
def test_an_init_that_was_cut_short_is_no_node_and_is_begun_again(
    tmp_path: Path, site: str
) -> None:
    def cut(reached: str) -> None:
        if reached == f"init.{site}":
            raise CutShort

    forget = listen(cut)
    try:
        with pytest.raises(CutShort):
            make(tmp_path)
    finally:
        forget()
    with pytest.raises(LockstepError) as caught:
        load_config(tmp_path, environment={}, flags={})
    assert caught.value.code == "config.missing"
    make(tmp_path, voting_seed=SEEDS[1])
    assert load_seed(tmp_path / "voting.key") == SEEDS[1]
    key = SecretKey(SEEDS[1]).public_key
    store = Store.open(tmp_path, GENESIS, voting_key=key)
    assert not store.has_amnesia
    store.close()


def test_keys_are_kept_where_somebody_removed_the_settings(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "lockstep.toml").unlink()
    with pytest.raises(LockstepError) as caught:
        make(tmp_path, voting_seed=SEEDS[1])
    assert caught.value.code == "node.exists"
    assert load_seed(tmp_path / "voting.key") == SEEDS[0]


def test_two_inits_at_once_are_one(tmp_path: Path) -> None:
    second: list[str] = []

    def begin_again(reached: str) -> None:
        if reached == "init.node_key.after" and not second:
            with pytest.raises(LockstepError) as caught:
                make(tmp_path, voting_seed=SEEDS[1])
            second.append(caught.value.code)

    forget = listen(begin_again)
    try:
        make(tmp_path)
    finally:
        forget()
    assert second == ["node.exists"]
    assert load_seed(tmp_path / "voting.key") == SEEDS[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    place = make(tmp_path / "node")
    (place / "voting.key").chmod(mode)
    with pytest.raises(LockstepError) as caught:
        load_voting_key(place)
    assert caught.value.code == "key.permissions"


@pytest.mark.parametrize(
    "content", [b"", b"00" * 31 + b"\n", b"00" * 33 + b"\n", b"zz" * 32 + b"\n", b"\xff" * 64]
)
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(LockstepError) as caught:
        load_seed(path)
    assert caught.value.code == "key.malformed"


def test_another_networks_genesis_is_refused(tmp_path: Path) -> None:
    place = make(tmp_path / "node")
    with pytest.raises(LockstepError) as caught:
        load_genesis(place, "mainnet")
    assert caught.value.code == "genesis.wrong"
