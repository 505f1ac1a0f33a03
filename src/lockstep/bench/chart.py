"""Charts as SVG: points with lines, a dashed law behind them, legible on light and dark pages."""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Final

from msgspec import Struct

WIDTH: Final = 720
HEIGHT: Final = 340
_LEFT: Final = 76
_RIGHT: Final = 20
_TOP: Final = 46
_BOTTOM: Final = 52
_LOG_RATIO: Final = 50
"""Values further apart than this are drawn on a logarithmic axis."""
_TICKS: Final = 5

_STYLE: Final = """
  .paper { fill: #ffffff; }
  text { fill: #1f2933; }
  .grid { stroke: #d9dee3; }
  .measured { stroke: #2f6fb0; fill: none; stroke-width: 2; }
  .point { fill: #2f6fb0; }
  .law { stroke: #b4532a; fill: none; stroke-width: 2; stroke-dasharray: 6 5; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #10161d; }
    text { fill: #e4e9ee; }
    .grid { stroke: #33404d; }
    .measured { stroke: #6fb1f0; }
    .point { fill: #6fb1f0; }
    .law { stroke: #f0a070; }
  }
"""

Points = Sequence[tuple[int, float]]


class Scale(Struct, frozen=True):
    """An axis: values from `low` to `high` on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = self._stretch(self.low), self._stretch(self.high)
        return self.start + (self.end - self.start) * (self._stretch(value) - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return the values that the axis names: powers of ten, or some round ones."""
        if self.is_log:
            return [
                10.0**power for power in range(round(log10(self.low)), round(log10(self.high)) + 1)
            ]
        step = _round_step(self.high / _TICKS)
        return [step * count for count in range(floor(self.high / step) + 1)]

    def _stretch(self, value: float) -> float:
        return log10(value) if self.is_log else value


def draw_chart(title: str, *, by: str, unit: str, measured: Points, law: Points) -> str:
    """Return the SVG of one measured curve and its law, over sizes on a logarithmic axis."""
    sizes = [size for size, _ in measured]
    values = [value for _, value in (*measured, *law)]
    across = Scale(min(sizes), max(sizes), _LEFT, WIDTH - _RIGHT, is_log=True)
    down = _scale_values(values)
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="13">',
        f"  <title>{title}</title>",
        f"  <style>{_STYLE}  </style>",
        f'  <rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'  <text x="{_LEFT}" y="24" font-size="15">{title}</text>',
    ]
    for value in down.ticks():
        y = down.place(value)
        lines.append(
            f'  <line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        )
        lines.append(f'  <text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>')
    below = HEIGHT - _BOTTOM + 20
    lines += [
        f'  <text x="{across.place(size):.1f}" y="{below}" text-anchor="middle">{size:,}</text>'
        for size in sizes
    ]
    lines.append(f'  <text x="{WIDTH - _RIGHT}" y="{HEIGHT - 10}" text-anchor="end">{by}</text>')
    lines.append(f'  <text x="{_LEFT}" y="{HEIGHT - 10}">{unit}; dashed: the law</text>')
    lines.append(f'  <polyline class="law" points="{_path(law, across, down)}"/>')
    lines.append(f'  <polyline class="measured" points="{_path(measured, across, down)}"/>')
    dots = [(across.place(size), down.place(value)) for size, value in measured]
    lines += [f'  <circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in dots]
    return "\n".join([*lines, "</svg>", ""])


def _scale_values(values: Sequence[float]) -> Scale:
    low, high = min(values), max(values)
    start, end = HEIGHT - _BOTTOM, _TOP
    if low > 0 and high / low > _LOG_RATIO:
        return Scale(10.0 ** floor(log10(low)), 10.0 ** ceil(log10(high)), start, end, is_log=True)
    return Scale(0.0, max(high, 1e-9) * 1.1, start, end, is_log=False)


def _path(points: Points, across: Scale, down: Scale) -> str:
    return " ".join(f"{across.place(size):.1f},{down.place(value):.1f}" for size, value in points)


def _round_step(step: float) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that is not below `step`."""
    power = 10.0 ** floor(log10(step))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= step * 0.999)
