"""Tables of Markdown."""

from collections.abc import Iterable, Iterator, Sequence


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table and an empty one; a bar inside a cell does not end the cell."""
    yield _render_row(head)
    yield _render_row(["---"] * len(head))
    for row in rows:
        yield _render_row([cell.replace("|", "\\|") for cell in row])
    yield ""


def _render_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def render_code(text: str) -> str:
    """Return the text as code, nothing where there is none."""
    return f"`{text}`" if text else ""
