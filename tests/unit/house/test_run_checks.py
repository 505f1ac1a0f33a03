"""The runner of the checks: a run that proves nothing must count as failed."""

import os
from pathlib import Path

import pytest

import run_checks
from run_checks import Step, Suite, run_steps, run_suite

SETTINGS = "[pytest]\nmarkers =\n    slow: x\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty checkout that the runner takes for its own."""
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    monkeypatch.setattr(run_checks, "ROOT", tmp_path)
    monkeypatch.setattr(run_checks, "CACHE", tmp_path / "cache")
    return tmp_path


def outcome(checkout: Path, text: str, *, markers: str = "", limit_s: int = 60) -> tuple[int, ...]:
    (checkout / "test_it.py").write_text(text)
    suite = Suite(name="it", markers=markers, mode="quick", workers=0, limit_s=limit_s)
    (result,) = run_suite(suite, os.environ, checkout)
    return (result.passed, result.failed, result.skipped)


def test_tests_are_counted_one_by_one(checkout: Path) -> None:
    text = "import pytest\ndef test_a(): pass\ndef test_b(): pass\ndef test_c(): assert 0\n"
    text += "def test_d(): pytest.skip('no')\n"
    assert outcome(checkout, text) == (2, 1, 1)


def test_selection_without_tests_is_a_failure(checkout: Path) -> None:
    assert outcome(checkout, "def test_a(): pass", markers="slow") == (0, 1, 0)


@pytest.mark.slow
def test_only_skipped_tests_are_a_failure(checkout: Path) -> None:
    assert outcome(checkout, "import pytest\ndef test_a(): pytest.skip('no')") == (0, 1, 1)


def test_crash_is_a_failure(checkout: Path) -> None:
    text = "import os\ndef test_a(): pass\ndef test_b(): os._exit(0)"
    assert outcome(checkout, text) == (0, 1, 0)


@pytest.mark.slow
def test_file_that_cannot_be_read_is_a_failure(checkout: Path) -> None:
    assert outcome(checkout, "import nothing_of_this_name")[1] == 1


@pytest.mark.slow
def test_hang_ends_with_all_it_started(checkout: Path) -> None:
    text = (
        "import subprocess, time, pathlib\n"
        "def test_a():\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        "    pathlib.Path('pid').write_text(str(child.pid))\n"
        "    child.wait()\n"
    )
    assert outcome(checkout, text, limit_s=20) == (0, 1, 0)
    state = Path("/proc") / (checkout / "pid").read_text() / "stat"
    assert not state.exists() or " Z " in state.read_text()


@pytest.mark.parametrize(("code", "failed"), [("0", 0), ("3", 1)])
def test_step_passes_or_fails(checkout: Path, code: str, failed: int) -> None:
    step = Step(name="it", arguments=("-c", f"raise SystemExit({code})"))
    (result,) = run_steps([step], os.environ, checkout)
    assert (result.passed, result.failed) == (1 - failed, failed)


def test_steps_run_at_once_and_speak_in_order(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each waits for the other: one after the other they would never end."""
    program = (
        "import pathlib, sys, time; own, other = sys.argv[1:]; pathlib.Path(own).touch()\n"
        "while not pathlib.Path(other).exists(): time.sleep(0.01)\n"
        "print(own, 'ends')"
    )
    pairs = (("first", "second"), ("second", "first"))
    steps = [Step(name=own, arguments=("-c", program, own, other)) for own, other in pairs]
    results = run_steps(steps, os.environ, checkout)
    assert [(result.name, result.passed) for result in results] == [("first", 1), ("second", 1)]
    said = capsys.readouterr().out
    assert said.split("\n") == ["", "== first", "first ends", "", "== second", "second ends", ""]


@pytest.mark.slow
def test_a_suite_beside_another_runs_at_lowest_priority_and_counts(checkout: Path) -> None:
    text = (
        "import os, pathlib, pytest, time\n"
        "def wait(name):\n"
        "    while not pathlib.Path(name).exists(): time.sleep(0.01)\n"
        "def test_first():\n"
        "    pathlib.Path('first').touch(); wait('second')\n"
        "    assert os.getpriority(os.PRIO_PROCESS, 0) < 19\n"
        "@pytest.mark.slow\n"
        "def test_second():\n"
        "    pathlib.Path('second').touch(); wait('first')\n"
        "    assert os.getpriority(os.PRIO_PROCESS, 0) == 19\n"
        "    assert 0\n"
    )
    (checkout / "test_it.py").write_text(text)
    beside = Suite(name="beside", markers="slow", mode="quick", workers=0, limit_s=60)
    suite = Suite(name="it", markers="not slow", mode="quick", workers=0, limit_s=60, beside=beside)
    results = run_suite(suite, os.environ, checkout)
    assert [(r.name, r.passed, r.failed) for r in results] == [("it", 1, 0), ("beside", 0, 1)]
