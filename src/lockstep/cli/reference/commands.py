"""The page of commands, written from the command line itself."""

import inspect
from collections.abc import Iterator
from typing import Final

import rich_click as click

from lockstep.cli.main import lockstep
from lockstep.cli.reference.table import render_code, render_table

_HEAD: Final = """# Command line

Written from the commands by `python -m lockstep.cli.reference`; do not edit.

In a checkout the command is `./lockstep`, installed it is `lockstep`. Results go to standard
output and nothing else does; progress and errors go to standard error. With `--json` the last line
of standard output is one JSON object, also where a command fails: `{"error": {"code", "message",
"hint"}}` with a code of [errors](errors.md). `-h` and `--help` explain every command.
"""
_BLOCK: Final = "\b"


def render_commands() -> str:
    """Write the page."""
    root = click.Context(lockstep, info_name="lockstep")
    return "\n".join([_HEAD, *_render_command(lockstep, root)]).rstrip() + "\n"


def _render_command(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    yield f"## {path}\n"
    pieces = command.collect_usage_pieces(context)
    yield f"```text\n{' '.join([path, *pieces])}\n```\n"
    yield from _render_help(inspect.cleandoc(command.help or ""))
    options = [param for param in command.params if isinstance(param, click.Option)]
    if options:
        rows = [
            (_name_option(option), _describe_option(option), render_code(_variable_of(option)))
            for option in options
        ]
        yield from render_table(("option", "what", "environment"), rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _render_command(
                    below, click.Context(below, info_name=name, parent=context)
                )


def _render_help(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; what is marked to keep its lines becomes code."""
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0].strip() != _BLOCK:
            yield paragraph + "\n"
            continue
        yield lines[1].strip() + "\n"
        yield "```sh"
        yield from (line.strip() for line in lines[2:])
        yield "```\n"


def _name_option(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return render_code(names)
    if isinstance(option.type, click.IntRange):
        return render_code(f"{names} {option.metavar or 'N'}")
    return render_code(f"{names} {option.make_metavar(click.Context(lockstep))}")


def _describe_option(option: click.Option) -> str:
    text = option.help or ""
    if isinstance(option.type, click.IntRange):
        low, high = option.type.min, option.type.max
        if high is not None:
            text += f" From {low} to {high}."
        elif low:
            text += f" At least {low}."
    if option.required:
        text += " Must be given."
    elif option.show_default and option.default is not None:
        text += f" Default: {option.default}."
    return text


def _variable_of(option: click.Option) -> str:
    return option.envvar if isinstance(option.envvar, str) else ""
