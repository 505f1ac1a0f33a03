"""State commitments, told a second time from all coins there are [S1].

At each closing block the whole set is added up anew, by arithmetic of its own: two integers with
lanes of 32 bits instead of arrays, and no changes that are followed.
"""

from typing import Final

from blake3 import blake3

from lockstep.crypto.hashing import tagged_hash
from lockstep.ledger.commitment import make_registry_root, make_state_commitment
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import BlockHeader
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.sim.violation import Violation

_KEY: Final = tagged_hash("lattice-element", b"")
_LANES: Final = 1024
_SUM_BYTES: Final = 2 * _LANES
_EVEN: Final = int.from_bytes(b"\xff\xff\0\0" * (_LANES // 2), "little")
"""The even lanes of a sum; what overflows a lane has the odd ones' room."""


class CommitmentChecker:
    """Follows the coins of the chain, and says what each closing block must commit to."""

    def __init__(self, genesis: Genesis) -> None:
        """Begin at genesis, to which the first closing block commits."""
        self._genesis = genesis
        self._lanes: dict[bytes, tuple[int, int]] = {}
        for index, output in enumerate(genesis.coins):
            self.create(genesis_outpoint(genesis.chain_id, index), output.amount, output.lock)
        root = make_registry_root(genesis, epoch=0, evidence_used=())
        self._due_sum = self._add_up()
        self._due = make_state_commitment(
            genesis, coins_sum=self._due_sum, registry_root=root, issued=0, burnt=0
        )

    def create(self, outpoint: bytes, amount: int, lock: bytes) -> None:
        """See a coin made."""
        data = blake3(encode((outpoint, amount, lock)), key=_KEY).digest(length=_SUM_BYTES)
        lanes = int.from_bytes(data, "little")
        self._lanes[outpoint] = (lanes & _EVEN, lanes >> 16 & _EVEN)

    def spend(self, outpoint: bytes) -> None:
        """See a coin spent."""
        del self._lanes[outpoint]

    def on_closing(self, header: BlockHeader, state: ChainState) -> None:
        """Check a closing block's commitment, and the state above it, once its coins were seen.

        Raises:
            Violation: If it commits to anything but the state above the closing block before it.
        """
        found = None if header.closing is None else header.closing.state_commitment
        if found != self._due or state.state_commitment != found:
            raise Violation("commitment", f"height {header.height} commits to another state")
        if state.coins_sum != self._due_sum:
            raise Violation("commitment", f"the coins' sum at height {header.height} is another")
        self._due_sum = self._add_up()
        self._due = make_state_commitment(
            self._genesis,
            coins_sum=self._due_sum,
            registry_root=make_registry_root(
                self._genesis, epoch=header.epoch + 1, evidence_used=state.evidence_used
            ),
            issued=state.issued,
            burnt=state.burnt,
        )

    def _add_up(self) -> bytes:
        """Add up all coins; up to 65,536 of them fit the lanes' room."""
        even = sum(low for low, _ in self._lanes.values()) & _EVEN
        odd = sum(high for _, high in self._lanes.values()) & _EVEN
        return (even | odd << 16).to_bytes(_SUM_BYTES, "little")
