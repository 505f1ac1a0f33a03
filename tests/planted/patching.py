"""Attributes of the product set to something else, and set back afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any


class Patch:
    """Sets attributes and remembers what they were, and which functions set were ever called."""

    def __init__(self) -> None:
        """Begin with nothing changed."""
        self._saved: list[tuple[Any, str, Any]] = []
        self._uncalled: dict[str, None] = {}

    @property
    def uncalled(self) -> tuple[str, ...]:
        """Return the names of functions that were set and that nobody has called: they do nothing.

        Where the product has moved on and calls another function, a bug is planted no more.
        """
        return tuple(self._uncalled)

    def setattr(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute that the owner itself has."""
        self._saved.append((owner, name, vars(owner)[name]))
        if callable(value):
            value = self._watched(f"{owner.__name__}.{name}", value)
        setattr(owner, name, value)

    def _watched(self, place: str, function: Callable[..., Any]) -> Callable[..., Any]:
        self._uncalled[place] = None

        @wraps(function)
        def called(*arguments: Any, **words: Any) -> Any:
            self._uncalled.pop(place, None)
            return function(*arguments, **words)

        return called

    def undo(self) -> None:
        """Set everything back, the last change first."""
        while self._saved:
            setattr(*self._saved.pop())


Plant = Callable[[Patch], None]


@contextmanager
def planted(plant: Plant) -> Iterator[Patch]:
    """Plant a bug for the length of a block."""
    patch = Patch()
    try:
        plant(patch)
        yield patch
    finally:
        patch.undo()
