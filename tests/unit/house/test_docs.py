"""The documentation is true as far as a machine can tell: what it names exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich_click as click
from click.exceptions import UsageError

from lockstep.cli.main import lockstep
from lockstep.cli.reference.errors import NO_CLASS, find_errors
from lockstep.cli.reference.metrics import render_metrics
from lockstep.rpc.table import METHODS

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROSE_CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"^(?:\$ )?(?:\./)?lockstep (.+)$")
METHOD = re.compile(r'"method": ?"([a-z.]+)"')
METRIC = re.compile(r"\b(lockstep_[a-z_]+)")
SUFFIXES = re.compile(r"_(?:total|bucket|count|sum)$")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings as links say them."""
    found = set()
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\s-]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(BLOCK.sub("", page.read_text("utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), target


def commands_of(page: Path) -> Iterator[str]:
    """Yield what follows `lockstep` in the shell blocks of a page."""
    for language, block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.splitlines():
            is_typed = language == "sh" or line.startswith("$ ")
            if is_typed and (found := COMMAND.match(line.strip())):
                yield found[1]


def parse(words: list[str]) -> None:
    """Read a command line as click does, without running or looking at anything."""
    command: click.Command = lockstep
    context = click.Context(lockstep, info_name="lockstep")
    while isinstance(command, click.Group):
        if words and words[0].startswith("-"):
            command.make_parser(context).parse_args(words)
            return
        below = command.get_command(context, words[0]) if words else None
        assert below is not None, words
        command, words = below, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    values, extra, _ = command.make_parser(context).parse_args(words)
    assert not extra, extra
    for option in command.params:
        if isinstance(option, click.Option) and option.required and not option.envvar:
            assert option.name in values, option.name


def test_commands_in_the_documentation_are_understood() -> None:
    seen = 0
    for page in PAGES:
        for text in commands_of(page):
            words = shlex.split(text, comments=True)
            cut = next((i for i, word in enumerate(words) if re.match(r"\d?[<>|]", word)), None)
            try:
                parse(words[:cut])
            except UsageError as fault:
                pytest.fail(f"{name_of(page)}: lockstep {text}: {fault.format_message()}")
            seen += 1
    assert seen > 40


def test_a_wrong_command_is_noticed() -> None:
    with pytest.raises(UsageError):
        parse(["devnet", "--nodse", "4"])
    with pytest.raises(AssertionError):
        parse(["wallet", "burn"])


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name != "reference"], ids=name_of)
def test_codes_methods_and_metrics_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    assert set(METHOD.findall(text)) <= set(METHODS)
    metrics = set(METRIC.findall(render_metrics()))
    for metric in METRIC.findall(text):
        assert metric.startswith("lockstep_process_") or (
            metric in metrics or SUFFIXES.sub("", metric) in metrics
        ), metric
    codes = {kind.code for kind in find_errors()} | {c for part in NO_CLASS.values() for c in part}
    areas = {code.partition(".")[0] for code in codes}
    for word in PROSE_CODE.findall(BLOCK.sub("", text)):
        if re.fullmatch(r"[a-z]+\.[a-z_]+", word) and word.partition(".")[0] in areas:
            is_file = word.endswith((".py", ".md", ".json", ".key", ".log", ".toml", ".max"))
            assert is_file or word in codes or word in METHODS, word


def test_the_code_map_names_every_room_and_only_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Code map")[2]
    rooms_described = re.compile(
        r"^\*\*`(\w+)/`\*\*(.*?)(?=^\*\*`|^Beside it)", re.MULTILINE | re.DOTALL
    )
    source = ROOT / "src" / "lockstep"
    rooms = {path.name for path in source.iterdir() if (path / "__init__.py").exists()}
    sections = rooms_described.findall(text)
    assert {room for room, _ in sections} == rooms
    for room, section in sections:
        for name in re.findall(r"`([\w/]+\.py)`", section):
            assert (source / room / name).exists(), f"{room}/{name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_prose_names_exist(page: Path) -> None:
    for word in PROSE_CODE.findall(BLOCK.sub("", page.read_text("utf-8"))):
        if re.fullmatch(r"(?:[a-z_]+/)+[a-z_]+\.py", word) and not word.startswith("a/"):
            places = (ROOT / word, ROOT / "src" / "lockstep" / word)
            assert any(place.exists() for place in places), word
