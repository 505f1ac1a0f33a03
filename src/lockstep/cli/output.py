"""Results on standard output: JSON on one line, or text for people; tables only on a terminal."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import rich_click as click

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Add `--json` to a command; the parameter is `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")(
        function
    )


def say_result(content: object, lines: Sequence[str], *, as_json: bool) -> None:
    """Write a result: `content` as JSON, or the lines for people."""
    text = msgspec.json.encode(content).decode() if as_json else "\n".join(lines)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows in columns; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
