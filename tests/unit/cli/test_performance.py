"""The page on performance says what the reports say, and calls a miss a miss."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lockstep.cli.performance.figures import COMMANDS, GROUPS, Figure, at
from lockstep.cli.performance.page import (
    PAGE,
    PICTURES,
    draw_pictures,
    judge,
    read_reasons,
    read_reports,
    render_page,
    write_page,
)

DOCS = Path(__file__).resolve().parents[3] / "docs"
MACHINE = {"processor": "Test", "cores": 2, "python": "CPython 3", "load_average": [0.25, 0, 0]}


def load_report(tps: float, **fields: Any) -> dict[str, Any]:
    course = [{"second": 0, "sent": 9, "final": 9, "p50": 1.0, "p99": 2.0}]
    return {
        "command": "lockstep load --devnet 4 --saturate",
        "machine": MACHINE,
        "final_tps": tps,
        "cpu_us_per_tx_node": 50.0,
        "verify_share": 0.3,
        "steps": [{"course": course}],
        **fields,
    }


def write(docs: Path, name: str, report: dict[str, Any]) -> None:
    place = docs / "performance"
    place.mkdir(exist_ok=True, parents=True)
    (place / f"{name}.json").write_bytes(msgspec.json.encode(report))


def row_of(page: str, text: str) -> str:
    [row] = [line for line in page.splitlines() if line.startswith(f"| {text} |")][:1]
    return row


def test_the_written_page_and_its_pictures_are_up_to_date() -> None:
    reports = read_reports(DOCS)
    stale = "run: python -m lockstep.cli.performance"
    written = (DOCS / PAGE).read_text("utf-8")
    assert written == render_page(reports, reasons=read_reasons(DOCS)), stale
    for name, picture in draw_pictures(reports).items():
        assert (DOCS / PICTURES / name).read_text("utf-8") == picture, stale


def test_another_report_makes_the_page_stale(tmp_path: Path) -> None:
    shutil.copytree(DOCS / "performance", tmp_path / "performance")
    (tmp_path / PICTURES).mkdir()
    write(tmp_path, "load-2000", load_report(2_000, finality_ms={"p50": 12.5}))
    write_page(tmp_path)
    assert (tmp_path / PAGE).read_text("utf-8") != (DOCS / PAGE).read_text("utf-8")
    assert (tmp_path / PICTURES / "load-2000.svg").is_file()


def test_the_median_of_three_is_told_with_its_spread(tmp_path: Path) -> None:
    for number, tps in enumerate((7_000.0, 6_000.0, 13_000.0), 1):
        write(tmp_path, f"load-saturate-crypto_mb.{number}", load_report(tps))
    page = render_page(read_reports(tmp_path), reasons="")
    row = row_of(page, "payments final a second")
    assert "| 7,000 (6,000 to 13,000) | must reached, **goal missed** |" in row
    assert page.count("load average before 0.25") == 3


def test_a_miss_is_called_one_and_what_has_no_report_is_not_measured(tmp_path: Path) -> None:
    write(tmp_path, "load-saturate-crypto_mb", load_report(6_499.0, cut_short=True))
    page = render_page(read_reports(tmp_path), reasons="The disk was slow.")
    assert "| 6,499 | **missed** |" in row_of(page, "payments final a second")
    assert "not measured" in row_of(page, "claims reached, of seven")
    assert "**cut short**" in page
    assert "## What was missed, and why\n\nThe disk was slow.\n" in page


def test_every_claim_is_told(tmp_path: Path) -> None:
    row = {"claim": "storage", "claimed": 2.0, "measured": 1.5, "spread": [1.4, 1.7]}
    write(
        tmp_path,
        "bench-claims",
        {"machine": MACHINE, "reached": 1, "claims": [{**row, "reached": False}]},
    )
    page = render_page(read_reports(tmp_path), reasons="")
    assert "| storage | 2 | 1.5 (1.4 to 1.7) | **missed** |" in page


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(10, "reached"), (11, "must reached, **goal missed**"), (21, "**missed**")],
)
def test_a_ceiling_is_kept_from_below(value: float, verdict: str) -> None:
    figure = Figure("lag", "x", at("x"), "ms", must=20, goal=10, is_ceiling=True)
    assert judge(figure, value) == verdict


def test_every_figure_has_a_report_that_somebody_can_make() -> None:
    assert {figure.source for group in GROUPS for figure in group.figures} == set(COMMANDS)


def test_an_overload_that_is_not_over_in_time_is_a_miss(tmp_path: Path) -> None:
    for seconds, words in ((11, "| 11 s | reached |"), (None, "| not in time | **missed** |")):
        overload = {"offered_tps": 4.0, "final_tps": 1.0, "seconds_until_back": seconds}
        write(tmp_path, "load-overload", load_report(1.0, crashed=[], overload=overload))
        page = render_page(read_reports(tmp_path), reasons="")
        [row] = [row for row in page.splitlines() if row.startswith("| seconds until 90 %")]
        assert words in row
