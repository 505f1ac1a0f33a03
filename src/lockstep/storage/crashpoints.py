"""Named places around every durable step, at which a test may end the process.

In production nothing listens, and reaching a place is one look at an empty list. Only a process
that a test started listens; no setting and no environment variable can make a node do so. The
places are described in docs/internals/crash.md, and a test holds that each was crashed at.
"""

from collections.abc import Callable
from typing import Final

_listeners: Final[list[Callable[[str], None]]] = []


def reach(site: str) -> None:
    """Say that this place was reached."""
    for listener in _listeners:
        listener(site)


def listen(listener: Callable[[str], None]) -> Callable[[], None]:
    """Call the listener at every place from now on, until the function returned is called."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)
