"""Which clauses and which lines of Tendermint's pseudocode each transcript covers, as a table.

A transcript says so itself, in a line like `# covers: [F1, T5] L22-L27 L36`: clauses of docs/spec
in brackets, and lines of Algorithm 1 of arXiv 1807.04938.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

LINES: Final = range(11, 68)
"""The lines of Algorithm 1 that are rules: all from StartRound to the last time-out."""
CLAUSES: Final = tuple(f"F{i}" for i in range(1, 7)) + tuple(f"T{i}" for i in range(1, 11))
"""The clauses that must be covered; the table also has whatever else is named."""
HEADING: Final = "## Clauses and lines\n"

COVERS: Final = re.compile(r"^# covers: (?:\[([^\]]+)\])?((?: L\d+(?:-L\d+)?)*)$", re.MULTILINE)


class Transcript(NamedTuple):
    """What the head of a transcript says."""

    name: str
    title: str
    clauses: tuple[str, ...]
    lines: tuple[int, ...]


def read_head(path: Path) -> Transcript:
    """Return what a transcript says of itself.

    Raises:
        AssertionError: If it has no title, no explanation or no line that says what it covers.
    """
    text = path.read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    name = f"{path.parent.name}/{path.stem}"
    assert len(head) > 3, f"{name}: a title, an empty line, what happens and why, what it covers"
    assert head[0].endswith("."), f"{name}: the title is a sentence in one line"
    assert head[1] == "#", f"{name}: an empty line follows the title"
    found = COVERS.fullmatch(head[-1])
    assert found is not None, f"{name}: its last line of text is `# covers: [F1, T5] L22-L27`"
    lines: list[int] = []
    for span in (found[2] or "").split():
        ends = [int(end) for end in span.replace("L", "").split("-")]
        lines.extend(range(ends[0], ends[-1] + 1))
    clauses = tuple((found[1] or "").split(", ")) if found[1] else ()
    return Transcript(name, head[0][2:], clauses, tuple(lines))


def render(page: str, transcripts: list[Transcript]) -> str:
    """Return the page with its tables made anew; the text above them stays."""
    above, heading, _ = page.partition(HEADING)
    rows = [
        heading,
        f"{len(transcripts)} transcripts, in `tests/interaction`.\n",
        "| clause | transcripts |\n| --- | --- |",
    ]
    named = {clause for one in transcripts for clause in one.clauses}
    for clause in sorted(named, key=lambda c: (c[0], int(c[1:]))):
        found = [one.name for one in transcripts if clause in one.clauses]
        rows.append(f"| [{clause}] | {', '.join(found)} |")
    rows.append("\n| line | transcripts |\n| --- | --- |")
    rows.extend(_line_rows(transcripts))
    rows.append("\n## What each one tells\n\n| transcript | title |\n| --- | --- |")
    rows.extend(f"| {one.name} | {one.title} |" for one in transcripts)
    return above + "\n".join(rows) + "\n"


def _line_rows(transcripts: list[Transcript]) -> list[str]:
    """Return a row for each run of lines that the same transcripts cover."""
    runs: list[tuple[list[int], list[str]]] = []
    for line in LINES:
        found = [one.name for one in transcripts if line in one.lines]
        if runs and runs[-1][1] == found:
            runs[-1][0].append(line)
        else:
            runs.append(([line], found))
    return [
        f"| {lines[0]}{f'-{lines[-1]}' if len(lines) > 1 else ''} | {', '.join(found)} |"
        for lines, found in runs
    ]
