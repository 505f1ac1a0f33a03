"""`lockstep bench growth`: how cost, memory and disk grow with members, coins and blocks.

By default sizes that take a minute together; with `--full` up to 100 members, 5,000,000 coins and
100,000 blocks, which takes about ten. The page docs/internals/growth.md is made of its report.
"""

from collections.abc import Callable
from typing import Any, Final

from lockstep.bench import course, growth_blocks, growth_coins, growth_nodes
from lockstep.bench.growth_points import Curves
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.node.backends import AUTO, choose_backend

_MICROSECONDS: Final = "_us_by_"


def run(request: Request) -> Report:
    """Measure all curves; one that was cut short has fewer points."""
    backend = choose_backend(AUTO)
    nodes: tuple[int, ...] = growth_nodes.FULL if request.is_full else growth_nodes.QUICK
    if request.nodes is not None:
        nodes = (*(size for size in nodes if size < request.nodes), request.nodes)
    coins = growth_coins.FULL if request.is_full else growth_coins.QUICK
    blocks = growth_blocks.FULL if request.is_full else growth_blocks.QUICK
    advance = _counter(len(nodes) + len(coins) + len(blocks))
    curves: Curves = {}
    curves |= growth_blocks.measure_blocks(blocks, advance=advance)
    curves |= growth_coins.measure_coins(coins, advance=advance)
    curves |= growth_nodes.measure_nodes(
        nodes, backend.verifier, batches=growth_nodes.BATCHES, advance=advance
    )
    figures = make_figures(curves)
    content: dict[str, Any] = {
        "is_full": request.is_full,
        "verify_backend": backend.name,
        "curves": curves,
    }
    return Report(figures=figures, content=content, lines=_describe(curves))


def make_figures(curves: Curves) -> dict[str, Figure]:
    """Return the curves that are microseconds as figures, so that reports can be compared."""
    return {
        f"{name} {size}": summarise([(value, value)])
        for name, points in curves.items()
        for size, value in points
        if _MICROSECONDS in name
    }


def _counter(total: int) -> Callable[[], bool]:
    """Return what is called after each size: it counts, and tells whether to go on."""
    done = 0

    def advance() -> bool:
        nonlocal done
        done += 1
        course.advance(done, total)
        return not course.is_cut_short()

    return advance


def _describe(curves: Curves) -> list[str]:
    width = max(map(len, curves))
    return [
        f"{name.ljust(width)}  " + ", ".join(f"{size}: {value:g}" for size, value in points)
        for name, points in curves.items()
    ]
