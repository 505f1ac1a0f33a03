"""Specification and code hold each other: a clause is cited where it is built and proved.

A clause is defined by `**[F2] Title.**` at the start of a line in docs/spec. It is cited by
`[F2]`, alone or in a list like `[F2, T5]`, in a comment, a docstring or a transcript. A range like
`[F1-F6]` is a pointer for readers and proves nothing about its members.
"""

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SPEC: Final = ROOT / "docs" / "spec"
DEFINITION: Final = re.compile(r"^\*\*\[([A-Z]\d+)\] [A-Z][^*]*\.\*\* ", re.MULTILINE)
CITATION: Final = re.compile(r"\[([MLBFTDSRN]\d+(?:(?:, ?|-)[MLBFTDSRN]\d+)*)\]")
ROW: Final = re.compile(r"^\| \[([A-Z]\d+)\] \| \S", re.MULTILINE)


def defined() -> list[str]:
    """Return the clauses of the specification in the order of its pages."""
    return [
        name for page in sorted(SPEC.glob("*.md")) for name in DEFINITION.findall(page.read_text())
    ]


def prose(path: Path) -> str:
    """Return what a file says to readers: comments and strings of Python, all of anything else."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        return text
    spoken = {tokenize.COMMENT, tokenize.STRING}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(token.string for token in tokens if token.type in spoken)


def citations(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each clause a text names, and whether by itself or as the end of a range."""
    for group in CITATION.findall(text):
        for item in re.split(r", ?", group):
            ends = item.split("-")
            yield from ((name, len(ends) == 1) for name in ends)


def cited(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the clauses cited by themselves, each with the first file that does."""
    found: dict[str, Path] = {}
    for path in sorted(paths):
        for name, alone in citations(prose(path)):
            if alone:
                found.setdefault(name, path)
    return found


def sources() -> list[Path]:
    """Return the files of the package."""
    return sorted((ROOT / "src").rglob("*.py"))


def proofs() -> list[Path]:
    """Return the files of the tests that may prove a clause: all but this one."""
    tests = ROOT / "tests"
    found = [*tests.rglob("*.py"), *tests.rglob("*.txt"), *tests.rglob("*.toml")]
    return sorted(path for path in found if path != Path(__file__))


def table(heading: str) -> set[str]:
    """Return the clauses in the rows under a heading of the specification's first page."""
    _, _, below = (SPEC / "README.md").read_text().partition(f"## {heading}\n")
    return set(ROW.findall(below.partition("\n## ")[0]))


def not_yet() -> set[str]:
    """Return the clauses that the specification says are not built."""
    return table("Not yet built")


def test_specification_is_complete() -> None:
    names = defined()
    assert len(names) == len(set(names))
    counts = {"M": 4, "L": 8, "B": 5, "F": 6, "T": 10, "D": 4, "S": 2, "R": 2, "N": 4}
    assert set(names) == {f"{letter}{i + 1}" for letter, n in counts.items() for i in range(n)}


def test_cited_clauses_exist() -> None:
    known = set(defined())
    for path in (*sources(), *proofs(), *SPEC.glob("*.md")):
        unknown = {name for name, _ in citations(prose(path))} - known
        assert not unknown, (
            f"{path.relative_to(ROOT)} cites {sorted(unknown)}, which no page defines"
        )


def test_every_clause_is_built() -> None:
    missing = set(defined()) - not_yet() - set(cited(sources()))
    assert not missing, f"cited by no file of the package: {sorted(missing)}"


def test_every_clause_is_proved() -> None:
    missing = set(defined()) - not_yet() - set(cited(proofs()))
    assert not missing, f"cited by no test: {sorted(missing)}"


def test_list_of_what_is_not_yet_built_is_exact() -> None:
    assert not_yet() <= set(defined())
    assert table("Built in part") <= set(defined()) - not_yet()
    built = cited(sources()) | cited(proofs())
    early = {name: str(built[name].relative_to(ROOT)) for name in sorted(not_yet() & set(built))}
    assert not early, f"said to be not yet built, but cited: {early}"


def test_reading_of_citations() -> None:
    text = "One [F2], two [F3, T10]; a range [B1-B5]; no clause: [X1], list[T], [F2"
    found = list(citations(text))
    assert [name for name, alone in found if alone] == ["F2", "F3", "T10"]
    assert [name for name, alone in found if not alone] == ["B1", "B5"]
