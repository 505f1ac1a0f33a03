"""`lockstep version`: what is installed."""

import platform

import rich_click as click

from lockstep import __version__
from lockstep.cli.output import json_option, say_result
from lockstep.primitives.params import RULE_SET


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    r"""Say which version this is, and which rules it keeps.

    \b
    Example:
      lockstep version --json
    """
    content = {"version": __version__, "rule_set": RULE_SET, "python": platform.python_version()}
    lines = [f"lockstep {__version__}, rule set {RULE_SET}, Python {content['python']}"]
    say_result(content, lines, as_json=as_json)
