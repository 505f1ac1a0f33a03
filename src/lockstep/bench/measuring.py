"""How all benchmarks measure: warmed up, variants in turns, median and spread, CPU and wall.

Variants take turns (A B A B), so that a neighbour who comes or goes meets all of them. CPU time is
that of the whole process; where others share the machine it is the figure to quote.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from msgspec import Struct

from lockstep.bench import course

SAMPLE_S: Final = 0.004
"""Wall time of one sample: the work is repeated until about so much has passed."""
WARM_UP_S: Final = 0.02
"""Wall time for which each variant runs before anything counts."""
UNIT: Final = "us"


class Figure(Struct, frozen=True):
    """Microseconds an item: the median, and the spread as 10th and 90th percentile.

    Attributes:
        cpu: Median of the CPU time of all threads; `cpu_low` and `cpu_high` its spread.
        wall: Median of the time that passed; `wall_low` and `wall_high` its spread.
        samples: How many samples were taken.
    """

    cpu: float
    cpu_low: float
    cpu_high: float
    wall: float
    wall_low: float
    wall_high: float
    samples: int


class Variant(Struct, frozen=True):
    """One thing to measure: work that handles `items` things each time it is called."""

    work: Callable[[], object]
    items: int


def measure(variants: Mapping[str, Variant], *, repetitions: int) -> dict[str, Figure]:
    """Measure the variants in turns; each has one sample in every repetition.

    A run that is cut short has one sample of each variant at least.
    """
    loops = {name: _warm_up(variant.work) for name, variant in variants.items()}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    total = repetitions * len(variants)
    for repetition in range(repetitions):
        for place, (name, variant) in enumerate(variants.items()):
            if repetition and course.is_cut_short():
                break
            per_us = 1e6 / (loops[name] * variant.items)
            cpu_s, wall_s = _sample(variant.work, loops[name])
            samples[name].append((cpu_s * per_us, wall_s * per_us))
            course.note({name: summarise(samples[name])})
            course.advance(repetition * len(variants) + place + 1, total)
    return {name: summarise(found) for name, found in samples.items()}


def _warm_up(work: Callable[[], object]) -> int:
    """Run the work for a while; return how often it fits into a sample."""
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < WARM_UP_S or not count:
        work()
        count += 1
        if course.is_cut_short():
            return 1
    return max(1, round(count * SAMPLE_S / passed))


def _sample(work: Callable[[], object], loops: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(loops):
        work()
    return time.process_time() - cpu, time.perf_counter() - wall


def summarise(samples: list[tuple[float, float]]) -> Figure:
    """Return the figure of samples of (CPU, wall) microseconds an item."""
    cpu = _spread([cpu for cpu, _ in samples])
    wall = _spread([wall for _, wall in samples])
    return Figure(*cpu, *wall, samples=len(samples))


def _spread(values: list[float]) -> tuple[float, float, float]:
    """Return the median, and the 10th and 90th percentile."""
    if len(values) == 1:
        return (round(values[0], 3),) * 3
    tenths = quantiles(values, n=10, method="inclusive")
    return round(median(values), 3), round(tenths[0], 3), round(tenths[-1], 3)


def describe_machine() -> dict[str, Any]:
    """Say on what was measured, and how busy it was."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": usable,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
