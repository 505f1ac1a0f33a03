"""The law behind each growth curve: what was derived before anything was measured.

A derived law is a formula of the sizes of messages alone. A form says how a cost has to depend on
the size, and its constants are fitted to what was measured; how far the points are from it tells
whether the form is right.
"""

from collections.abc import Callable
from math import log2
from typing import Final

from msgspec import Struct

from lockstep.bench.growth_points import Curves
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX

BATCH_BYTES: Final = 92_011
"""A message with a full batch of payments with one input and two outputs."""
VOTE_BYTES: Final = 192
"""A Vote or Confirm on one full batch: its bitmap takes 50 bytes, its signature 64."""
BALLOT_BYTES: Final = 148
STATUS_BYTES: Final = 38
PROPOSAL_BYTES: Final = 570
"""A proposal that names its payments by batch, without the certificate it carries."""
PRECOMMIT_BYTES: Final = 110
"""One member's part of a carried certificate."""

Law = Callable[[Curves, str], tuple[str, list[tuple[int, float]]]]
"""Returns the law in words, and the points it asks for at the sizes that were measured."""


class Growth(Struct, frozen=True):
    """One curve: its name in the report, and what a page says about it."""

    name: str
    title: str
    unit: str
    reason: str
    law: Law


class GrowthGroup(Struct, frozen=True):
    """All curves over one thing that grows, and what to know first."""

    by: str
    words: str
    growths: tuple[Growth, ...]


def fit_line(curves: Curves, name: str) -> tuple[str, list[tuple[int, float]]]:
    """The cost grows by the same with each one more."""
    return _fit(curves[name], float, "a piece")


def fit_logarithm(curves: Curves, name: str) -> tuple[str, list[tuple[int, float]]]:
    """The cost grows by the same with each doubling, as the depth of a tree does."""
    return _fit(curves[name], log2, "a doubling")


def fit_share(curves: Curves, name: str) -> tuple[str, list[tuple[int, float]]]:
    """Each one costs the same, and what there is from the beginning is shared by all."""
    return _fit(curves[name], lambda size: 1 / size, "shared by all")


def fit_messages(curves: Curves, name: str) -> tuple[str, list[tuple[int, float]]]:
    """A payment costs the same, and so does each message; their number is derived."""
    heights = dict(curves["payments_per_height_by_nodes"])

    def messages(nodes: int) -> float:
        return _words(nodes) + (3 * (nodes - 1) + _others(nodes)) / heights[nodes]

    which = "a message, of which 2(n - 1)/400 + (3(n - 1) + (n - 1)/n)/h come"
    return _fit(curves[name], messages, which)


def fit_constant(curves: Curves, name: str) -> tuple[str, list[tuple[int, float]]]:
    """The cost does not depend on the size; the largest counts, where it has settled."""
    points = curves[name]
    settled = points[-1][1]
    return f"{write_number(settled)} whatever the size", [(size, settled) for size, _ in points]


def derive_signatures(curves: Curves, name: str) -> tuple[str, list[tuple[int, float]]]:
    """Signatures judged: payments of others, two words a batch, and those of a height."""
    heights = dict(curves["payments_per_height_by_nodes"])
    points = [
        (nodes, _others(nodes) + _words(nodes) + _height_signatures(nodes) / heights[nodes])
        for nodes, _ in curves[name]
    ]
    return "(n - 1)/n + 2(n - 1)/400 + (2(n - 1) + (1 + Q)(n - 1)/n)/h", points


def derive_sent_bytes(curves: Curves, name: str) -> tuple[str, list[tuple[int, float]]]:
    """Bytes sent: our share of the batches to all others, our words, and those of a height."""
    heights = dict(curves["payments_per_height_by_nodes"])
    points: list[tuple[int, float]] = []
    for nodes, _ in curves[name]:
        bodies = _others(nodes) * BATCH_BYTES / BATCH_TRANSACTIONS_MAX
        words = _words(nodes) * VOTE_BYTES
        ballots = (nodes - 1) * (2 * BALLOT_BYTES + STATUS_BYTES)
        proposals = _others(nodes) * (PROPOSAL_BYTES + PRECOMMIT_BYTES * _quorum(nodes))
        points.append((nodes, bodies + words + (ballots + proposals) / heights[nodes]))
    return "230(n - 1)/n + 2(n - 1)·192/400 + (334(n - 1) + (570 + 110Q)(n - 1)/n)/h", points


def deviation_percent(measured: list[tuple[int, float]], law: list[tuple[int, float]]) -> float:
    """Return how far the furthest point is from its law, in percent of the law."""
    asked = dict(law)
    return max(abs(value / asked[size] - 1) * 100 for size, value in measured)


def write_number(value: float) -> str:
    """Write three digits, or all of a large whole number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _others(nodes: int) -> float:
    return (nodes - 1) / nodes


def _words(nodes: int) -> float:
    return 2 * (nodes - 1) / BATCH_TRANSACTIONS_MAX


def _quorum(nodes: int) -> int:
    return 2 * nodes // 3 + 1


def _height_signatures(nodes: int) -> float:
    """Two ballots of each other member; from others' proposals one and the certificate's."""
    return 2 * (nodes - 1) + _others(nodes) * (1 + _quorum(nodes))


def _fit(
    points: list[tuple[int, float]], stretch: Callable[[int], float], which: str
) -> tuple[str, list[tuple[int, float]]]:
    """Fit a + b·stretch(size) so that the sum of squares of relative distances is least."""
    rows = [(1 / value, stretch(size) / value) for size, value in points if value > 0]
    ones = sum(one * one for one, _ in rows)
    mixed = sum(one * steep for one, steep in rows)
    steeps = sum(steep * steep for _, steep in rows)
    right_one, right_steep = sum(one for one, _ in rows), sum(steep for _, steep in rows)
    bottom = ones * steeps - mixed * mixed
    if not bottom:
        level = points[-1][1]
        return write_number(level), [(size, level) for size, _ in points]
    level = (right_one * steeps - right_steep * mixed) / bottom
    slope = (right_steep * ones - right_one * mixed) / bottom
    sign = "-" if slope < 0 else "+"
    said = f"{write_number(level)} {sign} {write_number(abs(slope))} {which}"
    return said, [(size, level + slope * stretch(size)) for size, _ in points]
