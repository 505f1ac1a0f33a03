"""A second reading of what a header must say, from the chain and the clause alone [T2, T3, M4]."""

from lockstep.primitives.block import Block, CommitCertificate
from lockstep.primitives.genesis import Genesis
from lockstep.sim.violation import Violation


class HeaderChecker:
    """Follows the chain header by header; each decided block comes once, in order."""

    def __init__(self, genesis: Genesis) -> None:
        """Begin below height 1."""
        self._genesis = genesis
        self._weights = {m.member_id: m.weight for m in genesis.committee.members}
        self._block_id = self._closing_id = genesis.chain_id
        self._time_ms = genesis.time_ms

    def on_decided(self, block: Block, block_id: bytes) -> None:
        """Check the header of the next block.

        Raises:
            Violation: If a field is not what it must be.
        """
        header = block.header
        every = self._genesis.closing_every
        due = {
            "chain_id": self._genesis.chain_id,
            "previous": self._block_id,
            "previous_closing": self._closing_id,
            "epoch": (header.height - 1) // every,
            "is_closing": header.height % every == 0,
            "time_ms": self._due_time_ms(block.previous_commit),
        }
        for field, value in due.items():
            found = getattr(header, field)
            if found != value:
                sentence = f"{field} at height {header.height} is {found!r}, not {value!r}"
                raise Violation("header", sentence)
        self._block_id, self._time_ms = block_id, header.time_ms
        if header.is_closing:
            self._closing_id = block_id

    def _due_time_ms(self, carried: CommitCertificate | None) -> int:
        """Return the time that the carried precommits give, by the words of [T3]."""
        least = self._time_ms + 1
        if carried is None:
            return least
        entries = [(e.time_ms, self._weights[e.voter]) for e in carried.signatures]
        total = sum(weight for _, weight in entries)
        return max(
            least,
            min(
                time_ms
                for time_ms, _ in entries
                if 2 * sum(weight for other, weight in entries if other <= time_ms) >= total
            ),
        )
