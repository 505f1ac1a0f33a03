"""One real node process: up, asked, refused, and stopped in good order, from outside only [D4]."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockstep.client.sync_client import SyncRpcClient
from lockstep.crypto.keys import SecretKey
from lockstep.node.config import Settings
from lockstep.node.datadir import init_node
from lockstep.primitives.genesis import Genesis, GenesisMember

pytestmark = pytest.mark.slow

START_S_MAX = 20.0
STOP_S_MAX = 10.0
SEEDS = [bytes([i]) * 32 for i in range(1, 9)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    members = tuple(
        GenesisMember(SecretKey(v).public_key, SecretKey(n).public_key, 1, bytes(32))
        for v, n in zip(SEEDS[:4], SEEDS[4:], strict=True)
    )
    place = tmp_path / "node"
    init_node(
        place,
        Genesis(1, "devnet", time.time_ns() // 1_000_000, 10, 100, 200, members, ()),
        settings=Settings(p2p_listen="127.0.0.1:0", rpc_listen="127.0.0.1:0"),
        node_seed=SEEDS[4],
        voting_seed=SEEDS[0],
    )
    return place


def command(directory: Path, *options: str) -> list[str]:
    return [sys.executable, *options, "-m", "lockstep", "node", "--dir", str(directory)]


@contextmanager
def running(directory: Path) -> Iterator[tuple["subprocess.Popen[str]", SyncRpcClient]]:
    process = subprocess.Popen(command(directory), stderr=subprocess.PIPE, text=True)
    try:
        runtime = directory / "node.json"
        end = time.monotonic() + START_S_MAX
        while not runtime.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        facts = json.loads(runtime.read_text())
        assert facts["pid"] == process.pid
        with SyncRpcClient("127.0.0.1", facts["rpc"], directory / ".cookie") as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def assert_orderly(process: "subprocess.Popen[str]", directory: Path) -> None:
    started = time.monotonic()
    assert process.wait(STOP_S_MAX) == 0
    assert time.monotonic() - started < STOP_S_MAX
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert not (directory / "node.json").exists()
    assert not (directory / ".cookie").exists()
    log = (directory / "log" / "node.log").read_text().splitlines()
    assert json.loads(log[-1])["event"] == "stopped"


def test_a_lone_node_says_why_it_is_not_ready_and_stops_when_told(directory: Path) -> None:
    with running(directory) as (process, client):
        status, body = client.get("/readyz")
        assert status == 503
        assert [reason["code"] for reason in json.loads(body)["reasons"]] == ["asking", "no_quorum"]
        assert client.get("/livez")[0] == 200
        assert b"lockstep_height 0.0" in client.get("/metrics")[1]
        second = subprocess.run(command(directory), capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"error: the process {process.pid} is using" in second.stderr
        assert "(storage.locked)" in second.stderr
        assert "Traceback" not in second.stderr
        client.call("stop")
        assert_orderly(process, directory)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_good_order_and_the_next_start_goes_on(
    directory: Path, number: signal.Signals
) -> None:
    for _ in range(2):
        with running(directory) as (process, _):
            process.send_signal(number)
            assert_orderly(process, directory)


def test_a_second_signal_ends_the_process_at_once(directory: Path) -> None:
    with running(directory) as (process, _):
        os.kill(process.pid, signal.SIGSTOP)
        # Two different signals, because two of a kind that wait are one.
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(STOP_S_MAX) in {130, 143}


def test_a_bad_start_is_one_sentence_and_a_code(directory: Path) -> None:
    (directory / "voting.key").chmod(0o644)
    loose = subprocess.run(command(directory), capture_output=True, text=True, check=False)
    (directory / "voting.key").chmod(0o600)
    optimised = subprocess.run(
        command(directory, "-O"), capture_output=True, text=True, check=False
    )
    (directory / "lockstep.toml").write_text('colour = "red"\n')
    unknown = subprocess.run(command(directory), capture_output=True, text=True, check=False)
    for result, code in (
        (loose, "key.permissions"),
        (optimised, "node.optimised"),
        (unknown, "config.unknown"),
    ):
        assert result.returncode == 1
        error, hint = result.stderr.splitlines()
        assert error.startswith("error: ")
        assert error.endswith(f"({code})")
        assert hint.startswith("hint: ")
