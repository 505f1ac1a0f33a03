"""A real network of processes on loopback, judged from outside: a newcomer's first hour."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.alone

COMMAND = [sys.executable, "-m", "lockstep"]


class Desk:
    """A user's desk: an own runtime directory, a passphrase, and the command line."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        runtime = directory / "runtime"
        runtime.mkdir(mode=0o700)
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
        self.environment.pop("LOCKSTEP_DIR", None)
        self.passphrase = self.secret("passphrase", "correct horse")

    def secret(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return str(path)

    def run(self, *words: str, code: int = 0) -> Any:
        done = subprocess.run(
            [*COMMAND, *words, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a devnet, and return once its first payment is final."""
        process = subprocess.Popen(
            [*COMMAND, "devnet", *words, "--json"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if line.startswith("first payment"):
                return process
        raise AssertionError("".join(seen))

    def finish(self, process: "subprocess.Popen[str]") -> Any:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        return json.loads(out.splitlines()[-1])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def assert_true_in_every_field(result: Any) -> None:
    assert result["final"] == result["submitted"] > 0
    assert result["states_equal"] is True
    assert len(result["state_commitment"]) == 64
    assert result["supply_ok"] is True
    assert result["double_signs"] == 0
    assert result["final_lost"] == 0
    assert result["shutdown"] == "orderly"
    assert result["broken"] == []
    assert result["faults"] == []
    assert 0 < result["finality_ms"]["p50"] <= result["finality_ms"]["max"]
    assert result["height"]["min"] > 0
    assert result["verify_backend"]


def fetch(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as fault:
        return fault.code, fault.read()


def test_the_first_hour(desk: Desk) -> None:
    """Run, look, pay, restore, stop, and continue."""
    directory = str(desk.directory / "net")
    process = desk.start("--load", "50", "--dir", directory)
    status = desk.run("status")
    assert status["state"] == "well"
    assert [node["peers"] for node in status["nodes"]] == [3, 3, 3, 3]
    second = desk.run("devnet", "--dir", directory, "--for", "6", code=1)
    assert second["error"]["code"] == "storage.locked"

    new = ("wallet", "new", "--wallet", "mine", "--passphrase-file", desk.passphrase)
    made = desk.run(*new)
    words = desk.secret("words", made["words"])
    restored = desk.run(
        *("wallet", "restore", "--wallet", "copy", "--words-file", words),
        *("--passphrase-file", desk.passphrase),
    )
    assert restored["address"] == made["address"]
    assert desk.run("wallet", "address", "--wallet", "copy")["address"] == made["address"]
    paid = desk.run("wallet", "send", made["address"], "12.5")
    assert paid["final"] is True
    shown = desk.run("tx", "show", paid["txid"])
    assert shown["finality"]["final"] is True
    assert 1_250_000_000 in [row["amount_units"] for row in shown["transaction"]["vout"]]
    balance = desk.run("wallet", "balance", "--wallet", "copy")
    assert balance["confirmed_units"] + balance["incoming_units"] == 1_250_000_000
    wrong = desk.secret("wrong", "incorrect horse")
    refused = desk.run(
        *("wallet", "send", made["address"], "1", "--wallet", "mine"),
        *("--passphrase-file", wrong),
        code=1,
    )
    assert refused["error"]["code"] == "wallet.passphrase"

    ports = status["nodes"][0]["runtime"]
    code, body = fetch(f"http://127.0.0.1:{ports['rpc']}/readyz")
    assert (code, json.loads(body)["status"]) == (200, "ready")
    _, text = fetch(f"http://127.0.0.1:{ports['metrics']}/metrics")
    names = {family.name for family in text_string_to_metric_families(text.decode())}
    assert {"lockstep_height", "lockstep_finality_seconds", "lockstep_payments"} <= names

    # Not after a set time: how long all that took is the machine's affair.
    process.send_signal(signal.SIGINT)
    result = desk.finish(process)
    assert_true_in_every_field(result)
    assert result["closing_blocks"] >= 1
    assert desk.run("status", code=2)["state"] == "down"

    again = desk.run("devnet", "--dir", directory, "--for", "8")
    assert_true_in_every_field(again)
    assert again["height"]["min"] > result["height"]["max"]
    other = desk.run("devnet", "--dir", directory, "--nodes", "5", code=2)
    assert other["error"]["code"] == "devnet.options"


def test_killed_nodes_come_back_and_nothing_final_is_lost(desk: Desk) -> None:
    result = desk.run("devnet", "--for", "20", "--load", "50", "--kill-every", "5")
    assert_true_in_every_field(result)
    assert result["kills"] == 3
    assert "directory" not in result


def test_conflicts_and_weights(desk: Desk) -> None:
    result = desk.run(
        "devnet", "--for", "20", "--load", "20", "--double-spend", "5", "--weights", "4,3,2,2"
    )
    assert_true_in_every_field(result)
    assert result["weights"] == [4, 3, 2, 2]
    assert result["conflicts"] == {
        "pairs": 5,
        "both_final": 0,
        "unresolved": 0,
        "stuck_coins": 0,
    }


def test_without_a_quorum_nothing_is_final(desk: Desk) -> None:
    process = desk.start("--for", "30", "--stop-nodes", "2")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("stopped node"):
            break
    status = desk.run("status", code=1)
    running = [node for node in status["nodes"] if node["state"] != "down"]
    assert len(running) == 2
    code, body = fetch(f"http://127.0.0.1:{running[0]['runtime']['rpc']}/readyz")
    assert code == 503
    assert "no_quorum" in [reason["code"] for reason in json.loads(body)["reasons"]]
    result = desk.finish(process)
    assert_true_in_every_field(result)
    assert result["final_without_quorum"] == 0


def test_ctrl_c_is_orderly_and_a_node_that_dies_is_named(desk: Desk) -> None:
    process = desk.start("--nodes", "5", "--dir", str(desk.directory / "net"))
    status = desk.run("status")
    victim = status["nodes"][2]["runtime"]["pid"]
    # Only a child of the devnet started here may be killed.
    assert status["directory"] == str(desk.directory / "net")
    assert f"PPid:\t{process.pid}\n" in Path(f"/proc/{victim}/status").read_text()
    os.kill(victim, 9)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("node 2 ended"):
            break
    assert desk.run("status", code=1)["state"] == "degraded"
    process.send_signal(2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    result = json.loads(out.splitlines()[-1])
    assert result["shutdown"] == "orderly"
    assert result["broken"] == ["no_faults"]
    assert "node 2" in result["faults"][0]
    assert not any(Path(f"/proc/{node['runtime']['pid']}").exists() for node in status["nodes"])
