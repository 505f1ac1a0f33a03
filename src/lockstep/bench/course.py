"""The course of a run: whether it was cut short, how far it is, and what was measured so far.

A first Ctrl-C, or SIGTERM, asks: whatever measures through `measuring` takes the samples it cannot
do without and ends, so that a report can be written that says it was cut short. A second one
interrupts at once, and only the figures noted until then are left.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lockstep.bench.measuring import Figure

Advance = Callable[[int, int], None]
"""Told how many samples are taken, of how many."""


class Course:
    """What happened to a run until now.

    Attributes:
        is_cut_short: Somebody asked for its end.
        noted: Figures by name, the last of each.
        advance: Told how far the run is.
    """

    __slots__ = ("advance", "is_cut_short", "noted")

    def __init__(self, tell: Advance) -> None:
        """Begin a run with nothing measured."""
        self.advance = tell
        self.is_cut_short = False
        self.noted: dict[str, Figure] = {}


_course: Final[ContextVar[Course | None]] = ContextVar("course", default=None)


def is_cut_short() -> bool:
    """Tell whether the run shall end as soon as it has something of everything."""
    course = _course.get()
    return course is not None and course.is_cut_short


def advance(done: int, total: int) -> None:
    """Tell how many samples are taken, of how many."""
    course = _course.get()
    if course is not None:
        course.advance(done, total)


def note(figures: Mapping[str, "Figure"]) -> None:
    """Remember figures, for the case that the run comes to no report."""
    course = _course.get()
    if course is not None:
        course.noted.update(figures)


@contextmanager
def watched(tell: Advance) -> Iterator[Course]:
    """Run what is inside so that Ctrl-C asks before it interrupts; on the main thread only."""
    course = Course(tell)

    def ask(*_: object) -> None:
        if course.is_cut_short:
            raise KeyboardInterrupt
        course.is_cut_short = True
        sys.stderr.write("cut short: ending with what there is; once more ends at once\n")

    previous = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    token = _course.set(course)
    try:
        yield course
    finally:
        _course.reset(token)
        for each, handler in previous.items():
            signal.signal(each, handler)
