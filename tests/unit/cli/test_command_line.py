"""The command line from outside: exit codes, errors, secrets, wallets; no node is started."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rich_click as click
from hypothesis import given
from hypothesis import strategies as st

from lockstep.cli.amounts import MalformedAmount, format_amount, parse_amount
from lockstep.cli.main import COMMANDS, lockstep, main
from lockstep.primitives.params import SUPPLY_MAX

WORDS = " ".join(["abandon"] * 23 + ["art"])


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no devnet of this machine be found."""
    for name in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("LOCKSTEP_DIR", "LOCKSTEP_WALLET"):
        monkeypatch.delenv(name, raising=False)


class Run:
    """Runs commands and hands back what they wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        out, err = self._capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int)
        return code, out, err

    def fails(self, *words: str) -> tuple[int, dict[str, str]]:
        """Run with --json and return exit code and error; see that the plain form says the same."""
        plain_code, plain_out, plain_err = self(*words)
        code, out, _ = self(*words, "--json")
        error: dict[str, str] = json.loads(out)["error"]
        assert set(error) == {"code", "message", "hint"}
        assert plain_code == code
        assert not plain_out
        assert plain_err.startswith(f"error: {error['message']} ({error['code']})\n")
        return code, error

    def succeeds(self, *words: str) -> Any:
        """Run with --json and return the result."""
        code, out, err = self(*words, "--json")
        assert code == 0, out + err
        return json.loads(out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def passphrase(tmp_path: Path) -> str:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return str(path)


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_every_command_has_json_and_an_example() -> None:
    assert isinstance(lockstep, click.Group)
    found = dict(commands(lockstep))
    assert {name.split()[0] for name in found} == set(COMMANDS)
    for name, command in found.items():
        options = {text for option in command.params for text in option.opts}
        # A node answers by its exit code and its log.
        assert "--json" in options or name == "node", name
        assert "Example" in (command.help or ""), name
        assert f"lockstep {name}" in (command.help or ""), name


def test_a_trivial_command_imports_little() -> None:
    code = (
        "import sys; from lockstep.cli.main import main\n"
        "try: main(['--version'])\n"
        "finally: print([m for m in sys.modules if m.split('.')[0] in ('rich', 'aiohttp', 'lmdb',"
        " 'nacl', 'uvloop', 'asyncio')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lockstep, version ")
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("devnet", "--nodes", "none"),
        ("devnet", "--nodes", "3"),
        ("devnet", "--weights", "1,2"),
        ("devnet", "--weights", "1,2,3,x"),
        ("devnet", "--nodes", "5", "--weights", "1,1,1,1"),
        ("devnet", "--for", "2"),
        ("devnet", "--stop-nodes", "2"),
        ("devnet", "--for", "60", "--kill-every", "1"),
        ("wallet", "send", "dls1"),
        ("tx", "show"),
    ],
)
def test_wrong_usage_is_2(run: Run, words: tuple[str, ...]) -> None:
    code, error = run.fails(*words)
    assert code == 2
    assert error["code"] in {"usage", "devnet.options"}
    assert error["hint"]


def test_a_directory_that_is_no_devnet_is_not_touched(run: Run, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    code, error = run.fails("devnet", "--dir", str(tmp_path / "precious"), "--for", "6")
    assert (code, error["code"]) == (2, "devnet.options")
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["file"]


def test_without_a_network(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.fails("status")[0] == 2
    assert run.fails("tx", "show", "00" * 32) == run.fails("tx", "show", "00" * 32)
    assert run.fails("tx", "show", "00" * 32)[1]["code"] == "place.none"
    monkeypatch.setenv("LOCKSTEP_DIR", str(tmp_path))
    assert run.fails("wallet", "balance")[1]["code"] == "place.unknown"
    (tmp_path / "lockstep.toml").write_text("")
    assert run.fails("tx", "show", "00" * 32)[1]["code"] == "node.down"
    assert run.fails("stop")[1]["code"] == "node.down"
    code, out, _ = run("status", "--json")
    assert (code, json.loads(out)["state"]) == (2, "down")


def test_wallet_new_restore_and_addresses(run: Run, tmp_path: Path, passphrase: str) -> None:
    file = str(tmp_path / "a.wallet")
    made = run.succeeds("wallet", "new", "--wallet", file, "--passphrase-file", passphrase)
    words = tmp_path / "words"
    words.write_text(made["words"].upper() + "\n")
    words.chmod(0o600)
    again = str(tmp_path / "b.wallet")
    run.succeeds(
        *("wallet", "restore", "--wallet", again, "--words-file", str(words)),
        *("--passphrase-file", passphrase),
    )
    first = run.succeeds("wallet", "address", "--all", "--wallet", file)
    second = run.succeeds("wallet", "address", "--all", "--wallet", again)
    assert first["addresses"] == second["addresses"]
    assert first["addresses"][0] == made["address"] == first["address"]
    # One word alone may stand in the file by chance: "work" does, in "network".
    assert " ".join(made["words"].split()[:2]) not in Path(file).read_text()
    code, error = run.fails("wallet", "new", "--wallet", file, "--passphrase-file", passphrase)
    assert (code, error["code"]) == (1, "wallet.exists")


def test_wallets_without_a_name_get_free_ones(run: Run, passphrase: str) -> None:
    made = [run.succeeds("wallet", "new", "--passphrase-file", passphrase) for _ in range(2)]
    assert [Path(row["wallet"]).name for row in made] == ["wallet.wallet", "wallet-2.wallet"]
    assert run.succeeds("wallet", "address")["address"] == made[0]["address"]
    assert (
        run.succeeds("wallet", "address", "--wallet", "wallet-2")["address"] == (made[1]["address"])
    )
    assert run.fails("wallet", "address", "--wallet", "none")[1]["code"] == "wallet.missing"


def test_secrets_from_descriptors_and_loose_files(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "a.wallet")
    words, passphrase = os.pipe(), os.pipe()
    os.write(words[1], WORDS.encode())
    os.write(passphrase[1], b"pass\n")
    os.close(words[1])
    os.close(passphrase[1])
    restore = ("wallet", "restore", "--wallet", file)
    made = run.succeeds(
        *restore, "--words-fd", str(words[0]), "--passphrase-fd", str(passphrase[0])
    )
    assert made["address"].startswith("dls1")
    loose = tmp_path / "loose"
    loose.write_text(WORDS)
    loose.chmod(0o640)
    new = ("wallet", "new", "--wallet", str(tmp_path / "c.wallet"))
    assert run.fails(*restore[:-1], str(tmp_path / "c.wallet"), "--words-file", str(loose))[1][
        "code"
    ] == ("wallet.permissions")
    assert run.fails(*new, "--passphrase-file", str(loose))[1]["code"] == "wallet.permissions"
    assert run.fails(*new, "--passphrase-file", str(loose), "--passphrase-fd", "0")[0] == 2
    assert run.fails(*new, "--passphrase-file", str(tmp_path / "no"))[1]["code"] == (
        "secret.unavailable"
    )
    assert run.fails(*new)[1]["code"] == "secret.unavailable"
    assert not (tmp_path / "c.wallet").exists()


@given(st.integers(0, SUPPLY_MAX))
def test_amounts_are_exact(units: int) -> None:
    text = format_amount(units)
    assert parse_amount(text) == units
    assert parse_amount(text.rstrip("0").rstrip(".")) == units


@pytest.mark.parametrize(
    "text", ["", "1.", ".5", "1e3", "-1", "+1", "1,5", "0.123456789", "1 ", "\u0661", "10000000001"]
)
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(MalformedAmount):
        parse_amount(text)


def test_amounts_by_hand() -> None:
    assert parse_amount("12.5") == 1_250_000_000
    assert parse_amount("0.00000546") == 546
    assert parse_amount("7") == 700_000_000
