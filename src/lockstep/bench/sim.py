"""`lockstep bench sim`: how many seeds of the standard swarm a core gets through.

The same seeds every time, in this process, one after the other: a seed is a whole world of 60
virtual seconds with faults and checkers. Seeds differ in size, so the spread is that of the worlds;
compare reports of equal seeds.
"""

import time
from typing import Any, Final

from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.sim.outcome import Outcome, Verdict
from lockstep.sim.swarm import run_seed

SEEDS_MAX: Final = 10


def run(request: Request) -> Report:
    """Run the first seeds, each once; all of them have to pass."""
    outcomes: list[Outcome] = []
    samples: list[tuple[float, float]] = []
    for seed in range(min(request.repetitions, SEEDS_MAX)):
        wall, cpu = time.perf_counter(), time.process_time()
        outcomes.append(run_seed(seed, nodes=request.nodes))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        samples.append((cpu * 1e6, wall * 1e6))
    steps = sum(outcome.counters["steps"] for outcome in outcomes)
    cpu_s = sum(cpu for cpu, _ in samples) / 1e6
    virtual_s = sum(outcome.virtual_ms for outcome in outcomes) / 1000
    failed = [outcome.seed for outcome in outcomes if outcome.verdict is not Verdict.PASS]
    content: dict[str, Any] = {
        "seeds": len(outcomes),
        "seeds_per_cpu_second": round(len(outcomes) / cpu_s, 3),
        "steps_per_cpu_second": round(steps / cpu_s),
        "virtual_seconds_per_cpu_second": round(virtual_s / cpu_s, 1),
        "failed": failed,
    }
    figures = {"seed": summarise(samples)}
    lines = _describe(content, figures["seed"])
    return Report(figures=figures, content=content, lines=lines, is_good=not failed)


def _describe(content: dict[str, Any], figure: Figure) -> list[str]:
    a_core = f"{content['seeds_per_cpu_second']} a second and core"
    spread = f"{figure.cpu_low / 1e6:.2f} to {figure.cpu_high / 1e6:.2f}; worlds differ"
    steps = f"{content['steps_per_cpu_second']} steps of nodes"
    virtual = f"{content['virtual_seconds_per_cpu_second']} virtual seconds"
    lines = [
        f"{content['seeds']} seeds: {a_core}",
        f"  a seed: {figure.cpu / 1e6:.2f} s of CPU ({spread})",
        f"  {steps} and {virtual} a second of CPU",
    ]
    lines += [f"  seed {seed} did not pass" for seed in content["failed"]]
    return lines
