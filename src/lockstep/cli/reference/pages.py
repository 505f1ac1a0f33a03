"""All generated pages by file name, and how they come to stand in docs/reference."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lockstep.cli.reference.commands import render_commands
from lockstep.cli.reference.errors import render_errors
from lockstep.cli.reference.limits import render_limits
from lockstep.cli.reference.metrics import render_metrics
from lockstep.cli.reference.settings import render_settings
from lockstep.rpc.reference import render_reference
from lockstep.rpc.table import METHODS

PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli.md": render_commands,
    "config.md": render_settings,
    "errors.md": render_errors,
    "limits.md": render_limits,
    "metrics.md": render_metrics,
    "rpc.md": lambda: render_reference(METHODS),
}


def write_pages(directory: Path) -> None:
    """Write every page into the directory, over what stands there."""
    for name, render in PAGES.items():
        (directory / name).write_text(render(), "utf-8")
