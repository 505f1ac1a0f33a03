"""Traces: the same world bit for bit, or the first line that is another one; bad files refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lockstep.cli.main import main
from lockstep.cli.sim_options import Asked
from lockstep.cli.sim_trace import run_one
from lockstep.replica import agreement
from lockstep.sim.outcome import Verdict

SEED = ("--seed", "3", "--nodes", "4", "--seconds", "8")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["sim", *words])
    return int(caught.value.code or 0), capsys.readouterr().out


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, out = run(capsys, *words, "--json")
    return code, json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "world.trace"
    outcome = run_one(3, Asked(nodes=4, seconds=8), trace=path, show=None)
    assert outcome.verdict is Verdict.PASS
    return path


@pytest.fixture
def trace(recorded: Path, tmp_path: Path) -> Path:
    path = tmp_path / "world.trace"
    shutil.copy(recorded, path)
    return path


def test_trace_holds_what_happened_between_two_ends(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    lines = trace.read_text().splitlines()
    header, footer = json.loads(lines[0]), json.loads(lines[-1])
    assert header["seed"] == 3
    assert header["options"]["seconds"] == 8
    assert footer["end_of_trace"] == len(lines) - 1
    recorded = footer["outcome"]
    _, again = answer(capsys, *SEED)
    assert recorded["trace_hash"] == again["trace_hash"]
    assert recorded["verdict"] == again["verdict"] == "pass"
    assert "precommit of node" in "\n".join(lines)


def test_two_recordings_are_one_file(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    other = trace.with_name("other.trace")
    run(capsys, *SEED, "--trace", str(other))
    assert other.read_bytes() == trace.read_bytes()


def test_replay_is_the_same_world_with_the_same_verdict(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    code, result = answer(capsys, "--replay", str(trace))
    assert (code, result["same"], result["verdict"], result["pass"]) == (0, True, "pass", 1)
    footer = json.loads(trace.read_text().splitlines()[-1])
    assert result["trace_hash"] == footer["outcome"]["trace_hash"]


def test_replay_of_a_failure_fails_with_its_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "split.trace"
    words = ("--seed", "2", "--nodes", "4", "--byzantine", "2", "--seconds", "20")
    _, recorded = answer(capsys, *words, "--trace", str(path))
    _, replayed = answer(capsys, "--replay", str(path))
    assert recorded["verdict"] == replayed["verdict"] == "diverged"
    first, second = recorded["failures"][0], replayed["failures"][0]
    assert (first["sentence"], first["culprits"]) == (second["sentence"], second["culprits"])
    _, again = answer(capsys, *second["reproduce"].split()[2:])
    assert again["trace_hash"] == recorded["trace_hash"]


def test_replay_by_another_core_names_the_first_line_that_differs(
    capsys: pytest.CaptureFixture[str], trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "RESEND_MS", 1_001)
    code, result = answer(capsys, "--replay", str(trace))
    assert (code, result["same"]) == (1, False)
    difference = result["difference"]
    recorded = trace.read_text().splitlines()[difference["line"] - 1]
    assert difference["recorded"] == recorded
    assert "timer resend 1/0 in 1000 ms" in recorded
    assert "timer resend 1/0 in 1001 ms" in difference["replayed"]


def without_end(text: str) -> str:
    return text[: text.rindex("\n", 0, -1) + 1]


def half_a_footer(text: str) -> str:
    return text[:-20]


def one_letter(text: str) -> str:
    return text.replace("prevote", "prevoTe", 1)


def one_line_less(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(lines[:9] + lines[10:])


def a_line_more(text: str) -> str:
    return text + "more\n"


def carriage_returns(text: str) -> str:
    return text.replace("\n", "\r\n")


def another_seed(text: str) -> str:
    return text.replace('"seed":3', '"seed":4', 1)


def unknown_option(text: str) -> str:
    return text.replace('"options":{', '"options":{"moon_phase":1,', 1)


def senseless_option(text: str) -> str:
    return text.replace('"seconds":8', '"seconds":"8"', 1)


def newer_format(text: str) -> str:
    return text.replace('{"lockstep_trace":1', '{"lockstep_trace":2', 1)


def another_release(text: str) -> str:
    return text.replace('"lockstep":"', '"lockstep":"9.', 1)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (without_end, "sim.trace_cut"),
        (half_a_footer, "sim.trace_cut"),
        (lambda text: text[: len(text) // 2], "sim.trace_cut"),
        (one_letter, "sim.trace_damaged"),
        (one_line_less, "sim.trace_damaged"),
        (a_line_more, "sim.trace_damaged"),
        (carriage_returns, "sim.trace_damaged"),
        (another_seed, "sim.trace_damaged"),
        (unknown_option, "sim.trace_damaged"),
        (senseless_option, "sim.trace_damaged"),
        (newer_format, "sim.trace_version"),
        (another_release, "sim.trace_version"),
        (lambda text: "", "sim.no_trace"),
        (lambda text: "\x00\x01 a picture \x7f", "sim.no_trace"),
    ],
)
def test_bad_file_is_refused_with_a_sentence(
    capsys: pytest.CaptureFixture[str], trace: Path, spoil: Callable[[str], str], code: str
) -> None:
    trace.write_bytes(spoil(trace.read_bytes().decode()).encode())
    exit_code, result = answer(capsys, "--replay", str(trace))
    assert exit_code == 1
    assert result["error"]["code"] == code
    assert result["error"]["message"]


def test_bytes_that_are_no_text_are_damage(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    data = bytearray(trace.read_bytes())
    data[len(data) // 2] = 0xFF
    trace.write_bytes(data)
    assert answer(capsys, "--replay", str(trace))[1]["error"]["code"] == "sim.trace_damaged"


def test_missing_file_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, result = answer(capsys, "--replay", str(tmp_path / "none"))
    assert (code, result["error"]["code"]) == (1, "sim.trace_file")


@pytest.mark.slow
def test_timeline_has_headings_and_keeps_to_its_window(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    code, out = run(capsys, *SEED, "--show")
    assert code == 0
    for words in ("-- height 1, decided in round", "-- epoch 1 begins", "world   end of faults"):
        assert words in out
    assert "node2   writes precommit of node2 at" in out
    window = ("--node", "2", "--from", "1", "--to", "5")
    code, part = run(capsys, "--replay", str(trace), "--show", *window)
    told = [line for line in part.splitlines() if line[:1] == " "]
    assert code == 0
    assert told
    assert {line.split()[1] for line in told} <= {"node2", "world"}
    assert all(1 <= float(line.split()[0]) <= 5 for line in told)
    assert set(told) <= set(out.splitlines())
