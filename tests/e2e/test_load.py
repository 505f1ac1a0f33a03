"""`lockstep load` with real nodes: what it measures, and that it never ends without a report."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from e2e.test_devnet import COMMAND, Desk
from lockstep.primitives.genesis import format_genesis, parse_genesis

pytestmark = pytest.mark.alone

MIX = "one=50,two=10,chained=20,conflicting=10,multisig=10"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_mix_through_a_network_of_its_own(desk: Desk, tmp_path: Path) -> None:
    picture = tmp_path / "load.svg"
    result = desk.run(
        *("load", "--devnet", "4", "--rate", "200", "--for", "6", "--mix", MIX),
        *("--plot", str(picture), "--report", str(tmp_path / "load.json")),
    )
    assert result == read(tmp_path / "load.json")
    [step] = result["steps"]
    # A tenth are rivals, who are not counted.
    assert 1_000 <= step["submitted"] <= 1_085
    assert step["final"] == step["submitted"]
    assert step["missing"] == step["unheard"] == 0
    assert step["refused"] == {}
    # In a hundred payments 90 count: 10 of two inputs and 10 of two keys have two signatures.
    assert result["signatures_per_tx"] == pytest.approx(110 / 90, abs=0.03)
    assert 55 <= result["conflicts"]["pairs"] <= 60
    assert result["conflicts"]["both_final"] == result["conflicts"]["stuck_coins"] == 0
    assert result["states_equal"] is True
    assert result["synced"] is True
    assert result["alarms"] == result["shutdown_faults"] == result["crashed"] == []
    times = result["finality_ms"]
    assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["max"]
    assert result["cpu_us_per_tx_node"] > result["us_per_signature"] > 0
    assert 0 < result["verify_share"] < 1
    assert 0 < result["limit_share"] < 1
    assert result["rss_mb"]["max"] > 20
    assert result["loop_lag_ms"]["p99"] > 0
    assert result["load_cpu_s"] > 0
    assert ET.parse(picture).getroot().tag.endswith("svg")


def test_bad_input_has_an_error_a_next_step_and_a_report(desk: Desk, tmp_path: Path) -> None:
    directory = tmp_path / "net"
    devnet = desk.start("--dir", str(directory))
    status = desk.run("status")
    address = f"http://127.0.0.1:{status['nodes'][0]['runtime']['rpc']}"
    cookie = str(directory / "node0" / ".cookie")
    paid = ("--dir", str(directory), "--rate", "50", "--for", "3")
    named = ("--rpc", address, "--cookie", cookie, *paid)
    written = tmp_path / "report.json"

    def refused(*words: str) -> str:
        result = desk.run("load", *words, "--report", str(written), code=1)
        assert result == read(written)
        assert result["cut_short"] is True
        assert result["error"]["message"]
        assert result["error"]["hint"]
        code: str = result["error"]["code"]
        return code

    good = desk.run("load", *named, "--genesis", str(directory / "genesis.json"))
    assert good["states_equal"] is True
    assert good["steps"][0]["final"] == 150
    assert good["limit_share"] is None, "whose cores a remote node has is not known"

    genesis = parse_genesis((directory / "genesis.json").read_bytes())
    other = tmp_path / "other.json"
    other.write_bytes(format_genesis(msgspec.structs.replace(genesis, time_ms=1)))
    assert refused("--genesis", str(other), *named) == "load.chain"

    nobody = ("--rpc", "http://127.0.0.1:9", "--cookie", cookie, *paid)
    assert refused(*nobody) == "client.unreachable"

    desk.run("wallet", "new", "--wallet", "empty", "--passphrase-file", desk.passphrase)
    empty = ("--wallet", "empty", "--passphrase-file", desk.passphrase)
    assert refused(*empty, *paid) == "load.funds"

    wrong = desk.run("load", "--dir", str(directory), code=2)
    assert wrong["error"]["code"] == "load.options"

    interrupted = interrupt_load(desk, directory, written)
    assert interrupted["cut_short_because"] == "interrupted"
    assert interrupted["steps"][0]["final"] > 0
    assert interrupted["states_equal"] is True

    killed = interrupt_load(desk, directory, written, victim=status["nodes"][3]["runtime"]["pid"])
    assert "no notices" in killed["cut_short_because"]
    assert killed["steps"] == [] or killed["steps"][0]["cut_short"]
    devnet.send_signal(signal.SIGINT)
    out, err = devnet.communicate(timeout=120)
    assert json.loads(out.splitlines()[-1])["states_equal"] is True, err


def interrupt_load(desk: Desk, directory: Path, written: Path, victim: int = 0) -> Any:
    """Start a long load; interrupt it, or kill a node, once payments are final."""
    written.unlink(missing_ok=True)
    process = subprocess.Popen(
        [
            *(*COMMAND, "load", "--dir", str(directory), "--rate", "50", "--for", "60"),
            *("--report", str(written), "--json"),
        ],
        env=desk.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " of 60 s, " in line and not line.startswith("0 of"):
            break
    if victim:
        os.kill(victim, signal.SIGKILL)
    else:
        process.send_signal(signal.SIGINT)
    start_s = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - start_s < 40, "a load that is stopped ends soon"
    assert process.returncode == 1, out + err
    result = json.loads(out.splitlines()[-1])
    assert result == read(written)
    assert result["cut_short"] is True
    return result
