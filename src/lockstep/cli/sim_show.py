"""The timeline of a world on the terminal: what each node did, faults and decisions, by height."""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

_LINE: Final = re.compile(r"\s*(\d+) (world|node(\d+)) (.*)", re.DOTALL)
_DECISION: Final = re.compile(
    r"> persist decision of (\d+) (.*epoch (\d+)(, closing)?).*", re.DOTALL
)
_HIDDEN: Final = (
    "< ",
    "sent to ",
    "mask",
    "> send ",
    "> broadcast ",
    "> timer ",
    "> persist batch",
    "> persist round",
    "> ServeBlock",
    "> notify BlockAdded",
)


class Window(Struct, frozen=True):
    """What part of a timeline is asked for: one node or all, from and to a virtual second."""

    node: int | None = None
    first_second: int | None = None
    last_second: int | None = None

    def holds(self, time_ms: int, node: int | None) -> bool:
        """Tell whether something of this time and node is asked for; None is the world itself."""
        if self.node is not None and node not in (None, self.node):
            return False
        if self.first_second is not None and time_ms < 1_000 * self.first_second:
            return False
        return self.last_second is None or time_ms <= 1_000 * self.last_second


class Timeline:
    """Takes the lines of a tape and writes those that tell the story.

    A node's effects tell it: what it signed and wrote, and what it told its people. What it heard
    and sent is in the trace file. A heading stands where a height is decided for the first time.
    """

    def __init__(self, write: Callable[[str], object], window: Window) -> None:
        """Write with `write`, which takes a line with its end."""
        self._write = write
        self._window = window
        self._height = 0

    def take(self, line: str) -> None:
        """Take the next line of the tape."""
        found = _LINE.fullmatch(line)
        if found is None:
            return
        time_ms, text = int(found[1]), found[4]
        decision = _DECISION.fullmatch(text)
        if decision is not None and int(decision[1]) > self._height:
            self._height = int(decision[1])
            if self._window.holds(time_ms, None):
                self._write(f"\n-- height {self._height}, decided {decision[2]}\n")
                if decision[4]:
                    self._write(f"-- epoch {int(decision[3]) + 1} begins\n")
        node = None if found[3] is None else int(found[3])
        if text.startswith(_HIDDEN) or not self._window.holds(time_ms, node):
            return
        clock = f"{time_ms // 1_000:>4}.{time_ms % 1_000:03}"
        self._write(f"{clock}  {found[2]:<7} {_plain(text)}\n")


def _plain(text: str) -> str:
    """Return what a node did in a person's words."""
    for mark, word in (("> persist ", "writes "), ("> notify ", "tells "), ("> ", "")):
        if text.startswith(mark):
            return word + text.removeprefix(mark)
    return text
