"""The installer: what is only faster may be missing, what is needed may not."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return requirements/install.py with an environment of its own."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "requirements" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    return module


def refuse(monkeypatch: pytest.MonkeyPatch, installer: ModuleType, *names: str) -> list[list[str]]:
    """Let pip fail where one of these lock files is asked for; return what it is asked for."""
    asked: list[list[str]] = []

    def run_pip(locks: Sequence[Path]) -> str | None:
        asked.append([lock.stem for lock in locks])
        return "no wheel here" if set(names) & set(asked[-1]) else None

    monkeypatch.setattr(installer, "run_pip", run_pip)
    return asked


def locks() -> list[Path]:
    return [ROOT / "requirements" / f"{name}.txt" for name in ("run", "fast")]


def test_without_the_fast_packages_all_else_is_installed_and_not_tried_again(
    installer: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = refuse(monkeypatch, installer, "fast")
    installer.install(locks())
    assert asked == [["run", "fast"], ["run"]]
    assert "fast.txt was not installed: all works without it" in capsys.readouterr().err
    for lock in locks():
        assert (tmp_path / f"installed-{lock.name}").read_bytes() == lock.read_bytes()


def test_without_the_needed_packages_nothing_is_ready(
    installer: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refuse(monkeypatch, installer, "run")
    with pytest.raises(SystemExit, match="were not installed"):
        installer.install(locks())
    assert "no wheel here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_all_at_once_where_all_is_there(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = refuse(monkeypatch, installer)
    installer.install(locks())
    assert asked == [["run", "fast"]]
    assert len(list(tmp_path.iterdir())) == 2
