"""Figures held against others: a report against an earlier one, variants against the first."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from lockstep.bench.measuring import Figure
from lockstep.errors import Rejected


class WrongReport(Rejected):
    """A file is no report of this benchmark."""

    code = "bench.report"
    hint = "write one with `lockstep bench NAME --json > FILE`"


class Comparison(Struct, frozen=True):
    """One figure before and after: CPU medians, their ratio, and whether the spreads are apart."""

    before: float
    after: float
    ratio: float
    is_apart: bool


class Compared(Struct, frozen=True):
    """All figures that both reports have, and the names of those that only one has."""

    figures: dict[str, Comparison]
    only_before: list[str]
    only_after: list[str]

    def lines(self) -> list[str]:
        """Return the comparison for people."""
        lines = ["after / before, CPU medians; * where the spreads do not overlap"]
        for name, found in self.figures.items():
            mark = " *" if found.is_apart else ""
            lines.append(f"  {name}: {found.ratio:.2f} ({found.before} -> {found.after}){mark}")
        lines += [f"  {name}: only before" for name in self.only_before]
        lines += [f"  {name}: only after" for name in self.only_after]
        return lines


class Variants(Struct, frozen=True):
    """All figures of one report against its first one, `first`."""

    first: str
    figures: dict[str, Comparison]

    def lines(self) -> list[str]:
        """Return the comparison for people."""
        lines = [f"against {self.first}, CPU medians; * where the spreads do not overlap"]
        for name, found in self.figures.items():
            mark = " *" if found.is_apart else ""
            lines.append(f"  {name}: {found.ratio:.2f} ({found.after}){mark}")
        return lines


class _Written(Struct):
    benchmark: str
    figures: dict[str, Figure]


def load_report(path: Path, *, name: str) -> dict[str, Figure]:
    """Return the figures of a report of the benchmark `name`.

    Raises:
        WrongReport: If the file is none.
    """
    try:
        written = msgspec.json.decode(path.read_bytes(), type=_Written)
    except (OSError, msgspec.DecodeError) as fault:
        raise WrongReport(f"{path} is no report of a benchmark: {fault}") from fault
    if written.benchmark != name:
        raise WrongReport(f"{path} is a report of {written.benchmark!r}, not of {name!r}")
    return written.figures


def compare_figures(before: Mapping[str, Figure], after: Mapping[str, Figure]) -> Compared:
    """Hold the figures after against those before."""
    figures: dict[str, Comparison] = {}
    for name, new in after.items():
        old = before.get(name)
        if old is None or not old.cpu:
            continue
        figures[name] = _compare(old, new)
    return Compared(
        figures=figures,
        only_before=[name for name in before if name not in after],
        only_after=[name for name in after if name not in before],
    )


def compare_variants(figures: Mapping[str, Figure]) -> Variants:
    """Hold the variants of one report against the first that took any time."""
    first = next((name for name, figure in figures.items() if figure.cpu), "")
    others = {name: figure for name, figure in figures.items() if first and name != first}
    return Variants(
        first=first,
        figures={name: _compare(figures[first], figure) for name, figure in others.items()},
    )


def _compare(old: Figure, new: Figure) -> Comparison:
    return Comparison(
        before=old.cpu,
        after=new.cpu,
        ratio=round(new.cpu / old.cpu, 3),
        is_apart=new.cpu_low > old.cpu_high or new.cpu_high < old.cpu_low,
    )
