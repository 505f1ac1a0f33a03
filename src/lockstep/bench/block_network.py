"""A network that makes blocks of a wanted size, and what each block cost its nodes by part.

Payments are final before their block is made, and all nodes hold the batches, as on a network that
keeps up. Signatures are real; the disk is a simulated one.
"""

from collections.abc import Sequence
from typing import Final

from lockstep.bench.core_network import CoreNetwork
from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.crypto.keys import Verifier
from lockstep.errors import Misuse
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import ProposalMessage
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX
from lockstep.replica.effects import BlockDecided, Broadcast, Effect, Persist
from lockstep.replica.events import Event, ProposalReceived
from lockstep.replica.ingress import prepare_batch

MEMBERS: Final = 4
PROPOSING: Final = "propose"
JUDGING: Final = "judge"
DECIDING: Final = "decide"
PARTS: Final = (PROPOSING, JUDGING, DECIDING)
_BLOCK_MS: Final = 1_000
_SUBMIT_MS: Final = 100
"""After an idle block: what is submitted then stands in one block together."""


class BlockNetwork:
    """Four members of equal weight who decide blocks of payments, one input and two outputs each.

    Attributes:
        genesis: With a coin for each payment.
        records: What the first node recorded of each decision.
        samples: For each block with payments, microseconds a payment and node by part.
    """

    def __init__(self, verifier: Verifier, *, payments: int) -> None:
        """Start the members; the chain has coins for so many payments."""
        self.genesis: Genesis = make_genesis([1] * MEMBERS, coins=payments)
        self.records: list[BlockDecided] = []
        self.samples: list[dict[str, float]] = []
        self._verifier = verifier
        self._maker = PaymentMaker(self.genesis)
        self._made = 0
        self._network = CoreNetwork(self.genesis, verifier)
        self._network.on_step = self._see
        self._spent_ns = dict.fromkeys(PARTS, 0)
        self._network.run(_BLOCK_MS + _SUBMIT_MS)

    def decide(self, payments: int) -> None:
        """Make so many payments final, and let one block take them all.

        Raises:
            Misuse: If they do not stand in one block.
        """
        self._spent_ns = dict.fromkeys(PARTS, 0)
        first = len(self.records)
        for start in range(0, payments, BATCH_TRANSACTIONS_MAX):
            self._submit(min(BATCH_TRANSACTIONS_MAX, payments - start))
        self._network.run(_BLOCK_MS)
        sizes = [len(record.delta.txids) for record in self.records[first:]]
        if max(sizes, default=0) < payments:
            raise Misuse(f"{payments} payments came into blocks of {sizes}")
        each = 1000 * payments * MEMBERS
        self.samples.append({part: spent / each for part, spent in self._spent_ns.items()})

    def _submit(self, count: int) -> None:
        body = self._maker.make_body(self._made, count)
        batch = prepare_batch(body, chain_id=self.genesis.chain_id, verifier=self._verifier)
        self._network.submit(self._made // BATCH_TRANSACTIONS_MAX % MEMBERS, batch)
        self._made += count

    def _see(self, index: int, event: Event, effects: Sequence[Effect], spent_ns: int) -> None:
        """Add a step's time to the part that it was for, told by what came of it."""
        decided = [
            effect.record
            for effect in effects
            if isinstance(effect, Persist) and isinstance(effect.record, BlockDecided)
        ]
        if decided:
            self._spent_ns[DECIDING] += spent_ns
            self.records += decided if index == 0 else ()
        elif isinstance(event, ProposalReceived):
            self._spent_ns[JUDGING] += spent_ns
        elif any(
            isinstance(effect, Broadcast) and isinstance(effect.message, ProposalMessage)
            for effect in effects
        ):
            self._spent_ns[PROPOSING] += spent_ns
