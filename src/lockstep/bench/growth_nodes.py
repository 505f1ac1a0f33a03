"""How a payment's cost grows with the number of members, by the core alone.

Every size of set gets the same payments in the same batches over the same virtual time, so that
only the number of messages differs: two on a batch and two on a height from each member.
"""

from collections.abc import Callable, Sequence
from typing import Final

from lockstep.bench.finality import measure_network
from lockstep.bench.growth_points import Curves, add_points, traced
from lockstep.bench.made_payments import make_genesis
from lockstep.bench.tally import count_epoch, make_sheet
from lockstep.consensus.finality import TransactionFinality
from lockstep.crypto.keys import Verifier
from lockstep.primitives.codec import encode
from lockstep.primitives.messages import decode_message
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX
from lockstep.primitives.votes import Vote

QUICK: Final = (4, 10, 31)
FULL: Final = (4, 10, 31, 100)
BATCHES: Final = 8


def measure_nodes(
    sizes: Sequence[int],
    verifier: Verifier,
    *,
    batches: int = BATCHES,
    advance: Callable[[], bool] = lambda: True,
) -> Curves:
    """Return the curves over sets of these sizes: CPU, bytes sent, signatures and memory."""
    curves: Curves = {}
    payments = batches * BATCH_TRANSACTIONS_MAX
    for nodes in sizes:
        found = measure_network([1] * nodes, verifier, batches=batches)
        add_points(
            curves,
            nodes,
            cpu_us_by_nodes=found["cpu_us_per_tx_node"],
            signatures_by_nodes=found["signatures_per_tx_node"],
            sent_bytes_by_nodes=found["sent_bytes_per_tx_node"],
            payments_per_height_by_nodes=payments / max(1, found["blocks"]),
            tally_bytes_by_nodes=measure_tally_bytes(nodes),
        )
        if not advance():
            break
    return curves


def measure_tally_bytes(nodes: int) -> float:
    """Return the memory a payment of a full batch takes in one epoch's tallies and their words.

    The words are what a node holds of its peers: each was decoded by itself.
    """
    committee = make_genesis([1] * nodes, coins=0).committee
    sheet = make_sheet(committee, size=BATCH_TRANSACTIONS_MAX, number=0)
    received = [encode(word) for word in sheet.words]

    def count() -> TransactionFinality:
        words = tuple(word for word in map(decode_message, received) if isinstance(word, Vote))
        return count_epoch(
            committee, [type(sheet)(sheet.batch_id, sheet.txids, sheet.inputs, words)]
        )

    finality, taken = traced(count)
    return taken / len(finality.batches[sheet.batch_id].txids)
