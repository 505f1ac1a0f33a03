"""`lockstep bench finality`: what a payment costs a node in the core and the ingress, by part.

Real replicas, real signatures, real encodings, in one process; no sockets, disks, RPC or indexes.
Batches come from the members in turn and are voted on, confirmed, put into blocks and closed.
"""

import gc
from typing import Any, Final

from lockstep.bench.core_network import VERIFYING, CoreNetwork
from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.crypto.keys import SodiumVerifier, Verifier
from lockstep.errors import LockstepError, Misuse
from lockstep.node.backends import CRYPTO_MB, SODIUM, load_crypto_mb
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX
from lockstep.replica.ingress import prepare_batch

NODES: Final = (4, 10, 31, 100)
INTERVAL_MS: Final = 50
"""Between two batches; at 400 payments each it is 8,000 payments a second."""
SETTLING_MS: Final = 3_000
_BATCHES: Final = 12
"""The same load at every size: heights go on by the clock, and what they cost is shared by it."""
_REPETITIONS_MAX: Final = 3


def run(request: Request) -> Report:
    """Measure each size of set, and equal weights against unequal ones."""
    backend, verifier = _choose_verifier()
    sizes = NODES if request.nodes is None else tuple(dict.fromkeys((NODES[0], request.nodes)))
    cases = {f"n={nodes}": [1] * nodes for nodes in sizes}
    cases |= {
        f"n={nodes} unequal": [10 ** (index % 3) for index in range(nodes)] for nodes in sizes
    }
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for _ in range(min(request.repetitions, _REPETITIONS_MAX)):
        for name, weights in cases.items():
            samples[name].append(measure_network(weights, verifier))
            gc.collect()  # The network of a hundred nodes is not left for the next to clear away.
    figures: dict[str, Figure] = {}
    table: dict[str, dict[str, float]] = {}
    for name, found in samples.items():
        totals = [each["cpu_us_per_tx_node"] for each in found]
        figures[name] = summarise([(total, total) for total in totals])
        table[name] = sorted(found, key=lambda each: each["cpu_us_per_tx_node"])[len(found) // 2]
    ratio = figures[f"n={sizes[-1]}"].cpu / figures[f"n={sizes[0]}"].cpu
    content: dict[str, Any] = {
        "verify_backend": backend,
        "payments_per_batch": BATCH_TRANSACTIONS_MAX,
        "by_nodes": table,
        "largest_to_smallest": round(ratio, 2),
    }
    return Report(figures=figures, content=content, lines=_describe(content))


def measure_network(
    weights: list[int], verifier: Verifier, *, batches: int = _BATCHES
) -> dict[str, float]:
    """Let a network make payments final and decide them; return microseconds a payment and node.

    Raises:
        Misuse: If a node does not call every payment final.
    """
    nodes = len(weights)
    per_batch = BATCH_TRANSACTIONS_MAX
    genesis = make_genesis(weights, coins=(batches + 1) * per_batch)
    maker = PaymentMaker(genesis)
    made = [
        prepare_batch(
            maker.make_body(number * per_batch, per_batch),
            chain_id=genesis.chain_id,
            verifier=verifier,
        )
        for number in range(batches + 1)
    ]
    network = CoreNetwork(genesis, verifier)
    network.submit(0, made.pop())
    network.run(SETTLING_MS)
    network.forget_spending()
    first_height = network.height
    for number, batch in enumerate(made):
        network.submit(number % nodes, batch)
        network.run(INTERVAL_MS)
    network.run(SETTLING_MS)
    payments = batches * per_batch
    if set(network.final) != {payments}:
        raise Misuse(f"of {payments} payments the nodes called {network.final} final")
    # The batch of a node's own people is opened before it reaches the core, so by one node fewer.
    each = 1000 * payments * nodes
    parts = {part: round(spent / each, 2) for part, spent in sorted(network.spent_ns.items())}
    total = sum(network.spent_ns.values())
    return {
        "cpu_us_per_tx_node": round(total / each, 2),
        "verify_share": round(network.spent_ns[VERIFYING] / total, 3),
        "signatures_per_tx_node": round(network.signatures / payments / nodes, 3),
        "sent_bytes_per_tx_node": round(network.sent_bytes / payments / nodes),
        "blocks": network.height - first_height,
        **parts,
    }


def _choose_verifier() -> tuple[str, Verifier]:
    try:
        return CRYPTO_MB, load_crypto_mb().verifier
    except LockstepError:
        return SODIUM, SodiumVerifier()


def _describe(content: dict[str, Any]) -> list[str]:
    lines = [f"CPU microseconds a payment and node, signatures by {content['verify_backend']}"]
    for name, found in content["by_nodes"].items():
        lines.append(f"{name}:")
        lines += [f"  {part.ljust(24)} {value:10}" for part, value in found.items()]
    lines.append(f"the largest set costs {content['largest_to_smallest']} times the smallest")
    return lines
