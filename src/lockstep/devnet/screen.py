"""Progress on standard error: one live line on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Any, Final, TextIO

PLAIN_EVERY_S: Final = 5.0


class Screen:
    """Says what happens; standard output is for results alone."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`, standard error where none is named; live where that is a terminal."""
        self._stream = stream or sys.stderr
        self._status: Any = None
        self._told_s = 0.0
        if self._stream.isatty():
            # Imported here because no other command needs it, and it takes a while.
            from rich.console import Console  # noqa: PLC0415  # Lazily, as said above.

            self._status = Console(file=self._stream, highlight=False).status("starting")

    def say(self, sentence: str) -> None:
        """Write one line that stays."""
        if self._status is not None:
            self._status.console.print(sentence, markup=False)
        else:
            self._stream.write(sentence + "\n")
            self._stream.flush()

    def show(self, line: str) -> None:
        """Show the state of things: live on a terminal, elsewhere every few seconds."""
        if self._status is not None:
            from rich.text import Text  # noqa: PLC0415  # Imported with the console already.

            self._status.start()
            self._status.update(Text(line))
        elif time.monotonic() >= self._told_s + PLAIN_EVERY_S:
            self._told_s = time.monotonic()
            self.say(line)

    def close(self) -> None:
        """Take the live line away."""
        if self._status is not None:
            self._status.stop()


def describe_progress(
    latest: dict[str, Any], *, elapsed_s: float, rate: float, running: int, nodes: int
) -> str:
    """Return one line on how the network goes."""
    heights = latest.get("heights") or [0]
    times = latest.get("recent_ms") or {}
    parts = [f"{elapsed_s:.0f} s", f"height {max(heights)}", f"{running}/{nodes} nodes"]
    if latest.get("submitted"):
        parts += [f"{latest['final']}/{latest['submitted']} final", f"{rate:.0f} tx/s"]
    if times.get("p50") is not None:
        parts.append(f"p50 {times['p50']:.0f} ms, p95 {times['p95']:.0f} ms")
    return ", ".join(parts)
