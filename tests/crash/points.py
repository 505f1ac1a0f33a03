"""Which crash points the source names, read from the source itself."""

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "lockstep"


def named_points() -> set[str]:
    """Return every name that some `reach(...)` in the source can be called with."""
    names: set[str] = set()
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text if "reach(" in text else "")):
            match node:
                case ast.Call(func=ast.Name(id="reach"), args=arguments):
                    for argument in arguments:
                        names |= _texts(argument)
    return names


def _texts(expression: ast.expr) -> set[str]:
    return {
        part.value
        for part in ast.walk(expression)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
