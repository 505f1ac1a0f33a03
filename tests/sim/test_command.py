"""`lockstep sim`: what it answers, and that a seed that fails makes the command fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from lockstep.cli.main import main
from lockstep.consensus.finality import TransactionFinality

SHORT = ("--seconds", "8", "--jobs", "1")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["sim", *words])
    written = capsys.readouterr()
    return int(caught.value.code or 0), written.out, written.err


def test_seeds_are_counted_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--seeds", "3:5", "--weights", "4,3,2,2", "--json", *SHORT)
    result: dict[str, Any] = json.loads(out)
    assert code == 0
    assert (result["seeds"], result["pass"], result["stuck"], result["diverged"]) == (2, 2, 0, 0)
    assert result["counters"]["blocks"] > 0
    assert result["failures"] == []


def test_failing_seed_fails_the_command_and_says_how_to_see_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: a fault that is always there must always be reported."""
    monkeypatch.setattr(TransactionFinality, "lock", lambda *_: True)
    code, out, err = run(capsys, "--seeds", "0:2", "--nodes", "5", "--json", *SHORT)
    result = json.loads(out)
    assert code == 1
    assert result["diverged"] == 2
    failure = result["failures"][0]
    assert "one promise" in failure["sentence"]
    reproduce = "lockstep sim --seed 0 --nodes 5 --seconds 8 --trace world.txt"
    assert failure["reproduce"] == reproduce
    assert reproduce in err


def test_trace_is_written_and_names_the_world(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "world.txt"
    code, out, _ = run(capsys, "--seed", "3", "--seconds", "8", "--trace", str(file), "--json")
    assert code == 0
    again = run(capsys, "--seed", "3", "--json", *SHORT)[1]
    assert json.loads(out)["trace_hash"] == json.loads(again)["trace_hash"]
    assert "precommit of" in file.read_text()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--seed", "1", "--seeds", "1:2"),
        ("--seeds", "5:5"),
        ("--seeds", "a:b"),
        ("--seed", "1", "--weights", "1,1,1"),
        ("--seed", "1", "--weights", "1,1,0,1"),
        ("--seed", "1", "--weights", "1,1,1,1", "--nodes", "5"),
        ("--seeds", "0:2", "--trace", "world.txt"),
    ],
)
def test_senseless_words_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "usage"
