"""Settings: what goes before what, and every wrong one refused by name before anything starts."""

from pathlib import Path

import pytest

from lockstep.crypto.keys import SecretKey
from lockstep.errors import LockstepError
from lockstep.node.config import EXPLAINED, NodeConfig, Settings, format_settings, load_config


def load(directory: Path, text: str = "", **layers: dict[str, str]) -> NodeConfig:
    (directory / "lockstep.toml").write_text(text, "utf-8")
    return load_config(
        directory, environment=layers.get("environment", {}), flags=layers.get("flags", {})
    )


def test_every_name_is_explained_and_the_written_file_reads_as_what_was_written(
    tmp_path: Path,
) -> None:
    settings = Settings(
        network="testnet",
        p2p_listen="[::1]:5",
        rpc_listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:7",
        peers=("a.example:1", "[::2]:2"),
        followers=(SecretKey(bytes(32)).public_key.hex(),),
        log_level="debug",
    )
    assert tuple(EXPLAINED) == Settings.__struct_fields__
    config = load(tmp_path, format_settings(settings))
    assert config.settings == settings
    assert (config.p2p, config.rpc, config.metrics) == (
        ("::1", 5),
        ("127.0.0.1", 0),
        ("127.0.0.1", 7),
    )
    assert config.peers == (("a.example", 1), ("::2", 2))
    assert config.followers == (SecretKey(bytes(32)).public_key,)
    assert load(tmp_path, format_settings(Settings())) == load(tmp_path)


def test_flags_go_before_the_environment_before_the_file(tmp_path: Path) -> None:
    text = 'p2p_listen = "127.0.0.1:1"\nrpc_listen = "127.0.0.1:1"\nlog_level = "error"'
    environment = {
        "LOCKSTEP_P2P_LISTEN": "127.0.0.1:2",
        "LOCKSTEP_RPC_LISTEN": "127.0.0.1:2",
        "LOCKSTEP_PEERS": "a:1, b:2",
        "LOCKSTEP_DIR": "elsewhere",
    }
    config = load(tmp_path, text, environment=environment, flags={"p2p_listen": "127.0.0.1:3"})
    assert (config.p2p[1], config.rpc[1], config.settings.log_level) == (3, 2, "error")
    assert config.peers == (("a", 1), ("b", 2))


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ('p2p_listn = "127.0.0.1:1"', "config.unknown", "p2p_listn"),
        ("p2p_listen = 5", "config.value", "p2p_listen"),
        ('p2p_listen = "127.0.0.1"', "config.value", "p2p_listen"),
        ('p2p_listen = "127.0.0.1:65536"', "config.value", "p2p_listen"),
        ('p2p_listen = "127.0.0.1:-1"', "config.value", "p2p_listen"),
        ('peers = ["a:1", ":2"]', "config.value", "peers"),
        ('peers = "a:1"', "config.value", "peers"),
        ('followers = ["zz"]', "config.value", "followers"),
        ('followers = ["00"]', "config.value", "followers"),
        ('network = "moonnet"', "config.value", "network"),
        ('verify_backend = "magic"', "config.value", "verify_backend"),
        ('log_level = "chatty"', "config.value", "log_level"),
        ('rpc_listen = "0.0.0.0:1"', "config.not_loopback", "rpc_listen"),
        ('metrics_listen = "192.0.2.1:1"', "config.not_loopback", "metrics_listen"),
        ('rpc_listen = "node.example:1"', "config.value", "rpc_listen"),
        ("p2p_listen = ", "config.value", "lockstep.toml"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    tmp_path: Path, text: str, code: str, named: str
) -> None:
    with pytest.raises(LockstepError, match=named) as caught:
        load(tmp_path, text)
    assert caught.value.code == code


def test_a_directory_without_settings_is_no_node(tmp_path: Path) -> None:
    with pytest.raises(LockstepError) as caught:
        load_config(tmp_path, environment={}, flags={})
    assert caught.value.code == "config.missing"
