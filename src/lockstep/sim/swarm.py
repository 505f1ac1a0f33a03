"""One seed from dice to verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.sim.options import draw_options
from lockstep.sim.outcome import Outcome
from lockstep.sim.tape import Sink
from lockstep.sim.world import World


def run_seed(
    seed: int,
    *,
    nodes: int | None = None,
    weights: Sequence[int] | None = None,
    byzantine: int = 0,
    seconds: int = 60,
    overrides: Mapping[str, Any] | None = None,
    sink: Sink | None = None,
) -> Outcome:
    """Draw the options of a seed, but those given, and run it to its verdict.

    `overrides` fixes further options by their names in `Options`.
    """
    options = draw_options(
        seed,
        nodes=nodes,
        weights=weights,
        byzantine=byzantine,
        seconds=seconds,
        overrides=overrides,
    )
    return World(seed, options, sink=sink).run()
