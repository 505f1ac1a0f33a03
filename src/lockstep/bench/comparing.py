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
    """One figure against another.

    Attributes:
        before, after: CPU medians.
        ratio: Of the medians; `ratio_low` and `ratio_high` are the most that the spreads allow.
        is_apart: Whether the spreads do not overlap.
    """

    before: float
    after: float
    ratio: float
    ratio_low: float
    ratio_high: float
    is_apart: bool

    def describe(self) -> str:
        """Return ratio and spread, marked where the two are apart."""
        mark = " *" if self.is_apart else ""
        return f"{self.ratio:.2f} ({self.ratio_low:.2f} to {self.ratio_high:.2f}){mark}"


class Compared(Struct, frozen=True):
    """All figures that both reports have, and the names of those that only one has."""

    figures: dict[str, Comparison]
    only_before: list[str]
    only_after: list[str]

    def lines(self) -> list[str]:
        """Return the comparison for people."""
        lines = ["after / before, CPU medians; * where the spreads do not overlap"]
        for name, found in self.figures.items():
            lines.append(f"  {name}: {found.describe()}, {found.before} -> {found.after}")
        lines += [f"  {name}: only before" for name in self.only_before]
        lines += [f"  {name}: only after" for name in self.only_after]
        return lines


class Variants(Struct, frozen=True):
    """Figures of one report against others of it; `against` says for each which."""

    against: dict[str, str]
    figures: dict[str, Comparison]

    def lines(self) -> list[str]:
        """Return the comparison for people."""
        lines = ["variant / variant, CPU medians; * where the spreads do not overlap"]
        for name, found in self.figures.items():
            lines.append(f"  {name}: {found.describe()} of {self.against[name]}")
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


def compare_variants(figures: Mapping[str, Figure], against: Mapping[str, str]) -> Variants:
    """Hold variants of one report against those that it names, all against the first if none."""
    measured = {name: figure for name, figure in figures.items() if figure.cpu}
    first = next(iter(measured), "")
    pairs = against or {name: first for name in measured if name != first}
    known = {name: other for name, other in pairs.items() if {name, other} <= measured.keys()}
    return Variants(
        against=known,
        figures={name: _compare(figures[other], figures[name]) for name, other in known.items()},
    )


def _compare(old: Figure, new: Figure) -> Comparison:
    return Comparison(
        before=old.cpu,
        after=new.cpu,
        ratio=round(new.cpu / old.cpu, 3),
        ratio_low=round(new.cpu_low / max(old.cpu_high, old.cpu), 3),
        ratio_high=round(new.cpu_high / (old.cpu_low or old.cpu), 3),
        is_apart=new.cpu_low > old.cpu_high or new.cpu_high < old.cpu_low,
    )
