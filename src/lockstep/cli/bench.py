"""`lockstep bench`: measure a part of the node on this machine."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import rich_click as click

from lockstep.cli.failure import EXIT_FAILED, EXIT_INTERRUPTED
from lockstep.cli.output import json_option, say_result
from lockstep.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.bench.places import Places
    from lockstep.bench.registry import Report, Request

_VARIANTS: Final = "-"
"""What `--compare` means without a file: the variants of this run against the first."""


@click.command()
@click.argument("name", required=False)
@click.option("--list", "as_list", is_flag=True, help="Name all benchmarks.")
@click.option(
    "--compare",
    "earlier",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    is_flag=False,
    flag_value=_VARIANTS,
    metavar="[FILE]",
    help="Compare with a report written earlier by --json; without FILE, variants with each other.",
)
@click.option(
    "--repetitions",
    type=click.IntRange(1, 10_000),
    default=25,
    show_default=True,
    metavar="N",
    help="Samples of each variant.",
)
@click.option(
    "--nodes",
    type=click.IntRange(4, 1024),
    metavar="N",
    help="For benchmarks of a whole network: the size of its largest set.",
)
@click.option("--full", "is_full", is_flag=True, help="For growth: all sizes, ten minutes.")
@json_option
def bench(
    name: str | None,
    repetitions: int,
    earlier: Path | None,
    nodes: int | None,
    *,
    is_full: bool,
    as_list: bool,
    as_json: bool,
) -> int:
    r"""Measure a part of the node: warmed up, variants in turns, median and spread.

    Figures are CPU time of the process; wall time stands beside it. Exit code 1 says that something
    that must hold did not, never that a machine is slow. Ctrl-C ends a run soon, with a report of
    what was measured that says it was cut short, and exit code 130; a second one ends it at once.

    \b
    Examples:
      lockstep bench --list
      lockstep bench verify
      lockstep bench verify --json > before.json
      lockstep bench verify --compare before.json
      lockstep bench verify --compare
      lockstep bench claims
      lockstep bench finality --nodes 100
      lockstep bench growth --full --json > growth.json
    """
    from lockstep.bench.comparing import compare_figures, compare_variants, load_report
    from lockstep.bench.measuring import describe_machine
    from lockstep.bench.registry import BENCHMARKS, Request

    if as_list:
        sentences = {each: benchmark.sentence for each, benchmark in BENCHMARKS.items()}
        width = max(map(len, sentences))
        lines = [f"{each.ljust(width)}  {sentence}" for each, sentence in sentences.items()]
        say_result({"benchmarks": sentences}, lines, as_json=as_json)
        return 0
    if name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        said = "name a benchmark" if name is None else f"there is no benchmark {name!r}"
        raise click.UsageError(f"{said}; known: {known}")
    before = None
    if earlier is not None and str(earlier) != _VARIANTS:
        before = load_report(earlier, name=name)
    machine = describe_machine()
    request = Request(repetitions=repetitions, places=_find_places(), nodes=nodes, is_full=is_full)
    report, is_cut_short = _run(BENCHMARKS[name].load(), request)
    content: dict[str, Any] = {"benchmark": name, "machine": machine, "repetitions": repetitions}
    content |= {**report.content, "figures": report.figures, "cut_short": is_cut_short}
    lines = [f"{machine['processor']}, {machine['cores']} cores, {machine['python']}"]
    lines += report.lines
    if is_cut_short:
        lines.append("cut short: fewer samples were taken than were asked for")
    if earlier is not None:
        figures = report.figures
        compared = (
            compare_figures(before, figures)
            if before
            else compare_variants(figures, report.against)
        )
        content["compared"] = compared
        lines += compared.lines()
    say_result(content, lines, as_json=as_json)
    if is_cut_short:
        return EXIT_INTERRUPTED
    return 0 if report.is_good else EXIT_FAILED


def _run(work: "Callable[[Request], Report]", request: "Request") -> "tuple[Report, bool]":
    """Run a benchmark with a bar; return its report, of what was measured if it was cut short."""
    from lockstep.bench.course import watched
    from lockstep.bench.registry import Report

    with _Bar() as bar, watched(bar.advance) as course:
        try:
            return work(request), course.is_cut_short
        except KeyboardInterrupt:
            lines = [f"  {name}: {found.cpu} us CPU" for name, found in course.noted.items()]
            return Report(figures=course.noted, content={}, lines=lines), True


class _Bar:
    """The bar of a benchmark, which may measure several times; each has its own length."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._progress: Progress | None = None
        self._length = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def advance(self, done: int, total: int) -> None:
        """Tell how many samples are taken, of how many."""
        last, length = self._length
        if self._progress is None or total != length or done < last:
            self._stack.close()
            self._progress = self._stack.enter_context(Progress(total, jobs=1, unit="samples"))
        self._length = (done, total)
        self._progress.advance(done)


def _find_places() -> "Places":
    """Return where this checkout and this machine have what some benchmarks need."""
    from lockstep.bench.places import Places
    from lockstep.cli.checkout import ROOT

    vectors = Path(os.environ.get("LOCKSTEP_VECTORS", ROOT.parent / "shared" / "vectors"))
    return Places(tests=_if_there(ROOT / "tests"), vectors=_if_there(vectors))


def _if_there(path: Path) -> Path | None:
    return path if path.is_dir() else None
