"""The judge: what a network promised, held against what its stopped nodes left behind.

Pure code. It believes no node: blocks are replayed from genesis, signatures verified again, money
and weights counted again.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from lockstep.crypto.keys import Verifier
from lockstep.devnet.judge_chain import Replay
from lockstep.devnet.judge_finality import Promises
from lockstep.devnet.judge_payments import PaymentIndex
from lockstep.devnet.judge_words import Words
from lockstep.devnet.remains import FinalAnnounced, NodeRemains
from lockstep.primitives.genesis import Genesis
from lockstep.replica.effects import BatchHeld


class Verdict(Struct, frozen=True):
    """What the judge found; `findings` has a sentence for every fault counted.

    Attributes:
        height_min, height_max: Tips of the nodes.
        closing_blocks: Epochs that ended in the chain of the highest node.
        state_commitment: To the state above the last closing block that all nodes have, 64
            hexadecimal digits; None where a node's own coins do not make it up [S1].
        states_equal: One chain on all nodes, and on each the state that follows from it.
        supply_ok: The money on every node is what was ever made [L6].
        double_signs: Pairs of signed words that no honest key signs [N4].
        final_lost: Payments called final by any node and not final on every node at the end.
        final_without_quorum: Payments called final below a recounted quorum [F4].
        both_final: Pairs of payments of one coin that were both called final.
    """

    height_min: int
    height_max: int
    closing_blocks: int
    state_commitment: str | None
    states_equal: bool
    supply_ok: bool
    double_signs: int
    final_lost: int
    final_without_quorum: int
    both_final: int
    findings: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Return the verdict as it stands in a run's result."""
        return {
            "height": {"min": self.height_min, "max": self.height_max},
            "closing_blocks": self.closing_blocks,
            "state_commitment": self.state_commitment,
            "states_equal": self.states_equal,
            "supply_ok": self.supply_ok,
            "double_signs": self.double_signs,
            "final_lost": self.final_lost,
            "final_without_quorum": self.final_without_quorum,
            "both_final": self.both_final,
        }


def judge(nodes: Sequence[NodeRemains], genesis: Genesis, *, verifier: Verifier) -> Verdict:
    """Judge the remains of a network of at least one node."""
    payments = PaymentIndex()
    words = Words(payments)
    for node in nodes:
        for record in node.journal:
            if isinstance(record, BatchHeld):
                payments.add_batch(record.body)
        for message in node.received():
            words.add(message)
        for announced in node.announced():
            if isinstance(announced, FinalAnnounced):
                for confirm in announced.confirms:
                    words.add(confirm)
    chain = Replay(genesis, verifier)
    chain.run(nodes, payments)
    promises = Promises(genesis, payments, chain, verifier)
    for node in nodes:
        promises.hear(node)
    contradictions = words.contradictions(genesis, chain, verifier)
    lost, rivals = promises.lost(nodes), promises.rivals()
    heights = [node.state.height for node in nodes]
    closed = min(node.state.epoch for node in nodes) * genesis.closing_every
    commitment = None if chain.forgotten else chain.commitments.get(closed)
    return Verdict(
        height_min=min(heights),
        height_max=max(heights),
        closing_blocks=chain.closing_blocks,
        state_commitment=None if commitment is None else commitment.hex(),
        states_equal=not chain.divergences,
        supply_ok=not chain.losses,
        double_signs=len(contradictions),
        final_lost=len(lost),
        final_without_quorum=len(promises.without_quorum),
        both_final=len(rivals),
        findings=(
            *chain.divergences,
            *chain.losses,
            *chain.forgotten,
            *contradictions,
            *lost,
            *promises.without_quorum,
            *rivals,
        ),
    )
