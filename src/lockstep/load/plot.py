"""A picture of a load, as SVG: final rate and latency, over time and over the rate offered.

Colours come from the reader's own scheme, light or dark; nothing but text and lines is drawn.
"""

from collections.abc import Sequence
from itertools import cycle
from math import ceil
from typing import Any, Final
from xml.sax.saxutils import escape

from msgspec import Struct

WIDTH: Final = 760
PANEL_HEIGHT: Final = 210
LEFT: Final = 70
RIGHT: Final = 120
TOP: Final = 34
BOTTOM: Final = 42
LEGEND_STEP: Final = 16
TICKS_MAX: Final = 6

_STYLE: Final = """
  svg { color: #1c1c1c; font: 12px sans-serif; } .paper { fill: #ffffff; }
  text { fill: currentColor; }
  .axis { stroke: currentColor; stroke-width: 1; }
  .grid { stroke: currentColor; stroke-width: 0.5; opacity: 0.2; }
  polyline { fill: none; stroke-width: 1.8; }
  .s0 { stroke: #0060b0; fill: #0060b0; } .s1 { stroke: #c05000; fill: #c05000; }
  .s2 { stroke: #208040; fill: #208040; } .s3 { stroke: #8040a0; fill: #8040a0; }
  polyline.s0, polyline.s1, polyline.s2, polyline.s3 { fill: none; }
  text.s0, text.s1, text.s2, text.s3 { stroke: none; }
  @media (prefers-color-scheme: dark) {
    svg { color: #e6e6e6; } .paper { fill: #16181c; }
    .s0 { stroke: #6cb6ff; fill: #6cb6ff; } .s1 { stroke: #ffa657; fill: #ffa657; }
    .s2 { stroke: #7ee787; fill: #7ee787; } .s3 { stroke: #d2a8ff; fill: #d2a8ff; }
  }
"""

Points = Sequence[tuple[float, float | None]]


class Panel(Struct, frozen=True):
    """One diagram: a title, what its axes count, and named lines."""

    title: str
    across: str
    lines: dict[str, Points]


def draw_report(report: dict[str, Any]) -> str:
    """Draw a report: one step over time, several over the rate offered; an overload below."""
    steps: list[dict[str, Any]] = report["steps"]
    panels: list[Panel] = []
    if len(steps) == 1:
        panels += _course_panels(steps[0]["course"], "")
    elif steps:
        panels += _rate_panels(steps)
    if over := report.get("overload"):
        panels += _course_panels(over["step"]["course"], f"{over['factor']} times saturation: ")
    return draw(panels, caption=f"{report['command']}, {report['machine']['processor']}")


def draw(panels: Sequence[Panel], *, caption: str) -> str:
    """Draw panels one below the other."""
    height = PANEL_HEIGHT * len(panels) + 24
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(caption)}</title>",
        f"<style>{_STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate(0 {number * PANEL_HEIGHT})">')
        parts += _draw_panel(panel)
        parts.append("</g>")
    parts.append(f'<text x="{LEFT}" y="{height - 8}" font-size="10">{escape(caption)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _draw_panel(panel: Panel) -> list[str]:
    known = [point for line in panel.lines.values() for point in line if point[1] is not None]
    across = _ticks(max((x for x, _ in known), default=1.0))
    up = _ticks(max((y for _, y in known if y is not None), default=1.0))
    width, height = WIDTH - LEFT - RIGHT, PANEL_HEIGHT - TOP - BOTTOM
    end = LEFT + width

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            round(LEFT + width * x / across[-1], 1),
            round(TOP + height * (1 - y / up[-1]), 1),
        )

    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    for value in up:
        _, y = place(0, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{end}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    bottom = TOP + height
    for value in across:
        x, _ = place(value, 0)
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{LEFT + width}" y1="{bottom}" y2="{bottom}"/>'
    )
    parts.append(
        f'<text x="{LEFT + width}" y="{bottom + 32}" text-anchor="end">{panel.across}</text>'
    )
    for number, (name, line) in enumerate(panel.lines.items()):
        places = [place(x, y) for x, y in line if y is not None]
        joined = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline class="s{number}" points="{joined}"/>')
        parts += [f'<circle class="s{number}" cx="{x}" cy="{y}" r="2"/>' for x, y in places]
        y = TOP + 8 + LEGEND_STEP * number
        parts.append(
            f'<text class="s{number}" x="{LEFT + width + 10}" y="{y}">{escape(name)}</text>'
        )
    return parts


def _course_panels(course: Sequence[dict[str, Any]], prefix: str) -> list[Panel]:
    rates = {"offered": "sent", "final": "final"}
    times = {"p50": "p50", "p99": "p99"}
    return [
        Panel(f"{prefix}{title}", "seconds", {n: _over(course, "second", f) for n, f in of.items()})
        for title, of in (("payments a second", rates), ("milliseconds until final", times))
    ]


def _rate_panels(steps: Sequence[dict[str, Any]]) -> list[Panel]:
    rows = sorted(steps, key=lambda step: float(step["offered_tps"]))
    flat = [{**row, **row["finality_ms"]} for row in rows]
    offered: Points = [(row["offered_tps"], row["offered_tps"]) for row in rows]
    final = _over(flat, "offered_tps", "final_tps")
    across = "payments offered a second"
    latency = {name: _over(flat, "offered_tps", name) for name in ("p50", "p95", "p99")}
    cost = {"CPU": _over(flat, "offered_tps", "cpu_us_per_tx_node")}
    return [
        Panel("payments final a second", across, {"offered": offered, "final": final}),
        Panel("milliseconds until final", across, latency),
        Panel("CPU microseconds a payment and node", across, cost),
    ]


def _over(rows: Sequence[dict[str, Any]], across: str, name: str) -> Points:
    return [(row[across], row[name]) for row in rows]


def _ticks(top: float) -> list[float]:
    """Return at most seven round values from 0 to at least `top`."""
    size, factors = 0.01, cycle((2.0, 2.5, 2.0))
    while size * TICKS_MAX < top:
        size *= next(factors)
    return [round(size * number, 2) for number in range(max(1, ceil(top / size)) + 1)]
