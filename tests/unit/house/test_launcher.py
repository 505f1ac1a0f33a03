"""The launcher on machines where something is missing, and called in unusual ways."""

import os
import subprocess
from pathlib import Path

import pytest

import lockstep

ROOT = Path(__file__).resolve().parents[3]


def make_python(path: Path, *, version: str, has_venv: bool = True) -> Path:
    """Make a program that answers the launcher's questions as such a Python would."""
    new_enough = tuple(map(int, version.split("."))) >= (3, 11)
    path.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        f'*join*) echo "{version}" ;;\n'
        f"*exit*) exit {int(not new_enough)} ;;\n"
        f"*ensurepip*) exit {int(not has_venv)} ;;\n"
        "esac\n"
    )
    path.chmod(0o755)
    return path


def find_python(**environment: str) -> subprocess.CompletedProcess[str]:
    """Ask ready.sh which Python it would take."""
    return subprocess.run(
        ["/bin/sh", "-c", f"set -eu; . '{ROOT}/requirements/ready.sh'; find_python"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_newest_known_python_is_taken(tmp_path: Path) -> None:
    make_python(tmp_path / "python3.12", version="3.12.4")
    make_python(tmp_path / "python3", version="3.9.2")
    found = find_python(PATH=str(tmp_path))
    assert (found.returncode, found.stdout) == (0, "python3.12\n")


def test_one_without_venv_is_passed_over(tmp_path: Path) -> None:
    make_python(tmp_path / "python3.13", version="3.13.0", has_venv=False)
    make_python(tmp_path / "python3.11", version="3.11.2")
    assert find_python(PATH=str(tmp_path)).stdout == "python3.11\n"


@pytest.mark.parametrize(
    ("version", "has_venv", "words"),
    [
        ("3.10.12", True, "is Python 3.10.12, which is too old: install Python 3.11 or newer"),
        ("3.11.2", False, "is Python 3.11.2 but has no venv module: install it"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    tmp_path: Path, version: str, has_venv: bool, words: str
) -> None:
    python = make_python(tmp_path / "a python", version=version, has_venv=has_venv)
    for asked in ({"LOCKSTEP_PYTHON": str(python)}, {}):
        if not asked:
            python.rename(tmp_path / "python3")
        found = find_python(PATH=str(tmp_path), **asked)
        assert (found.returncode, found.stdout) == (1, "")
        assert words in found.stderr
        assert found.stderr.count("\n") == 1


def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    found = find_python(PATH=str(tmp_path))
    assert found.returncode == 1
    assert "no Python was found: install Python 3.11 or newer" in found.stderr


def test_launcher_works_through_links_and_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('a file of the user was imported')")
    (tmp_path / "far").symlink_to(ROOT / "lockstep")
    (tmp_path / "near").symlink_to("far")
    found = subprocess.run(
        ["./near", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": "/usr/bin:/bin"},
    )
    assert found.returncode == 0, found.stderr
    assert lockstep.__version__ in found.stdout
