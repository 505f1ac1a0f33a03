"""The models that are explored, each with its bound."""

from typing import Final

from msgspec import Struct

from lockstep.sim.exhaustive.scenario import Payment


class Configuration(Struct, frozen=True):
    """A model and its bound.

    Attributes:
        sentence: What is explored, for people.
        weights: Of the three honest members and of the Byzantine one.
        heights: Heights that may be decided; even ones close an epoch.
        ordinary: Whether ordinary blocks may hold payments; else they are empty.
        crashes: Crashes of honest nodes, in all.
        each: Whether every Vote and Confirm is delivered by itself.
        is_outvoted: Whether the Byzantine member has over a third, so that only the honest members'
            own promises can hold.
        depth: Steps from the start, at most; 0 is no bound.
        silent: Epochs from which on the Byzantine member says nothing.
    """

    name: str
    sentence: str
    payments: tuple[Payment, ...]
    weights: tuple[int, int, int, int] = (1, 1, 1, 1)
    heights: int = 0
    ordinary: bool = False
    crashes: int = 0
    each: bool = False
    is_outvoted: bool = False
    depth: int = 0


_A: Final = Payment("A", (0,))
_B: Final = Payment("B", (0,))
_CHILD: Final = Payment("C", ("A",))
_PAIR: Final = (_A, _B)

CONFIGURATIONS: Final = (
    Configuration(
        "pair", "two rivals, fast path only, every word delivered by itself", _PAIR, each=True
    ),
    Configuration("pair-quorums", "two rivals, fast path only", _PAIR),
    Configuration("child", "two rivals and a child of one, fast path only", (*_PAIR, _CHILD)),
    Configuration("closing", "two rivals, freeze and closing block", _PAIR, heights=2),
)
