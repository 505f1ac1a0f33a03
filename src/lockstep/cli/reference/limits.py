"""The page of limits, written from the constants of the code and the sentences beside them."""

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import msgspec

import lockstep
from lockstep.cli.reference.table import render_code, render_table
from lockstep.net.peers import PeerLimits
from lockstep.primitives import params
from lockstep.primitives.params import NETWORKS, ChainParams

_HEAD: Final = """# Limits

Written from the code by `python -m lockstep.cli.reference`; do not edit.

## Rules of every network

Constants of `lockstep.primitives.params`. Nodes that differ in one of them would judge blocks
differently; nodes compare a hash of those that matter when they greet. Amounts are base units, of
which a coin has 10^8.
"""
_NETWORKS: Final = """## Networks

Values of a chain come with its genesis file; these are what a new one is founded with.
"""
_PEERS: Final = """## Connections with peers

Defaults of `lockstep.net.peers.PeerLimits`.
"""
_ROOMS: Final = """## Bounds in the rooms

Everything that can grow has a bound with a name. What is full makes the producer wait, or loses the
slow listener and tells it so.
"""
_ENDINGS: Final = ("_MAX", "_KEPT", "BYTES_MIN")
# Shells around the product, and the room whose constants have a table of their own.
_LEFT_OUT: Final = ("lockstep.cli", "lockstep.devnet", "lockstep.sim", params.__name__)


def render_limits() -> str:
    """Write the page."""
    rules = [(render_code(name), _format(value), text) for name, value, text in _constants(params)]
    parts = [_HEAD, *render_table(("name", "value", "what"), rules)]
    parts += [_NETWORKS, *_render_networks(), _PEERS, *_render_peers(), _ROOMS]
    rows = []
    for module in _modules():
        place = render_code(module.__name__.removeprefix("lockstep."))
        rows += [
            (place, render_code(name), _format(value), text)
            for name, value, text in _constants(module)
            if name.endswith(_ENDINGS)
        ]
    parts += render_table(("where", "name", "value", "what"), rows)
    return "\n".join(parts).rstrip() + "\n"


def _render_networks() -> Iterator[str]:
    names = [name for name in ChainParams.__struct_fields__ if name != "genesis_hash"]
    yield from render_table(
        ("what", *NETWORKS),
        (
            (render_code(name), *(str(getattr(each, name)) for each in NETWORKS.values()))
            for name in names
        ),
    )


def _render_peers() -> Iterator[str]:
    """Yield the table of connection limits, explained by the class's own docstring."""
    texts = _attributes_of(inspect.getdoc(PeerLimits) or "")
    yield from render_table(
        ("name", "value", "what"),
        (
            (render_code(field.name), _format(field.default), texts.get(field.name, ""))
            for field in msgspec.structs.fields(PeerLimits)
        ),
    )


def _attributes_of(text: str) -> dict[str, str]:
    """Return the explanations in the Attributes section of a docstring, by name."""
    found: dict[str, str] = {}
    _, _, section = text.partition("Attributes:\n")
    name = ""
    for line in section.splitlines():
        word, colon, rest = line.strip().partition(": ")
        if colon and word.isidentifier():
            name = word
            found[name] = rest
        elif name:
            found[name] += " " + line.strip()
    return found


def _modules() -> Iterator[ModuleType]:
    for found in sorted(
        pkgutil.walk_packages(lockstep.__path__, "lockstep."), key=lambda m: m.name
    ):
        if not found.name.startswith(_LEFT_OUT) and not found.name.endswith("__main__"):
            yield import_module(found.name)


def _constants(module: ModuleType) -> Iterator[tuple[str, Any, str]]:
    """Yield (name, value, sentence) of a module's public numbers, in the order of the file.

    The sentence is the string right below the constant, empty where there is none.
    """
    body = ast.parse(inspect.getsource(module)).body
    for statement, below in zip(body, [*body[1:], None], strict=True):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
                value = getattr(module, name)
                if isinstance(value, int | float):
                    yield name, value, _string_of(below)


def _string_of(statement: ast.stmt | None) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str() as text)):
            return text.replace("\n", " ")
    return ""


def _format(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
