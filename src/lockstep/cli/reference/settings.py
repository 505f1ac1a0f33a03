"""The page of settings, written from the settings of a node and the options of `lockstep node`."""

from collections.abc import Iterator
from typing import Final

import msgspec

from lockstep.cli.node import node
from lockstep.cli.reference.table import render_code, render_table
from lockstep.node.config import EXPLAINED, VARIABLE_PREFIX, Settings, format_settings

VARIABLES: Final = {
    "LOCKSTEP_DIR": "The directory that `--dir` names where it is left out.",
    "LOCKSTEP_WALLET": "The wallet that `--wallet` names where it is left out.",
    "LOCKSTEP_PYTHON": "The Python that `./lockstep` and `./check` make `.venv` with.",
    "LOCKSTEP_VECTORS": "Where the tests look for the external test vectors.",
    "NO_COLOR": "Set to anything: no colours.",
}

_HEAD: Final = """# Settings

Written from the code by `python -m lockstep.cli.reference`; do not edit.

A node reads `lockstep.toml` in its data directory. A variable of the environment goes before what
stands there, and an option of `lockstep node` before both. Several peers are joined by commas in a
variable or an option. An unknown name in the file, or a value that cannot be, stops the start with
a sentence that names it: nothing is ignored and nothing is guessed.
"""
_FILE: Final = """## The file

`lockstep init` writes it, every name with its explanation:
"""
_OTHERS: Final = """## Other variables of the environment
"""
_DEVNET: Final = """`lockstep devnet` starts its nodes without any variable that begins with
`LOCKSTEP_`, so that what is meant for one node does not reach four.
"""


def render_settings() -> str:
    """Write the page."""
    parts = [_HEAD, *_render_names(), _FILE]
    parts += ["```toml", format_settings(Settings()).rstrip(), "```", ""]
    parts += [
        _OTHERS,
        *render_table(("name", "what"), ((render_code(n), t) for n, t in VARIABLES.items())),
        _DEVNET,
    ]
    return "\n".join(parts)


def _render_names() -> Iterator[str]:
    options = {param.name: param.opts[0] for param in node.params}
    defaults = Settings()
    rows = [
        (
            render_code(name),
            render_code(msgspec.json.encode(getattr(defaults, name)).decode()),
            render_code(VARIABLE_PREFIX + name.upper()),
            render_code(options.get(name, "")),
            explanation,
        )
        for name, explanation in EXPLAINED.items()
    ]
    yield from render_table(("name", "default", "environment", "option", "what"), rows)
