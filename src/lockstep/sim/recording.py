"""The trace file of a world: a header, a line for everything that happened, and a footer.

Header and footer are one JSON object each. The header says how to make the world again: the seed
and all options. The footer holds the verdict, the counters, and a sum over every line before it, so
that a file that is cut short or damaged is known before a world is run.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct

from lockstep import __version__
from lockstep.errors import Rejected
from lockstep.sim.options import Options
from lockstep.sim.outcome import Outcome

TRACE_VERSION: Final = 1
_HEADER_MARK: Final = '{"lockstep_trace":'
_FOOTER_MARK: Final = '{"end_of_trace":'


class NoTrace(Rejected):
    """The file is no trace of a simulated world."""

    code = "sim.no_trace"
    hint = "record one with `lockstep sim --seed N --trace FILE`"


class TraceOfAnotherVersion(Rejected):
    """The trace was recorded by a version whose worlds are not ours."""

    code = "sim.trace_version"
    hint = "replay it with the version that recorded it, or record the seed anew"


class TraceCut(Rejected):
    """The trace has no end: its run was interrupted, or the file was cut."""

    code = "sim.trace_cut"
    hint = "record the seed anew"


class TraceDamaged(Rejected):
    """The trace does not hold what was recorded."""

    code = "sim.trace_damaged"
    hint = "record the seed anew"


class Header(Struct, frozen=True):
    """The first line: how to make the world again."""

    lockstep_trace: int
    lockstep: str
    seed: int
    options: Options


class Footer(Struct, frozen=True):
    """The last line: how the world ended, and a sum over all lines before this one."""

    end_of_trace: int
    sum: str
    outcome: dict[str, Any]


class Difference(Struct, frozen=True):
    """The first line that a replay did not repeat; what is missing is empty.

    Attributes:
        line: Its number in the file, from 1.
    """

    line: int
    recorded: str
    replayed: str


class Recorder:
    """Writes a trace line by line; nothing is kept."""

    def __init__(self, write: Callable[[str], object], seed: int, options: Options) -> None:
        """Write the header; `write` takes a line with its end."""
        self._write = write
        self._sum = blake2b(digest_size=16)
        self._lines = 0
        self.take(_encode(Header(TRACE_VERSION, __version__, seed, options)))

    def take(self, line: str) -> None:
        """Write a line."""
        text = line + "\n"
        self._sum.update(text.encode())
        self._lines += 1
        self._write(text)

    def end(self, outcome: Outcome) -> None:
        """Write the footer."""
        ending = make_ending(outcome)
        self._write(_encode(Footer(self._lines, self._sum.hexdigest(), ending)) + "\n")


class Replay:
    """Holds a world that runs again to the lines of its trace."""

    def __init__(self, recorded: Iterable[str]) -> None:
        """Compare with the lines of a whole trace, header and footer included."""
        self._recorded = iter(recorded)
        next(self._recorded, None)
        self._line = 1

    def take(self, line: str) -> None:
        """Compare the next line.

        Raises:
            ReplayDiffers: If the trace goes on in another way.
        """
        self._line += 1
        recorded = next(self._recorded, "").removesuffix("\n")
        if recorded != line:
            is_end = recorded.startswith(_FOOTER_MARK)
            raise ReplayDiffers(Difference(self._line, "" if is_end else recorded, line))

    def end(self, outcome: Outcome, footer: Footer) -> Difference | None:
        """Return what the end of the trace says otherwise, or None if all is the same."""
        rest = next(self._recorded, "").removesuffix("\n")
        self._line += 1
        if not rest.startswith(_FOOTER_MARK):
            return Difference(self._line, rest, "")
        now = make_ending(outcome)
        recorded = footer.outcome
        for name in dict.fromkeys([*recorded, *now]):
            if recorded.get(name) != now.get(name):
                ends = [_encode({name: end.get(name)}) for end in (recorded, now)]
                return Difference(self._line, *ends)
        return None


class ReplayDiffers(Exception):
    """A replay is not the world that was recorded; what runs the world must not catch it."""

    def __init__(self, difference: Difference) -> None:
        """Name the first line that differs."""
        super().__init__(f"line {difference.line} differs")
        self.difference = difference


def read_header(line: str) -> Header:
    """Read the first line of a trace.

    Raises:
        NoTrace: If it is no header of ours.
        TraceOfAnotherVersion: If another version wrote it.
        TraceDamaged: If it has the form of a header and makes no sense.
    """
    if not line.startswith(_HEADER_MARK):
        raise NoTrace("the file is no trace: its first line is no header")
    try:
        said = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as fault:
        raise TraceDamaged("the header of the trace cannot be read") from fault
    version, ours = said.get("lockstep_trace"), TRACE_VERSION
    if version != ours:
        raise TraceOfAnotherVersion(f"the trace has format {version}, this is format {ours}")
    if said.get("lockstep") != __version__:
        sentence = f"the trace was recorded by lockstep {said.get('lockstep')}, this is"
        raise TraceOfAnotherVersion(f"{sentence} lockstep {__version__}")
    try:
        header = msgspec.convert(said, Header)
    except msgspec.ValidationError as fault:
        raise TraceDamaged(f"the header of the trace makes no sense: {fault}") from fault
    if msgspec.json.decode(_encode(header)) != said:
        raise TraceDamaged("the header of the trace names options that there are not")
    return header


def read_trace(lines: Iterable[str]) -> tuple[Header, Footer]:
    """Read a trace through, line by line, and return its two ends.

    Raises:
        NoTrace: If it is no trace.
        TraceOfAnotherVersion: If another version wrote it.
        TraceCut: If its end is missing.
        TraceDamaged: If it is not what was recorded.
    """
    pending = iter(lines)
    first = next(pending, "")
    header = read_header(first)
    total = blake2b(first.encode(), digest_size=16)
    count = 1
    for line in pending:
        if line.startswith(_FOOTER_MARK) and line.endswith("\n"):
            footer = _read_footer(line)
            if next(pending, None) is not None:
                raise TraceDamaged("the trace goes on after its end")
            if (footer.end_of_trace, footer.sum) != (count, total.hexdigest()):
                raise TraceDamaged("the trace does not hold the lines that were recorded")
            return header, footer
        total.update(line.encode())
        count += 1
    raise TraceCut(f"the trace is cut short after {count} lines: its end is missing")


def make_ending(outcome: Outcome) -> dict[str, Any]:
    """Return what a footer says of a run, as JSON gives it back."""
    said = msgspec.json.decode(msgspec.json.encode(outcome))
    return {name: held for name, held in said.items() if name not in ("seed", "options")}


def _read_footer(line: str) -> Footer:
    try:
        return msgspec.json.decode(line, type=Footer)
    except msgspec.DecodeError as fault:
        raise TraceDamaged("the last line of the trace cannot be read") from fault


def _encode(thing: object) -> str:
    return msgspec.json.encode(thing).decode()
