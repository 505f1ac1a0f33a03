"""Every promise can be broken, ports that are taken are not used, and a place is found in order."""

import io
from pathlib import Path
from typing import Any

import pytest

from lockstep.devnet.place import (
    NoNetwork,
    UnknownPlace,
    find_place,
    forget_last_devnet,
    runtime_file,
    write_last_devnet,
)
from lockstep.devnet.report import check_promises, describe_result
from lockstep.devnet.screen import Screen

GOOD: dict[str, Any] = {
    "nodes": 4,
    "seconds": 20.0,
    "submitted": 10,
    "final": 10,
    "finality_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 3.0},
    "height": {"min": 9, "max": 9},
    "closing_blocks": 1,
    "states_equal": True,
    "state_commitment": "00" * 32,
    "supply_ok": True,
    "double_signs": 0,
    "final_lost": 0,
    "final_without_quorum": 0,
    "conflicts": {"pairs": 1, "both_final": 0, "unresolved": 0, "stuck_coins": 0},
    "shutdown": "orderly",
    "rss_mb": {"max": 60.0},
    "cpu_us_per_tx_node": 100.0,
    "faults": [],
    "findings": [],
}


def broken(**changes: Any) -> list[str]:
    return [p.name for p in check_promises({**GOOD, **changes}) if not p.is_kept]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"final": 9}, "all_final"),
        ({"states_equal": False}, "states_equal"),
        ({"state_commitment": None}, "state_commitment"),
        ({"supply_ok": False}, "supply_ok"),
        ({"double_signs": 1}, "double_signs"),
        ({"final_lost": 1}, "final_lost"),
        ({"final_without_quorum": 1}, "final_without_quorum"),
        ({"conflicts": {**GOOD["conflicts"], "both_final": 1}}, "both_final"),
        ({"conflicts": {**GOOD["conflicts"], "unresolved": 1}}, "resolved"),
        ({"conflicts": {**GOOD["conflicts"], "stuck_coins": 1}}, "coins_free"),
        ({"shutdown": "failed"}, "orderly"),
        ({"faults": ["node 2 ended with exit code -9: x"]}, "no_faults"),
    ],
)
def test_each_promise_can_be_broken(changes: dict[str, Any], name: str) -> None:
    assert broken() == []
    assert broken(**changes) == [name]
    result = {**GOOD, **changes}
    told = [promise for promise in check_promises(result) if not promise.is_kept]
    assert any(line.startswith(f"BROKEN {name}: ") for line in describe_result(result, told))
    assert "all promises held" in describe_result(GOOD, [])


def test_place_is_the_option_else_the_variable_else_the_last_devnet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.delenv("LOCKSTEP_DIR", raising=False)
    for name in ("option", "variable", "last"):
        (tmp_path / name / "node0").mkdir(parents=True)
        (tmp_path / name / "devnet.json").write_text("{}")
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "lockstep.toml").write_text("")
    with pytest.raises(NoNetwork):
        find_place(None)
    write_last_devnet(tmp_path / "last")
    assert find_place(None).directory == tmp_path / "last"
    monkeypatch.setenv("LOCKSTEP_DIR", str(tmp_path / "variable"))
    assert find_place(None).directory == tmp_path / "variable"
    found = find_place(tmp_path / "option")
    assert found.directory == tmp_path / "option"
    assert found.node_directories() == [tmp_path / "option" / "node0"]
    node = find_place(tmp_path / "node")
    assert not node.is_devnet
    assert node.node_directories() == [tmp_path / "node"]
    with pytest.raises(UnknownPlace):
        find_place(tmp_path)
    forget_last_devnet()
    assert not runtime_file().exists()


def test_without_a_terminal_lines_come_now_and_then() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.say("node 0 is up")
    for second in range(20):
        screen.show(f"{second} s")
    screen.close()
    assert stream.getvalue() == "node 0 is up\n0 s\n"
