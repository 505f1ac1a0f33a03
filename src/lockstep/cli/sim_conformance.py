"""`lockstep sim --conformance`: traces of a formal model replayed against the real consensus."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict

from lockstep.sim.conformance.judge import FileVerdict, TraceKind, find_traces, judge_file

PROGRESS_SECONDS: Final = 2
TOLD_MAX: Final = 10
"""Mismatches, and errors, that are told with all they say; all are counted."""


def run_conformance(
    directory: Path, *, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[str], bool]:
    """Judge every trace below a folder.

    Args:
        directory: The folder; every file whose name ends in .json or .json.gz is a trace.
        say: Takes a line of progress.

    Returns:
        The content for programs, the lines for people, and whether all traces were judged and none
        differs.

    Raises:
        NoTraces: If the folder is missing or holds no trace.
    """
    started = last = time.monotonic()
    paths, others = find_traces(directory)
    verdicts: list[FileVerdict] = []
    for path in paths:
        verdicts.append(judge_file(path, name=_printable(path.relative_to(directory))))
        now = time.monotonic()
        if now - last >= PROGRESS_SECONDS:
            last = now
            say(f"{len(verdicts)} of {len(paths)} traces")
    content = _summarise(verdicts, others=others, seconds=time.monotonic() - started)
    return content, _format_lines(content), content["verdict"] == "pass"


def _summarise(verdicts: Sequence[FileVerdict], *, others: int, seconds: float) -> dict[str, Any]:
    differing = [verdict for verdict in verdicts if verdict.mismatch is not None]
    errors = [verdict for verdict in verdicts if verdict.error is not None]
    return {
        "verdict": "fail" if differing or errors else "pass",
        "files": len(verdicts),
        "steps": sum(verdict.steps for verdict in verdicts),
        "mismatches": len(differing),
        "errors": len(errors),
        "by_kind": {
            str(kind): _count([verdict for verdict in verdicts if verdict.kind is kind])
            for kind in TraceKind
        },
        "steps_unreached": sum(verdict.unreached for verdict in verdicts),
        "other_files": others,
        "seconds": round(seconds, 2),
        "first_mismatches": [
            {"file": verdict.file, **asdict(verdict.mismatch)}
            for verdict in differing[:TOLD_MAX]
            if verdict.mismatch is not None
        ],
        "first_errors": [
            {"file": verdict.file, "code": verdict.error.code, "message": str(verdict.error)}
            for verdict in errors[:TOLD_MAX]
            if verdict.error is not None
        ],
    }


def _count(verdicts: Sequence[FileVerdict]) -> dict[str, int]:
    return {
        "files": len(verdicts),
        "steps": sum(verdict.steps for verdict in verdicts),
        "mismatches": sum(verdict.mismatch is not None for verdict in verdicts),
    }


def _format_lines(content: dict[str, Any]) -> list[str]:
    done = f"{content['files']} traces, {content['steps']} steps in {content['seconds']} s"
    lines = [f"{done}: {content['mismatches']} mismatches, {content['errors']} not judged"]
    lines.extend(
        f"{kind}: {part['files']} traces, {part['steps']} steps, {part['mismatches']} mismatches"
        for kind, part in content["by_kind"].items()
    )
    for told in content["first_mismatches"]:
        lines.append(f"{told['file']} step {told['step']}, {told['what']}:")
        lines.extend([f"  expected {told['expected']}", f"  found    {told['found']}"])
    lines.extend(
        f"{told['file']}: {told['message']} ({told['code']})" for told in content["first_errors"]
    )
    if content["other_files"]:
        lines.append(f"{content['other_files']} other files lie there and were not looked at")
    return lines


def _printable(path: Path) -> str:
    """Return a path that JSON can hold, whatever bytes its name is made of."""
    return str(path).encode("utf-8", "backslashreplace").decode()
