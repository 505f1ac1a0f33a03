"""Many seeds over the cores, with progress, and what they came to."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, Final

from lockstep.cli.progress import Progress
from lockstep.cli.sim_options import Asked
from lockstep.sim.outcome import Outcome, Verdict, missed_floors, sum_counters
from lockstep.sim.swarm import run_seed

BEYOND: Final = (
    "beyond the promise: a third of the nodes or more lie, and such a run must see them succeed"
)


def run_swarm(seeds: Sequence[int], asked: Asked, *, jobs: int | None) -> list[Outcome]:
    """Run all seeds and return what came of them, in order; failures are told at once."""
    outcomes: list[Outcome] = []
    count = count_jobs(jobs, len(seeds))
    with Progress(len(seeds), jobs=count, unit="seeds") as progress:
        for outcome in _outcomes(seeds, asked, jobs=count):
            outcomes.append(outcome)
            if outcome.verdict is not Verdict.PASS:
                progress.say(f"seed {outcome.seed} {outcome.verdict}: {outcome.sentence}")
                progress.say(f"  {asked.reproduce(outcome.seed)}")
            progress.advance(len(outcomes))
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def count_jobs(jobs: int | None, tasks: int) -> int:
    """Return how many processes to use: those asked for, else one a core, and no idle ones."""
    return min(jobs or os.cpu_count() or 1, tasks)


def is_beyond(outcome: Outcome) -> bool:
    """Tell whether so many nodes lied that no promise was made [M1]."""
    return 3 * outcome.options.byzantine >= len(outcome.options.weights)


def summarise(
    outcomes: Sequence[Outcome], asked: Asked, *, seconds: float, jobs: int
) -> dict[str, Any]:
    """Return what the outcomes came to, for programs."""
    counts = dict.fromkeys(Verdict, 0)
    for outcome in outcomes:
        counts[outcome.verdict] += 1
    beyond = all(map(is_beyond, outcomes))
    failed = [outcome for outcome in outcomes if outcome.verdict is not Verdict.PASS]
    fixed = [*asked.overrides, *(["byzantine"] if asked.byzantine else [])]
    missed = [] if beyond else missed_floors(outcomes, fixed=fixed)
    rate = len(outcomes) / max(seconds, 0.001)
    content: dict[str, Any] = {
        "seeds": len(outcomes),
        **{str(verdict): count for verdict, count in counts.items()},
        "seconds": round(seconds, 2),
        "jobs": jobs,
        "seeds_per_second": round(rate, 2),
        "seeds_per_second_and_core": round(rate / jobs, 2),
        "floors_ok": not missed,
        "floors_missed": missed,
        "counters": sum_counters(outcomes),
        "failures": [_describe_failure(outcome, asked) for outcome in failed],
        "beyond_the_promise": beyond,
    }
    if len(outcomes) == 1:
        content["verdict"] = outcomes[0].verdict
        content["trace_hash"] = outcomes[0].trace_hash
        content["options"] = outcomes[0].options
    return content


def is_good(content: dict[str, Any]) -> bool:
    """Tell whether a swarm showed what it must.

    All seeds pass and did enough work; or, beyond the promise, at least one diverged.
    """
    if content["beyond_the_promise"]:
        return bool(content["diverged"])
    return bool(content["pass"] == content["seeds"] and content["floors_ok"])


def format_lines(content: dict[str, Any]) -> list[str]:
    """Return what the outcomes came to, for people."""
    verdicts = ", ".join(f"{content[str(verdict)]} {verdict}" for verdict in Verdict)
    rate = f"{content['seeds_per_second']} seeds a second"
    a_core = f"{content['seeds_per_second_and_core']} a second and core"
    lines = [f"{content['seeds']} seeds: {verdicts}; {content['seconds']} s, {rate}, {a_core}"]
    counted = [f"{name} {count}" for name, count in content["counters"].items() if count]
    lines.append(", ".join(counted))
    lines.extend(f"work floor missed: {missed}" for missed in content["floors_missed"])
    for failure in content["failures"]:
        lines.append(f"seed {failure['seed']} {failure['verdict']}: {failure['sentence']}")
        if failure["culprits"]:
            lines.append("  signed both: " + " ".join(failure["culprits"]))
        lines.append(f"  {failure['reproduce']}")
    if content["beyond_the_promise"]:
        lines.append(BEYOND)
    if content["seeds"] == 1:
        lines.append(f"trace {content['trace_hash']}")
    return lines


def _describe_failure(outcome: Outcome, asked: Asked) -> dict[str, Any]:
    return {
        "seed": outcome.seed,
        "verdict": outcome.verdict,
        "sentence": outcome.sentence,
        "culprits": outcome.culprits,
        "reproduce": asked.reproduce(outcome.seed),
    }


def _outcomes(seeds: Sequence[int], asked: Asked, *, jobs: int) -> Iterator[Outcome]:
    arguments = asked.as_arguments()
    if jobs == 1:
        yield from (run_seed(seed, **arguments) for seed in seeds)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(run_seed, seed, **arguments) for seed in seeds]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
