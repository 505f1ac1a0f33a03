"""The models that are explored, each with its bound."""

from typing import Final

from msgspec import Struct

from lockstep.sim.exhaustive.scenario import Payment


class Configuration(Struct, frozen=True):
    """A model and its bound.

    Attributes:
        sentence: What is explored, for people.
        weights: Of the three honest members and of the Byzantine one.
        heights: Heights that may be decided; every `closing_every`-th ends an epoch.
        ordinary: Whether ordinary blocks may hold payments; else they are empty.
        crashes: Crashes of honest nodes, in all.
        each: Whether every Vote and Confirm is delivered by itself.
        is_outvoted: Whether the Byzantine member has over a third, so that only the honest members'
            own promises can hold.
        depth: Steps from the start, at most; 0 is no bound.
    """

    name: str
    sentence: str
    payments: tuple[Payment, ...]
    weights: tuple[int, int, int, int] = (1, 1, 1, 1)
    heights: int = 0
    closing_every: int = 2
    ordinary: bool = False
    crashes: int = 0
    each: bool = False
    is_outvoted: bool = False
    depth: int = 0

    @property
    def bound(self) -> str:
        """Return what is bounded, in words."""
        parts = [f"payments {', '.join(payment.name for payment in self.payments)}"]
        parts.append(f"weights {', '.join(str(weight) for weight in self.weights)}")
        if self.heights:
            content = "any payments" if self.ordinary else "no payments"
            parts.append(f"{self.heights} heights, every {self.closing_every}. closes an epoch")
            parts.append(f"{content} in ordinary blocks")
        if self.crashes:
            parts.append(f"{self.crashes} crash")
        parts.append(f"{self.depth} steps" if self.depth else "any number of steps")
        return "; ".join(parts)


_A: Final = Payment("A", (0,))
_B: Final = Payment("B", (0,), fee=5_000)
_CHILD: Final = Payment("C", ("A",))
_PAIR: Final = (_A, _B)
_THREE: Final = (Payment("A", (0, 1)), _B, Payment("D", (1,)))
_UNEQUAL: Final = (4, 3, 2, 2)

CONFIGURATIONS: Final = (
    Configuration(
        "words", "two rivals; every Vote and Confirm by itself", _PAIR, each=True, depth=8
    ),
    Configuration("pair", "two rivals on the fast path", _PAIR),
    Configuration("child", "two rivals and a child of one", (*_PAIR, _CHILD)),
    Configuration("three", "A spends two coins, B and D one of them each", _THREE),
    Configuration("closing", "two rivals, closing block, next epoch", _PAIR, heights=2),
    Configuration(
        "ordinary",
        "two rivals, a block of certified ones, closing block, next epoch",
        _PAIR,
        heights=2,
        ordinary=True,
    ),
    Configuration(
        "family", "a payment and its child, closing block, next epoch", (_A, _CHILD), heights=2
    ),
    Configuration(
        "long-epoch",
        "two rivals, two empty blocks below a closing one",
        _PAIR,
        heights=2,
        closing_every=3,
    ),
    Configuration("epochs", "a payment over two epochs and into a third", (_A,), heights=4),
    Configuration("weights", "two rivals, weights 4, 3, 2 and 2", _PAIR, _UNEQUAL),
    Configuration(
        "weights-closing",
        "weights 4, 3, 2 and 2, closing block, next epoch",
        _PAIR,
        _UNEQUAL,
        heights=2,
    ),
    Configuration("crash", "two rivals, one crash at any moment", _PAIR, crashes=1),
    Configuration(
        "crash-closing",
        "a payment, closing block, next epoch, one crash",
        (_A,),
        heights=2,
        crashes=1,
    ),
    Configuration(
        "outvoted",
        "a Byzantine member of 4 in 7: honest ones still keep their word",
        _PAIR,
        (1, 1, 1, 4),
        is_outvoted=True,
    ),
)
"""What `lockstep sim --exhaustive` explores."""

LONG_CONFIGURATIONS: Final = (
    Configuration("words-deep", "the same words, deeper", _PAIR, each=True, depth=11),
    Configuration(
        "family-ordinary",
        "a payment and its child, also in ordinary blocks",
        (_A, _CHILD),
        heights=2,
        ordinary=True,
    ),
    Configuration(
        "crash-pair-closing",
        "two rivals, closing block, next epoch, one crash",
        _PAIR,
        heights=2,
        crashes=1,
        depth=12,
    ),
    Configuration("two-epochs", "two rivals over two epochs", _PAIR, heights=4, depth=16),
)
"""Larger ones, for whoever has the time."""
