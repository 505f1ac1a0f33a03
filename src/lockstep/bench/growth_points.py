"""What a growth benchmark returns: points of named curves, and how memory and disks are read."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TypeVar

T = TypeVar("T")

Curves = dict[str, list[tuple[int, float]]]
"""By name of a curve: how many there were of what grows, and what was measured then."""


def traced(make: Callable[[], T]) -> tuple[T, int]:
    """Return what was made, and the bytes that its objects take.

    Those are what Python's allocators were asked for; memory of libraries in C is not in it.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        gc.collect()
        return made, tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """Return what came out, and the seconds of CPU and of time that it took."""
    wall, cpu = perf_counter(), process_time()
    result = work()
    return result, process_time() - cpu, perf_counter() - wall


def disk_bytes(directory: Path) -> int:
    """Return the bytes that the files below a directory take on the disk, holes left out."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())


@contextmanager
def scratch() -> Iterator[Path]:
    """Lend an empty directory on the disk."""
    with TemporaryDirectory(prefix="lockstep-bench-") as directory:
        yield Path(directory)


def add_points(curves: Curves, size: int, **measured: float) -> None:
    """Add a point at `size` to each curve named."""
    for name, value in measured.items():
        curves.setdefault(name, []).append((size, round(value, 3)))
