"""One world on file and on the terminal: recorded, replayed line by line, shown as a timeline."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lockstep.cli.sim_options import Asked
from lockstep.errors import Unavailable
from lockstep.sim.options import draw_options
from lockstep.sim.outcome import Outcome
from lockstep.sim.recording import Difference, Header, Recorder, Replay, ReplayDiffers, read_trace
from lockstep.sim.tape import Sink
from lockstep.sim.world import World


class TraceFileUnusable(Unavailable):
    """The trace file cannot be read or written."""

    code = "sim.trace_file"


def run_one(seed: int, asked: Asked, *, trace: Path | None, show: Sink | None) -> Outcome:
    """Run one seed, recording it to a file and showing it, each if asked.

    Raises:
        TraceFileUnusable: If the file cannot be written.
    """
    options = draw_options(seed, **asked.as_arguments())
    if trace is None:
        return World(seed, options, sink=show).run()
    with _opened(trace, "w") as lines:
        recorder = Recorder(lines.write, seed, options)
        outcome = World(seed, options, sink=_both(recorder.take, show)).run()
        recorder.end(outcome)
    return outcome


def replay_file(
    trace: Path, *, show: Sink | None
) -> tuple[Header, Outcome | None, Difference | None]:
    """Run the world of a trace again and compare line by line.

    Returns:
        The trace's header; the outcome, None where the lines differ before there is one; and the
        first difference, None where the world is the same bit for bit.

    Raises:
        NoTrace, TraceOfAnotherVersion, TraceCut, TraceDamaged: If the file is no whole trace.
        TraceFileUnusable: If the file cannot be read.
    """
    with _opened(trace, "r") as lines:
        header, footer = read_trace(lines)
    with _opened(trace, "r") as lines:
        comparison = Replay(lines)
        try:
            sink = _both(comparison.take, show)
            outcome = World(header.seed, header.options, sink=sink).run()
        except ReplayDiffers as fault:
            return header, None, fault.difference
        return header, outcome, comparison.end(outcome, footer)


def _both(first: Sink, second: Sink | None) -> Sink:
    if second is None:
        return first
    other = second

    def take(line: str) -> None:
        first(line)
        other(line)

    return take


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[IO[str]]:
    """Open a trace so that every byte of it counts, also those that no trace has."""
    try:
        with path.open(mode, encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            yield file
    except OSError as fault:
        raise TraceFileUnusable(f"{path} cannot be used: {fault.strerror}") from fault
