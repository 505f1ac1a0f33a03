"""`lockstep bench`: measure a part of the node on this machine."""

import os
from pathlib import Path
from typing import Any

import rich_click as click

from lockstep.cli.output import json_option, say_result


@click.command()
@click.argument("name", required=False)
@click.option("--list", "as_list", is_flag=True, help="Name all benchmarks.")
@click.option(
    "--compare",
    "earlier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Compare with a report written earlier by --json.",
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
@json_option
def bench(
    name: str | None,
    repetitions: int,
    earlier: Path | None,
    nodes: int | None,
    *,
    as_list: bool,
    as_json: bool,
) -> int:
    r"""Measure a part of the node: warmed up, variants in turns, median and spread.

    Figures are CPU time of the process; wall time stands beside it. Exit code 1 says that something
    that must hold did not, never that a machine is slow.

    \b
    Examples:
      lockstep bench --list
      lockstep bench verify
      lockstep bench verify --json > before.json
      lockstep bench verify --compare before.json
      lockstep bench finality --nodes 100
    """
    from lockstep.bench.comparing import compare_figures, load_report
    from lockstep.bench.measuring import describe_machine
    from lockstep.bench.places import Places
    from lockstep.bench.registry import BENCHMARKS, Request
    from lockstep.cli.checkout import ROOT

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
    before = None if earlier is None else load_report(earlier, name=name)
    vectors = Path(os.environ.get("LOCKSTEP_VECTORS", ROOT.parent / "shared" / "vectors"))
    places = Places(
        tests=_if_there(ROOT / "tests"),
        vectors=_if_there(vectors),
    )
    machine = describe_machine()
    report = BENCHMARKS[name].load()(Request(repetitions=repetitions, places=places, nodes=nodes))
    content: dict[str, Any] = {"benchmark": name, "machine": machine, "repetitions": repetitions}
    content |= {**report.content, "figures": report.figures}
    lines = [f"{machine['processor']}, {machine['cores']} cores, {machine['python']}"]
    lines += report.lines
    if before is not None:
        compared = compare_figures(before, report.figures)
        content["compared"] = compared
        lines += compared.lines()
    say_result(content, lines, as_json=as_json)
    return 0 if report.is_good else 1


def _if_there(path: Path) -> Path | None:
    return path if path.is_dir() else None
