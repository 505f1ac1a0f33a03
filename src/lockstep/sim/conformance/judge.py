"""Judges a folder of traces: which kind each file is, and whether our code does what it says.

Nothing is passed over in silence. Every file below the folder whose name ends in `.json` or
`.json.gz` is judged; one that cannot be is an error with its name. Other files are only counted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from lockstep.errors import LockstepError, Rejected
from lockstep.sim.conformance import driver_replay, rounds_replay, votekeeper_replay
from lockstep.sim.conformance.driver_replay import DriverReplay
from lockstep.sim.conformance.itf import load_states
from lockstep.sim.conformance.mismatch import Mismatch
from lockstep.sim.conformance.rounds_replay import RoundsReplay
from lockstep.sim.conformance.votekeeper_replay import VoteKeeperReplay

SUFFIXES: Final = (".json", ".json.gz")
"""Endings of the names of files that are judged, in whatever case."""


class NoTraces(Rejected):
    """The folder is not there, or nothing in it is a trace."""

    code = "sim.itf_missing"
    hint = "name a folder of traces in the ITF format: *.itf.json, or packed *.itf.json.gz"


class UnknownTrace(Rejected):
    """The trace is whole, but of a model that nothing here is compared with."""

    code = "sim.itf_unknown"


class TraceKind(StrEnum):
    """The part of our code that a trace is replayed against."""

    VOTE_KEEPER = "votekeeper"
    ROUNDS = "rounds"
    DRIVER = "driver"


_VARIABLES: Final[Mapping[TraceKind, frozenset[str]]] = {
    TraceKind.VOTE_KEEPER: votekeeper_replay.VARIABLES,
    TraceKind.ROUNDS: rounds_replay.VARIABLES,
    TraceKind.DRIVER: driver_replay.VARIABLES,
}
_REPLAYS: Final[
    Mapping[TraceKind, Callable[[Sequence[dict[str, Any]]], Iterable[Mismatch | None]]]
] = {
    TraceKind.VOTE_KEEPER: VoteKeeperReplay,
    TraceKind.ROUNDS: RoundsReplay,
    TraceKind.DRIVER: DriverReplay,
}


class FileVerdict(Struct, frozen=True):
    """What came of one file.

    Attributes:
        file: Its path below the folder.
        kind: What it was replayed against; None where it could not be judged.
        steps: Steps compared, up to and with the first mismatch.
        unreached: Steps after the first mismatch: what follows a difference shows nothing more.
        mismatch: The first mismatch, or None.
        error: Why it could not be judged, or None.
    """

    file: str
    kind: TraceKind | None = None
    steps: int = 0
    unreached: int = 0
    mismatch: Mismatch | None = None
    error: Rejected | None = None


def find_traces(directory: Path) -> tuple[list[Path], int]:
    """Return the files to judge below a folder, in order, and how many others lie there.

    Raises:
        NoTraces: If the folder is missing or holds no file to judge.
    """
    if not directory.is_dir():
        raise NoTraces(f"{directory} is no folder")
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    traces = [path for path in files if path.name.lower().endswith(SUFFIXES)]
    if not traces:
        raise NoTraces(f"no file below {directory} ends in {' or '.join(SUFFIXES)}")
    return traces, len(files) - len(traces)


def judge_file(path: Path, *, name: str) -> FileVerdict:
    """Replay one trace up to its first mismatch; a file that cannot be judged is an error."""
    try:
        states = load_states(path)
        kind = recognise(states[0])
        replay = _REPLAYS[kind](states)
    except Rejected as error:
        return FileVerdict(name, error=error)
    steps = 0
    mismatch: Mismatch | None = None
    try:
        for mismatch in replay:
            steps += 1
            if mismatch is not None:
                break
    except LockstepError as error:
        # Our code refused what the model took.
        steps += 1
        mismatch = Mismatch(steps, "refusal", "none", f"{error.code}: {error}")
    return FileVerdict(
        name, kind=kind, steps=steps, unreached=len(states) - 1 - steps, mismatch=mismatch
    )


def recognise(state: Mapping[str, Any]) -> TraceKind:
    """Tell by a state's variables what the trace is of.

    Raises:
        UnknownTrace: If it is of no known model.
    """
    for kind, variables in _VARIABLES.items():
        if variables <= state.keys():
            return kind
    names = ", ".join(sorted(state)) or "none"
    raise UnknownTrace(f"the trace is of no known model; its variables are {names[:200]}")
