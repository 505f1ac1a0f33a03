"""The generated reference: what stands in docs is what the code says, and nothing is left out."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich_click as click

from lockstep.cli.main import lockstep
from lockstep.cli.reference.errors import NO_CLASS, find_errors
from lockstep.cli.reference.metrics import render_metrics
from lockstep.cli.reference.pages import PAGES, write_pages
from lockstep.node.config import EXPLAINED, Settings

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"
CODE = re.compile(r"[a-z]+\.[a-z_]+")
# What looks like a code and is the name of a file, of a method, or of a line in the log.
NO_CODES = re.compile(
    r".+\.(?:json|key|log|toml|new|pem|py|md|wallet|passphrase|max|current|limit_in_bytes"
    r"|usage_in_bytes)|rpc\.(?:discover|subscriber_gone)|lockstep\..+|storage\.commit\..+"
    # These two errors carry the code of what they stand for.
    r"|rpc\.error|tx\.refused"
)


@pytest.mark.parametrize("name", PAGES)
def test_the_written_page_is_up_to_date(name: str) -> None:
    written = (REFERENCE / name).read_text("utf-8")
    assert written == PAGES[name](), "run: python -m lockstep.cli.reference"


def test_all_pages_are_written_at_once(tmp_path: Path) -> None:
    write_pages(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(PAGES)
    assert {path.name for path in REFERENCE.glob("*.md")} == set(PAGES), "a page nobody writes"


def codes_in(tree: ast.Module) -> Iterator[str]:
    """Yield the strings of a module that look like a code, but for those of its docstrings."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as text) if CODE.fullmatch(text):
                if not NO_CODES.fullmatch(text):
                    yield text


def test_every_code_in_the_source_is_explained() -> None:
    known = {kind.code for kind in find_errors()} | {c for part in NO_CLASS.values() for c in part}
    said: dict[str, str] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        words = {code.partition(".")[0] for code in known if "." in code}
        for code in codes_in(ast.parse(path.read_text("utf-8"))):
            if code.partition(".")[0] in words:
                said[code] = path.name
    assert len(said) > 100
    assert {code: place for code, place in said.items() if code not in known} == {}


def test_every_setting_is_explained() -> None:
    assert tuple(EXPLAINED) == Settings.__struct_fields__


def test_labels_of_metrics_are_told() -> None:
    assert "`direction`: `inbound`, `outbound`" in render_metrics()
    assert "`kind`: `confirm`, `vote`" in render_metrics()


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, by its path."""
    waiting: list[tuple[str, click.Command]] = [("lockstep", lockstep)]
    while waiting:
        path, command = waiting.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                waiting.append((f"{path} {name}", below))
        else:
            yield path, command


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_every_command_shows_an_example_and_explains_its_options(
    path: str, command: click.Command
) -> None:
    page = (REFERENCE / "cli.md").read_text("utf-8")
    section = page.partition(f"\n## {path}\n")[2].partition("\n## ")[0]
    assert f"```sh\n{path}" in section
    assert "\\b" not in section
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{path} {option.name}"
