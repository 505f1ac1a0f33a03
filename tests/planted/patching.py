"""Attributes of the product set to something else, and set back afterwards."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Patch:
    """Sets attributes and remembers what they were."""

    def __init__(self) -> None:
        """Begin with nothing changed."""
        self._saved: list[tuple[Any, str, Any]] = []

    def setattr(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute that the owner itself has."""
        self._saved.append((owner, name, vars(owner)[name]))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Set everything back, the last change first."""
        while self._saved:
            setattr(*self._saved.pop())


Plant = Callable[[Patch], None]


@contextmanager
def planted(plant: Plant) -> Iterator[None]:
    """Plant a bug for the length of a block."""
    patch = Patch()
    try:
        plant(patch)
        yield
    finally:
        patch.undo()
