"""One seed from dice to verdict, and the line that runs it again."""

from collections.abc import Sequence
from random import Random

from lockstep.sim.options import draw_options
from lockstep.sim.outcome import Outcome
from lockstep.sim.tape import Sink
from lockstep.sim.world import World


def run_seed(
    seed: int,
    *,
    nodes: int | None = None,
    weights: Sequence[int] | None = None,
    seconds: int = 60,
    sink: Sink | None = None,
) -> Outcome:
    """Draw the options of a seed, but those given, and run it to its verdict."""
    options = draw_options(Random(seed), nodes=nodes, weights=weights, seconds=seconds)
    return World(seed, options, sink=sink).run()
