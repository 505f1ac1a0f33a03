"""Batches that too few stand behind: who answers for them, and how much of that is held [B3, F6].

An honest member votes for at most M bytes that are not in the chain, so what it brings beyond that
can wait until members of over a third of the weight, and so an honest one, have spoken for it. A
liar could else name junk without end, and every node would keep and journal it until the epoch is
over.
"""

from collections.abc import Callable
from typing import Final

from lockstep.primitives.params import FETCH_DELAY_MS, VOTED_BYTES_MAX

UNBACKED_BYTES_MAX: Final = VOTED_BYTES_MAX
"""Bytes of batches that one member brought and over a third of the weight has not spoken for."""
UNBACKED_BATCHES_MAX: Final = 4_096
"""The number of the same, and of refused batches that are remembered."""


class BatchQuotas:
    """What each peer is charged with in an epoch; dropped with it.

    Attributes:
        refused: Batches for which there was no room: not asked for until they are backed.
    """

    def __init__(self) -> None:
        """Charge nobody."""
        self.refused: dict[bytes, None] = {}
        self._charges: dict[bytes, dict[bytes, int]] = {}
        self._sums: dict[bytes, int] = {}
        self._looked_ms: dict[bytes, int] = {}

    def charge(self, payer: bytes, batch_id: bytes, size_bytes: int) -> None:
        """Note that the payer answers for a batch that is held now."""
        self.refused.pop(batch_id, None)
        self._charges.setdefault(payer, {})[batch_id] = size_bytes
        self._sums[payer] = self._sums.get(payer, 0) + size_bytes

    def make_room(
        self, payer: bytes, size_bytes: int, is_backed: Callable[[bytes], bool], time_ms: int
    ) -> bool:
        """Tell whether the payer may bring more, after what is backed by now is written off.

        The charges are looked through now and then only, however much is brought.
        """
        if self._has_room(payer, size_bytes):
            return True
        if 0 <= time_ms - self._looked_ms.get(payer, -FETCH_DELAY_MS) < FETCH_DELAY_MS:
            return False
        self._looked_ms[payer] = time_ms
        charges = {b: s for b, s in self._charges.get(payer, {}).items() if not is_backed(b)}
        self._charges[payer], self._sums[payer] = charges, sum(charges.values())
        return self._has_room(payer, size_bytes)

    def refuse(self, batch_id: bytes) -> None:
        """Remember a batch for which there is no room."""
        self.refused[batch_id] = None
        if len(self.refused) > UNBACKED_BATCHES_MAX:
            del self.refused[next(iter(self.refused))]

    def held_bytes(self) -> int:
        """Return how much all are charged with."""
        return sum(self._sums.values())

    def _has_room(self, payer: bytes, size_bytes: int) -> bool:
        held = len(self._charges.get(payer, ()))
        total = self._sums.get(payer, 0) + size_bytes
        return held < UNBACKED_BATCHES_MAX and total <= UNBACKED_BYTES_MAX
