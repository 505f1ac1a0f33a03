"""The heads of the scenarios, and the tables of the documentation made from them."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from scenarios.lines import LINES, format_lines, parse_lines
from scenarios.script import Script

ROOT: Final = Path(__file__).parent
COUNT: Final = 51
"""Scenarios of the public suites, which come first; their names stand in the shared vectors."""
OWN: Final = "our own"
"""What stands in the place of a name where no public suite has the scenario."""
HEADING: Final = "## The scenarios\n"

_HEAD: Final = re.compile(
    r"# (?P<title>.+\.)\n#\n(?P<why>(?:# .+\n)+?)"
    r"# scenario: (?P<number>\d\d) (?P<name>\w+|our own)\n"
    r"# covers:(?P<lines>(?: L\d+(?:-L\d+)?)*)\n>"
)
_COVERS: Final = re.compile(r"^# covers:.*$", re.MULTILINE)


class Scenario(NamedTuple):
    """What the head of a scenario says."""

    file: str
    number: int
    name: str
    title: str
    lines: frozenset[int]


def find_scenarios() -> list[Path]:
    """Return the files, by the numbers they begin with."""
    return sorted(ROOT.glob("*/*.txt"), key=lambda path: path.name)


def read_head(path: Path) -> Scenario:
    """Return what a scenario says of itself.

    Raises:
        AssertionError: If its head is not a title, why it is so, its number and name, its lines.
    """
    found = _HEAD.match(path.read_text("utf-8"))
    assert found is not None, f"{path.name}: title, empty line, why, scenario:, covers:, commands"
    assert path.name.startswith(f"{found['number']}-"), f"{path.name} is not {found['number']}"
    return Scenario(
        file=f"{path.parent.name}/{path.stem}",
        number=int(found["number"]),
        name=found["name"],
        title=found["title"],
        lines=frozenset(parse_lines(found["lines"])),
    )


def retell(text: str) -> str:
    """Return a scenario with the answers, and the lines it reaches, as they are now."""
    script = Script()
    played = script.play(text)
    return _COVERS.sub(f"# covers: {format_lines(script.covered)}".rstrip(), played, count=1)


def render(page: str, scenarios: list[Scenario]) -> str:
    """Return the page with its tables made anew; the text above them stays."""
    above, heading, _ = page.partition(HEADING)
    rows = [
        heading,
        f"{len(scenarios)} scenarios, in `tests/scenarios`.\n",
        "| | name in the public suites | file | what it shows |\n| --- | --- | --- | --- |",
        *(f"| {one.number} | {one.name} | {one.file} | {one.title} |" for one in scenarios),
        "\n## Lines of the pseudocode\n",
        "By number of the scenario. The vote keeper's are those that wait for a weight of votes.",
        "\n| line | driver | vote keeper |\n| --- | --- | --- |",
    ]
    rows.extend(_line_rows(scenarios))
    return above + "\n".join(rows) + "\n"


def _line_rows(scenarios: list[Scenario]) -> list[str]:
    """Return a row for each run of lines that the same scenarios carry out."""
    runs: list[tuple[set[int], str]] = []
    for line in LINES:
        found = [one for one in scenarios if line in one.lines]
        columns = (
            " ".join(str(one.number) for one in found if one.file.startswith(folder))
            for folder in ("driver/", "votekeeper/")
        )
        row = " | ".join(columns)
        if runs and runs[-1][1] == row and line - 1 in runs[-1][0]:
            runs[-1][0].add(line)
        else:
            runs.append(({line}, row))
    return [f"| {format_lines(lines).replace('L', '')} | {row} |" for lines, row in runs]
