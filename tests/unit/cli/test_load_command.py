"""`lockstep load` refuses what makes no sense before it starts anything."""

import json
from pathlib import Path

import pytest

from lockstep.cli.main import main


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "load.options"),
        (("--rate", "5", "--saturate"), "load.options"),
        (("--closed", "5", "--overload", "4"), "load.options"),
        (("--rate", "5", "--dir", "."), "load.options"),
        (("--rate", "5", "--rpc", "http://127.0.0.1:1"), "load.options"),
        (("--rate", "5", "--mix", "gold=1"), "load.mix"),
        (("--ramp", "5"), "load.ramp"),
        (("--rate", "5", "--plot", "load.png"), "usage"),
        (("--rate", "5", "--report", "nowhere/load.json"), "usage"),
        (("--rate", "0"), "usage"),
    ],
)
def test_wrong_usage(
    words: tuple[str, ...],
    code: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["load", "--devnet", "4", *words, "--json"])
    assert caught.value.code == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == code
    assert error["message"]
    assert not list(tmp_path.iterdir())
