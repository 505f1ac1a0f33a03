"""`lockstep bench block-apply`: what a block costs a node that holds its batches, by part.

Four members make payments final and then decide the block of all of them. Counted are the steps of
the core in which a block is proposed (by one of the four), judged (by the others) and decided, and
what storage makes of the decision before it writes; opening batches, votes on payments and the disk
are other benchmarks'.
"""

import gc
from typing import Any, Final

from lockstep.bench.block_network import MEMBERS, PARTS, BlockNetwork
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.crypto.keys import Verifier
from lockstep.node.app import GC_THRESHOLDS
from lockstep.node.backends import AUTO, choose_backend

SIZES: Final = (100, 1_000, 5_000)
"""Payments of a block."""
_PAYMENTS: Final = 5_000
"""Of each size so many blocks are made as hold so many payments together."""
_BLOCKS_MIN: Final = 3


def run(request: Request) -> Report:
    """Measure blocks of each size."""
    verifier = choose_backend(AUTO).verifier
    # As a running node has it; else the collector is what is measured.
    gc.set_threshold(*GC_THRESHOLDS)
    figures: dict[str, Figure] = {}
    for size in SIZES:
        blocks = max(_BLOCKS_MIN, min(request.repetitions, _PAYMENTS // size))
        figures |= measure_blocks(verifier, size=size, blocks=blocks)
    content: dict[str, Any] = {
        "nodes": MEMBERS,
        "us_per_payment_node": {
            str(size): {part: figures[f"{size}.{part}"].cpu for part in (*PARTS, "all")}
            for size in SIZES
        },
    }
    return Report(figures=figures, content=content, lines=_describe(content))


def measure_blocks(verifier: Verifier, *, size: int, blocks: int) -> dict[str, Figure]:
    """Return microseconds a payment and node by part, over so many blocks of one size."""
    network = BlockNetwork(verifier, payments=(blocks + 1) * size)
    for _ in range(blocks + 1):
        network.decide(size)
    # The first block finds everything cold.
    samples = network.samples[1:]
    figures = {
        f"{size}.{part}": summarise([(sample[part], sample[part]) for sample in samples])
        for part in PARTS
    }
    totals = [sum(sample.values()) for sample in samples]
    figures[f"{size}.all"] = summarise([(total, total) for total in totals])
    return figures


def _describe(content: dict[str, Any]) -> list[str]:
    lines = ["CPU microseconds a payment and node that holds the batches"]
    for size, parts in content["us_per_payment_node"].items():
        told = ", ".join(f"{part} {spent:.2f}" for part, spent in parts.items())
        lines.append(f"  blocks of {size:>5}: {told}")
    return lines
