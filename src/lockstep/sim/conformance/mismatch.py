"""A difference between a trace and our code, and how two sides are compared."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

WORDS_MAX: Final = 2_000
"""Characters of one side of a mismatch that are told."""


class Mismatch(Struct, frozen=True):
    """A step in which our code did not do what the trace says.

    Attributes:
        step: Number of the state the step led to; the first state is 0.
        what: What was compared.
        expected: What the trace says.
        found: What our code did.
    """

    step: int
    what: str
    expected: str
    found: str


def compare(step: int, what: str, *, expected: object, found: object) -> Mismatch | None:
    """Return the mismatch of two sides that should be equal, or None."""
    if expected == found:
        return None
    return Mismatch(step, what, describe(expected), describe(found))


def compare_sets(
    step: int, what: str, *, expected: Iterable[Any], found: Iterable[Any]
) -> Mismatch | None:
    """Return what only one of two sides has, where order means nothing, or None."""
    wanted, seen = set(expected), set(found)
    missing = sorted(map(describe, wanted - seen))
    surplus = sorted(map(describe, seen - wanted))
    return compare(step, what, expected=missing, found=surplus)


def describe(side: object) -> str:
    """Put one side of a comparison into words, at most so many characters of them."""
    if isinstance(side, bytes):
        return side.decode("utf-8", "backslashreplace")
    if isinstance(side, Struct):
        fields = msgspec.structs.asdict(side)
        fields.pop("signature", None)
        said = ", ".join(f"{name} {describe(value)}" for name, value in fields.items())
        text = f"{type(side).__name__}({said})"
    elif isinstance(side, dict):
        rows = (f"{describe(key)}: {describe(value)}" for key, value in side.items())
        text = "; ".join(sorted(rows)) or "nothing"
    elif isinstance(side, list | tuple):
        text = ", ".join(map(describe, side)) or "nothing"
    elif hasattr(side, "name"):
        text = str(side.name)
    elif side is None:
        text = "nil"
    else:
        text = str(side)
    return text if len(text) <= WORDS_MAX else f"{text[:WORDS_MAX]} ..."
