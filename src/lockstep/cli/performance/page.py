"""The page itself: tables of must, goal and reached, and how to see each figure for oneself.

A report may stand there several times, as `NAME.1.json`, `NAME.2.json` and so on: the median is
told, with the least and the greatest beside it. What is missed is called missed, and what no report
holds is called not measured.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median_low
from typing import Any, Final

import msgspec

from lockstep.cli.performance.figures import COMMANDS, GROUPS, Figure, Report
from lockstep.cli.reference.table import render_table
from lockstep.load.plot import draw_report

PAGE: Final = "performance.md"
REPORTS: Final = "performance"
PICTURES: Final = "pictures"
REASONS: Final = "performance-reasons.md"
_HEAD: Final = """# Performance

Written from the reports in [performance](performance/) by `python -m lockstep.cli.performance`; do
not edit. What is missed is called missed.

CPU microseconds a payment and node come from the nodes' own accounting and are the figures to
compare: rates depend on what else runs on the machine, whose load average before each run is told.
How a load is measured stands in [measure a network](guide/measure-a-network.md), why in
[0021](adr/0021-how-speed-is-measured.md).
"""

Found = dict[str, list[Report]]


def read_reports(docs: Path) -> Found:
    """Return all reports by name, those of one name in order of their number."""
    found: Found = {}
    for path in sorted((docs / REPORTS).glob("*.json")):
        name = path.stem.rpartition(".")[0] or path.stem
        report = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        found.setdefault(name, []).append(report)
    return found


def render_page(reports: Found, *, reasons: str) -> str:
    """Write the page; `reasons` explains what was missed."""
    parts = [_HEAD]
    for group in GROUPS:
        parts += [f"## {group.title}\n", group.sentence + "\n"]
        rows = [_row(figure, reports.get(figure.source, [])) for figure in group.figures]
        parts += render_table(("figure", "must", "goal", "reached", "verdict", "report"), rows)
    parts += _render_claims(reports.get("bench-claims", []))
    parts += _render_parts(reports.get("bench-finality", []))
    if reasons:
        parts += ["## What was missed, and why\n", reasons.strip() + "\n"]
    for name in _pictured(reports):
        parts.append(f"![{COMMANDS[name]}]({PICTURES}/{name}.svg)\n")
    parts += _render_sources(reports)
    return "\n".join(parts).rstrip() + "\n"


def draw_pictures(reports: Found) -> dict[str, str]:
    """Return the pictures of the page by file name."""
    return {f"{name}.svg": draw_report(dict(reports[name][0])) for name in _pictured(reports)}


def write_page(docs: Path) -> None:
    """Write the page and its pictures below `docs`."""
    reports = read_reports(docs)
    (docs / PAGE).write_text(render_page(reports, reasons=read_reasons(docs)), "utf-8")
    for name, picture in draw_pictures(reports).items():
        (docs / PICTURES / name).write_text(picture, "utf-8")


def read_reasons(docs: Path) -> str:
    """Return what people wrote on what was missed below its title, nothing where no file is."""
    path = docs / REASONS
    return path.read_text("utf-8").partition("\n\n")[2] if path.is_file() else ""


def _pictured(reports: Found) -> list[str]:
    return [name for name in reports if name in COMMANDS and "steps" in reports[name][0]]


def _row(figure: Figure, reports: Sequence[Report]) -> tuple[str, ...]:
    values = [value for report in reports if (value := figure.read(report)) is not None]
    bounds = [_bound(figure, bound) for bound in (figure.must, figure.goal)]
    if not values:
        return (figure.text, *bounds, "", "not measured", _link(figure.source, linked=False))
    middle = median_low(values)
    reached = _number(middle, figure.unit)
    if len(values) > 1:
        reached += f" ({_number(min(values), '')} to {_number(max(values), '')})"
    return (figure.text, *bounds, reached, judge(figure, middle), _link(figure.source, linked=True))


def judge(figure: Figure, value: float) -> str:
    """Return the verdict on a figure."""
    if figure.must is None:
        return ""
    if not figure.reaches(value, figure.must):
        return "**missed**"
    if figure.goal is None or figure.reaches(value, figure.goal):
        return "reached"
    return "must reached, **goal missed**"


def _bound(figure: Figure, bound: float | None) -> str:
    if bound is None:
        return ""
    side = "at most" if figure.is_ceiling else "at least"
    return f"{side} {_number(bound, figure.unit)}"


def _number(value: float, unit: str) -> str:
    if math.isinf(value):
        return "not in time"
    digits = 0 if value >= 100 or value == int(value) else 1
    return f"{value:,.{digits}f} {unit}".strip()


def _link(name: str, *, linked: bool) -> str:
    return f"[{name}](#{_anchor(name)})" if linked else name


def _anchor(name: str) -> str:
    return name.lower()


def _render_claims(reports: Sequence[Report]) -> list[str]:
    if not reports:
        return []
    rows = [
        (
            row["claim"],
            f"{row['claimed']:g}",
            f"{row['measured']:g} ({row['spread'][0]:g} to {row['spread'][1]:g})",
            "reached" if row["reached"] else "**missed**",
        )
        for row in reports[0].get("claims", [])
    ]
    sentence = (
        "Ours against a naive variant, in turns: so many times as much, or for memory at most such"
        " a share of growth. [How](internals/claims.md).\n"
    )
    table = render_table(("claim", "claimed", "measured", "verdict"), rows)
    return ["## The seven claims\n", sentence, *table]


def _render_parts(reports: Sequence[Report]) -> list[str]:
    parts = reports[0].get("by_nodes", {}).get("n=4", {}) if reports else {}
    rows = [
        (name.replace("_", " "), f"{cost:.2f}")
        for name, cost in sorted(parts.items(), key=lambda item: -item[1])
    ]
    if not rows:
        return []
    title = "## Where the time of the core goes\n"
    return [title, *render_table(("part, 4 nodes", "microseconds a payment"), rows)]


def _render_sources(reports: Found) -> list[str]:
    lines = ["## Reports\n", "Each can be made again by its command.\n"]
    for name in [name for name in COMMANDS if name in reports]:
        lines += [f"### {name}\n", "```sh"]
        lines += list(
            dict.fromkeys(report.get("command", COMMANDS[name]) for report in reports[name])
        )
        lines.append("```\n")
        for number, report in enumerate(reports[name], 1):
            several = len(reports[name]) > 1
            file = f"{name}.{number}.json" if several else f"{name}.json"
            lines.append(f"- [{file}]({REPORTS}/{file}): {_describe_source(report)}")
        lines.append("")
    return lines


def _describe_source(report: Report) -> str:
    machine = report["machine"]
    parts = [f"{machine['processor']}, {machine['cores']} cores", machine["python"]]
    parts.append(f"load average before {machine['load_average'][0]}")
    if commit := report.get("commit"):
        parts.append(f"commit {commit[:12]}")
    if started := report.get("started"):
        parts.append(started)
    if report.get("cut_short"):
        parts.append("**cut short**")
    return ", ".join(parts)
