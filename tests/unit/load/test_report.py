"""Reports say what went wrong, and pictures are whole documents of what was measured."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from lockstep.load.plot import _ticks, draw_report
from lockstep.load.report import describe_report, finish_report

TIMES = {"p50": 8.0, "p95": 14.0, "p99": 20.0, "max": 31.0}


def step(rate: float, *, kept: bool = True) -> dict[str, Any]:
    row = {"sent": rate, "final": rate, "p50": 8.0, "p99": None}
    return {
        "is_kept": kept,
        "offered_tps": rate,
        "final_tps": rate if kept else rate / 2,
        "finality_ms": TIMES,
        "cpu_us_per_tx_node": 50.0,
        "verify_share": 0.3,
        "limit_share": None,
        "rss_mb": {"max": 80.0},
        "loop_lag_ms": {"p99": 4.0},
        "signatures_per_tx": 1.0,
        "load_cpu_s": 1.0,
        "refused": {},
        "course": [{"second": second, **row} for second in range(5)],
    }


def report(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "command": "lockstep load <&>",
        "machine": {
            "processor": "Test",
            "cores": 2,
            "python": "CPython 3",
            "load_average": [0.5, 0.4, 0.3],
        },
        "cut_short": False,
        "nodes": 4,
        "mix": "one=1",
        "verify_backend": "sodium",
        "states_equal": True,
        "steps": list(steps),
        **fields,
    }


def test_the_best_step_stands_in_front() -> None:
    finished = finish_report(report(step(1_000), step(2_000), step(4_000, kept=False)))
    assert (finished["offered_tps"], finished["final_tps"]) == (2_000, 2_000)
    assert finished["finality_ms"] == TIMES
    assert finished["is_good"]
    assert len(finished["steps"]) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"cut_short": True, "cut_short_because": "interrupted"},
        {"states_equal": False},
        {"states_equal": None},
        {"alarms": ["node 1: both"]},
        {"conflicts": {"pairs": 3, "both_final": 1, "unresolved": 0}},
        {"shutdown_faults": ["node 1 did not stop"]},
    ],
)
def test_a_run_is_not_good(fields: dict[str, Any]) -> None:
    assert not finish_report(report(step(1_000), **fields))["is_good"]


def test_a_run_that_measured_nothing_is_still_a_report() -> None:
    error = {"code": "load.chain", "message": "another chain", "hint": "name this one"}
    finished = finish_report(
        report(cut_short=True, cut_short_because="another chain", error=error, states_equal=None)
    )
    assert finished["final_tps"] is None
    lines = describe_report(finished)
    assert "CUT SHORT: another chain" in lines
    assert "hint: name this one" in lines
    ET.fromstring(draw_report(finished))


@pytest.mark.parametrize(("steps", "panels"), [([step(1_000)], 2), ([step(1_000), step(2_000)], 3)])
def test_a_picture_is_one_document_with_a_line_for_every_series(
    steps: list[dict[str, Any]], panels: int
) -> None:
    over = {"factor": 4, "step": step(4_000)}
    tree = ET.fromstring(draw_report(finish_report(report(*steps, overload=over))))
    space = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f"{space}g")) == panels + 2
    for line in tree.iter(f"{space}polyline"):
        for place in line.attrib["points"].split():
            x, y = map(float, place.split(","))
            assert 0 <= x <= 760
            assert 0 <= y <= 210


def test_ticks_are_round_and_reach_the_top() -> None:
    for top in (0.01, 0.7, 1, 3, 7, 9.9, 31, 99, 100, 2_000, 6_800, 49_999):
        ticks = _ticks(top)
        assert ticks[0] == 0
        assert ticks[-2] < top <= ticks[-1]
        assert len(ticks) <= 8
