"""`lockstep sim`: the real core under seeded faults, as many worlds as one likes."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TextIO

import rich_click as click

from lockstep.cli.failure import WrongUsage
from lockstep.cli.output import json_option, say_result
from lockstep.sim.outcome import Outcome, Verdict, missed_floors, sum_counters
from lockstep.sim.swarm import run_seed

PROGRESS_SECONDS = 2


@click.command()
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Run this one seed.")
@click.option("--seeds", metavar="A:B", help="Run the seeds from A up to, not including, B.")
@click.option("--nodes", type=click.IntRange(4, 100), metavar="N", help="Default: drawn.")
@click.option("--weights", metavar="W,W,...", help="Voting weights, one a node; default: drawn.")
@click.option(
    "--seconds",
    type=click.IntRange(5, 86_400),
    default=60,
    show_default=True,
    metavar="S",
    help="Virtual seconds of a run, at least.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write everything that happens in the one seed, a line each.",
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="J", help="Processes; one a core.")
@json_option
def sim(
    *,
    seed: int | None,
    seeds: str | None,
    nodes: int | None,
    weights: str | None,
    seconds: int,
    trace: Path | None,
    jobs: int | None,
    as_json: bool,
) -> int:
    r"""Run the real core in simulated worlds of crashes, partitions, losses and double spends.

    Each seed is a world of its own, the same on every machine: faults first, while only safety is
    asked for; then all is healed, and the nodes must become level with every payment decided. The
    verdict is pass, stuck (it did not come about) or diverged (a promise was broken).

    Exit codes: 0 all pass and the work floors are met, 1 not so, 2 wrong usage.

    \b
    Examples:
      lockstep sim --seeds 0:200
      lockstep sim --seed 42 --trace world.txt
      lockstep sim --seeds 0:50 --weights 4,3,2,2 --json
    """
    chosen = _choose_seeds(seed, seeds)
    shape: dict[str, Any] = {"nodes": nodes, "weights": None, "seconds": seconds}
    if weights is not None:
        shape["weights"] = _parse_weights(weights, nodes)
    if trace is not None and len(chosen) != 1:
        raise WrongUsage("--trace records one seed: give it with --seed")
    started = time.monotonic()
    if trace is not None:
        with trace.open("w", encoding="utf-8") as file:
            outcomes = [run_seed(chosen[0], sink=_writer(file), **shape)]
    else:
        count = min(jobs or os.cpu_count() or 1, len(chosen))
        outcomes = _run_all(chosen, shape, jobs=count)
    elapsed = time.monotonic() - started
    content = _summarise(outcomes, shape, elapsed)
    say_result(content, _format_lines(content, outcomes), as_json=as_json)
    return 0 if content["pass"] == len(outcomes) and content["floors_ok"] else 1


def _writer(file: TextIO) -> Callable[[str], None]:
    def write(line: str) -> None:
        file.write(line + "\n")

    return write


def _choose_seeds(seed: int | None, seeds: str | None) -> range:
    if (seed is None) == (seeds is None):
        raise WrongUsage("give either --seed N or --seeds A:B")
    if seed is not None:
        return range(seed, seed + 1)
    first, _, end = (seeds or "").partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise WrongUsage(f"--seeds takes A:B with A below B, not {seeds!r}")
    return range(int(first), int(end))


def _parse_weights(text: str, nodes: int | None) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and 0 < int(part) < 2**40 for part in parts):
        raise WrongUsage(f"--weights takes whole numbers above 0 and commas, not {text!r}")
    if len(parts) < 4 or (nodes is not None and nodes != len(parts)):
        raise WrongUsage("--weights takes one weight a node, of four nodes at least")
    return tuple(map(int, parts))


def _run_all(chosen: Sequence[int], shape: dict[str, Any], *, jobs: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    started = last = time.monotonic()
    for outcome in _outcomes(chosen, shape, jobs=jobs):
        outcomes.append(outcome)
        now = time.monotonic()
        if outcome.verdict is not Verdict.PASS:
            _say(f"seed {outcome.seed} {outcome.verdict}: {outcome.sentence}")
            _say(f"  {_reproduce(outcome, shape)}")
        if now - last >= PROGRESS_SECONDS:
            last = now
            rate = len(outcomes) / (now - started)
            _say(f"{len(outcomes)} of {len(chosen)} seeds, {rate:.1f} a second")
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def _outcomes(chosen: Sequence[int], shape: dict[str, Any], *, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from (run_seed(seed, **shape) for seed in chosen)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(run_seed, seed, **shape) for seed in chosen]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _reproduce(outcome: Outcome, shape: dict[str, Any]) -> str:
    words = [f"lockstep sim --seed {outcome.seed}"]
    if shape["nodes"] is not None:
        words.append(f"--nodes {shape['nodes']}")
    if shape["weights"] is not None:
        words.append("--weights " + ",".join(map(str, shape["weights"])))
    if shape["seconds"] != 60:
        words.append(f"--seconds {shape['seconds']}")
    return " ".join([*words, "--trace world.txt"])


def _summarise(
    outcomes: Sequence[Outcome], shape: dict[str, Any], elapsed: float
) -> dict[str, Any]:
    counts = dict.fromkeys(Verdict, 0)
    for outcome in outcomes:
        counts[outcome.verdict] += 1
    missed = missed_floors(outcomes)
    content: dict[str, Any] = {
        "seeds": len(outcomes),
        **{str(verdict): count for verdict, count in counts.items()},
        "seconds": round(elapsed, 2),
        "seeds_per_second": round(len(outcomes) / max(elapsed, 0.001), 2),
        "floors_ok": not missed,
        "floors_missed": missed,
        "counters": sum_counters(outcomes),
        "failures": [
            {
                "seed": outcome.seed,
                "verdict": outcome.verdict,
                "sentence": outcome.sentence,
                "reproduce": _reproduce(outcome, shape),
            }
            for outcome in outcomes
            if outcome.verdict is not Verdict.PASS
        ],
    }
    if len(outcomes) == 1:
        content["trace_hash"] = outcomes[0].trace_hash
        content["options"] = outcomes[0].options
    return content


def _format_lines(content: dict[str, Any], outcomes: Sequence[Outcome]) -> list[str]:
    verdicts = ", ".join(f"{content[str(verdict)]} {verdict}" for verdict in Verdict)
    rate = f"{content['seconds']} s, {content['seeds_per_second']} seeds a second"
    lines = [f"{content['seeds']} seeds: {verdicts}; {rate}"]
    lines.append(", ".join(f"{name} {count}" for name, count in content["counters"].items()))
    lines.extend(f"work floor missed: {missed}" for missed in content["floors_missed"])
    for failure in content["failures"]:
        lines.append(f"seed {failure['seed']} {failure['verdict']}: {failure['sentence']}")
        lines.append(f"  {failure['reproduce']}")
    if len(outcomes) == 1:
        lines.append(f"trace {content['trace_hash']}")
    return lines


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
