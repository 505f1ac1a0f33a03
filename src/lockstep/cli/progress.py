"""How far a long command is, on standard error: a bar on a terminal, a line now and then else."""

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as BarDisplay

LINE_SECONDS: Final = 2


class Progress:
    """Tells the rate and the time left; use it as a context."""

    def __init__(self, total: int, *, jobs: int, unit: str) -> None:
        """Begin; `jobs` processes share the work of `total` units."""
        self._total = total
        self._jobs = jobs
        self._unit = unit
        self._started = self._told = time.monotonic()
        self._bar = _make_bar() if sys.stderr.isatty() else None
        self._task = None if self._bar is None else self._bar.add_task("", total=total, rate="")

    def __enter__(self) -> Self:
        """Show the bar, where there is one."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, done: int) -> None:
        """Tell that so many units are done in all."""
        now = time.monotonic()
        rate = self._describe(done, now - self._started)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, rate=rate)
        elif now - self._told >= LINE_SECONDS and done < self._total:
            self._told = now
            self.say(f"{done} of {self._total} {self._unit}, {rate}")

    def say(self, line: str) -> None:
        """Write a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def _describe(self, done: int, seconds: float) -> str:
        rate = max(done, 1) / max(seconds, 0.001)
        minutes, rest = divmod(round((self._total - done) / rate), 60)
        return f"{rate:.1f} a second, {rate / self._jobs:.1f} a core, {minutes}:{rest:02} left"


def _make_bar() -> BarDisplay:
    return BarDisplay(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        console=Console(stderr=True),
        transient=True,
    )
