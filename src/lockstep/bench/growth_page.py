"""`python -m lockstep.bench.growth_page [DOCS]`: write the page on growth and its pictures anew.

They are made of docs/performance/growth.json, the report of `lockstep bench growth --full --json`.
What is not in the report is not on the page: where the two differ, the page is stale.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import msgspec
from msgspec import Struct

from lockstep.bench.chart import draw_chart
from lockstep.bench.growth_laws import Growth, deviation_percent, write_number
from lockstep.bench.growth_points import Curves
from lockstep.bench.growth_words import GROUPS

REPORT: Final = "performance/growth.json"
PAGE: Final = "internals/growth.md"
PICTURES: Final = "pictures"
_LINE: Final = 120
_HEAD: Final = """# Growth

How cost, memory and disk grow with the number of members, of coins and of blocks; by what law that
has to be so, and how far the measurement is from it. All times are CPU times. The page is written
by `python -m lockstep.bench.growth_page` from [the report](../performance/growth.json) of

```sh
lockstep bench growth --full --json
```

which takes about ten minutes; without `--full` smaller sizes are measured in less than one.
"""


class GrowthReport(Struct, frozen=True):
    """What the page takes of a report."""

    machine: dict[str, Any]
    verify_backend: str
    curves: Curves


def load_growth(path: Path) -> GrowthReport:
    """Read a report of `lockstep bench growth --json`.

    Raises:
        DecodeError: If it is none.
    """
    return msgspec.json.decode(path.read_bytes(), type=GrowthReport)


def render(report: GrowthReport) -> dict[str, str]:
    """Return the page and all pictures, by path below the documentation's directory."""
    machine = report.machine
    rendered: dict[str, str] = {}
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['python']}"
    parts = [_HEAD, f"Measured on {where}; signatures by {report.verify_backend}.\n"]
    for group in GROUPS:
        parts.append(f"## With {group.by}\n\n{_wrap(group.words)}\n")
        for growth in group.growths:
            picture = f"{PICTURES}/growth-{growth.name.replace('_', '-')}.svg"
            measured = report.curves[growth.name]
            said, law = growth.law(report.curves, growth.name)
            rendered[picture] = draw_chart(
                growth.title, by=group.by, unit=growth.unit, measured=measured, law=law
            )
            parts.append(_section(growth, group.by, picture, measured, said, law))
    rendered[PAGE] = "\n".join(parts)
    return rendered


def write_page(docs: Path) -> None:
    """Write page and pictures anew, and remove pictures of curves there are no more."""
    rendered = render(load_growth(docs / REPORT))
    for stale in sorted((docs / PICTURES).glob("growth-*.svg")):
        if f"{PICTURES}/{stale.name}" not in rendered:
            stale.unlink()
    for name, text in rendered.items():
        (docs / name).write_text(text, "utf-8")


def _section(
    growth: Growth,
    by: str,
    picture: str,
    measured: Sequence[tuple[int, float]],
    said: str,
    law: Sequence[tuple[int, float]],
) -> str:
    rows = [
        f"| {size:,} | {write_number(value)} | {write_number(asked)} |"
        for (size, value), (_, asked) in zip(measured, law, strict=True)
    ]
    furthest = deviation_percent(list(measured), list(law))
    distance = f"the furthest point is {furthest:.0f} % from it"
    sentence = f"Law: `{said}` {growth.unit}; {distance}."
    return "\n".join(
        [
            f"### {growth.title}\n",
            _wrap(f"{growth.reason} {sentence}") + "\n",
            f"![{growth.title}](../{picture})\n",
            f"| {by} | measured | law |",
            "| ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )


def _wrap(words: str) -> str:
    return fill(words, _LINE, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    write_page(Path(*sys.argv[1:2]) if sys.argv[1:] else Path("docs"))
