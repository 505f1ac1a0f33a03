"""`lockstep sim`: the real core under seeded faults, as many worlds as one likes."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import rich_click as click

from lockstep.cli.failure import EXIT_FAILED, WrongUsage
from lockstep.cli.output import json_option, say_result
from lockstep.cli.sim_options import WORLDS, make_asked, names_given, parse_world, world_options
from lockstep.cli.sim_show import Timeline, Window
from lockstep.cli.sim_swarm import count_jobs, format_lines, is_good, run_swarm, summarise
from lockstep.cli.sim_trace import replay_file, run_one
from lockstep.sim.tape import Sink

ONE_WORLD: Final = "One world"
PROOFS: Final = "Other proofs, each in place of a run"
RUN: Final = "Run"


@click.command()
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="This one.", panel=WORLDS)
@click.option("--seeds", metavar="A:B", help="From A up to, not including, B.", panel=WORLDS)
@world_options
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Record everything that happens, a line each.",
    panel=ONE_WORLD,
)
@click.option(
    "--replay",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run a recorded world again and compare line by line.",
    panel=ONE_WORLD,
)
@click.option("--show", is_flag=True, help="Print a timeline.", panel=ONE_WORLD)
@click.option(
    "--node", type=click.IntRange(min=0), metavar="I", help="Of this one only.", panel=ONE_WORLD
)
@click.option(
    "--from", "first", type=click.IntRange(min=0), metavar="S", help="Virtual s.", panel=ONE_WORLD
)
@click.option(
    "--to", "last", type=click.IntRange(min=0), metavar="S", help="Virtual s.", panel=ONE_WORLD
)
@click.option(
    "--conformance",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Replay the formal model's traces in a folder.",
    panel=PROOFS,
)
@click.option("--exhaustive", is_flag=True, help="Small models, every order.", panel=PROOFS)
@click.option("--planted", is_flag=True, help="Planted bugs, each to be caught.", panel=PROOFS)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="J", help="Processes; one a core.", panel=RUN
)
@json_option
def sim(
    *,
    seed: int | None,
    seeds: str | None,
    trace: Path | None,
    replay: Path | None,
    show: bool,
    jobs: int | None,
    as_json: bool,
    **given: Any,
) -> int:
    r"""Run the real core in simulated worlds of faults and lies.

    Each seed is a world of its own, the same on every machine: faults first, while only safety is
    asked for; then all is healed, and the nodes must become level with every payment decided. The
    verdict is pass, stuck (it did not come about) or diverged (a promise was broken). What no
    option fixes is drawn from the seed.

    Exit codes: 0 all pass and the work floors are met, 1 not so, 2 wrong usage. Where a third of
    the nodes or more lie nothing is promised: then 0 says that at least one seed diverged. A replay
    that is not the recorded world, bit for bit, is 1.

    \b
    Examples:
      lockstep sim --seeds 0:200
      lockstep sim --seeds 0:50 --nodes 7 --byzantine 2
      lockstep sim --seeds 0:20 --loss 30 --reorder --crashes 0
      lockstep sim --seed 42 --trace world.txt
      lockstep sim --replay world.txt
      lockstep sim --seed 42 --show --node 2 --from 10 --to 20
    """
    window = Window(given.pop("node"), given.pop("first"), given.pop("last"))
    proofs = {name: given.pop(name) for name in ("conformance", "exhaustive", "planted")}
    if not show and window != Window():
        raise WrongUsage("--node, --from and --to choose what --show prints")
    modes = [f"--{name}" for name, value in (*proofs.items(), ("replay", replay)) if value]
    if modes:
        words = [name for name, value in (("seed", seed), ("seeds", seeds)) if value is not None]
        words += names_given(given) + (["trace"] if trace else [])
        words += ["show"] if show and replay is None else []
        _refuse_mixture(modes, words)
    timeline = Timeline(sys.stdout.write, window).take if show else None
    if replay is not None:
        return _replay(replay, timeline, as_json=as_json)
    if modes:
        return _prove(proofs, jobs=jobs or os.cpu_count() or 1, as_json=as_json)
    chosen, asked = _choose_seeds(seed, seeds), parse_world(given)
    if (trace is not None or show) and len(chosen) != 1:
        raise WrongUsage("--trace and --show are about one seed: give it with --seed")
    started = time.monotonic()
    if trace is not None or show:
        outcomes = [run_one(chosen[0], asked, trace=trace, show=timeline)]
    else:
        outcomes = run_swarm(chosen, asked, jobs=jobs)
    content = summarise(
        outcomes,
        asked,
        seconds=time.monotonic() - started,
        jobs=count_jobs(jobs, len(chosen)),
    )
    say_result(content, format_lines(content), as_json=as_json)
    return 0 if is_good(content) else EXIT_FAILED


def _replay(trace: Path, show: Sink | None, *, as_json: bool) -> int:
    started = time.monotonic()
    header, outcome, difference = replay_file(trace, show=show)
    content: dict[str, Any] = {"seed": header.seed, "same": difference is None}
    lines: list[str] = []
    if outcome is not None:
        seconds = time.monotonic() - started
        content |= summarise([outcome], make_asked(header.options), seconds=seconds, jobs=1)
        lines += format_lines(content)
    if difference is None:
        lines.append(f"{trace}: the same world, bit for bit")
    else:
        content["difference"] = difference
        lines.append(f"{trace}: line {difference.line} is not what happens now")
        lines += [f"  recorded {difference.recorded}", f"  now      {difference.replayed}"]
    say_result(content, lines, as_json=as_json)
    return 0 if difference is None and is_good(content) else EXIT_FAILED


def _prove(proofs: Mapping[str, Any], *, jobs: int, as_json: bool) -> int:
    """Run another proof than worlds of seeds; each is imported when it is asked for."""
    if proofs["conformance"] is not None:
        from lockstep.cli.sim_conformance import run_conformance

        content, lines, is_passed = run_conformance(proofs["conformance"], say=_say)
    elif proofs["exhaustive"]:
        from lockstep.cli.sim_exhaustive import run_exhaustive

        content, lines, is_passed = run_exhaustive(jobs=jobs, say=_say)
    else:
        from lockstep.cli.sim_planted import run_planted

        content, lines, is_passed = run_planted(jobs=jobs, say=_say)
    say_result(content, lines, as_json=as_json)
    return 0 if is_passed else EXIT_FAILED


def _refuse_mixture(modes: Sequence[str], words: Sequence[str]) -> None:
    """Refuse what makes no sense together: a mode takes no seed and no options of a world."""
    if len(modes) > 1:
        raise WrongUsage(f"{modes[0]} and {modes[1]} are different things to do: give one of them")
    if words:
        flags = " and ".join(f"--{word.replace('_', '-')}" for word in words)
        reason = "its file says which world" if modes == ["--replay"] else "it runs no seeds"
        raise WrongUsage(f"{modes[0]} does not go with {flags}: {reason}")


def _choose_seeds(seed: int | None, seeds: str | None) -> range:
    if (seed is None) == (seeds is None):
        raise WrongUsage("give either --seed N or --seeds A:B")
    if seed is not None:
        return range(seed, seed + 1)
    first, _, end = (seeds or "").partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise WrongUsage(f"--seeds takes A:B with A below B, not {seeds!r}")
    return range(int(first), int(end))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
