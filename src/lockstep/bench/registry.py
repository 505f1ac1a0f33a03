"""All benchmarks by name; the module of one is imported when it is run."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from msgspec import Struct

from lockstep.bench.measuring import Figure
from lockstep.bench.places import Places


class Request(Struct, frozen=True):
    """What a benchmark is asked for.

    Attributes:
        repetitions: How often each variant is measured; the median and the spread are told.
        places: Where data lies that not every installation has.
    """

    repetitions: int
    places: Places


class Report(Struct, frozen=True):
    """What a benchmark found.

    Attributes:
        figures: What was measured, by names that stay the same from run to run.
        content: Further fields of the JSON object.
        lines: The result for people.
        is_good: Whether all that must hold did; a slow machine is no fault.
    """

    figures: dict[str, Figure]
    content: dict[str, Any]
    lines: list[str]
    is_good: bool = True


class Benchmark(Struct, frozen=True):
    """A benchmark: what it measures in a sentence, and `module:function` that runs it."""

    sentence: str
    place: str

    def load(self) -> Callable[[Request], Report]:
        """Import and return the function that runs it."""
        module, _, name = self.place.partition(":")
        run: Callable[[Request], Report] = getattr(import_module(module), name)
        return run


BENCHMARKS: Final = {
    "verify": Benchmark(
        sentence="Microseconds a signature by backend and group size; agreement on all vectors.",
        place="lockstep.bench.verify:run",
    ),
}
