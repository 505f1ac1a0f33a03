"""A member that is there and says nothing, for seconds at a time [T10]."""

from collections.abc import Sequence
from typing import Final

from lockstep.primitives.messages import Message
from lockstep.sim.masks.mask import Mask, Stage

CYCLE_MS: Final = (4_000, 20_000)
SILENT_PERCENT: Final = 80


class Mute(Mask):
    """Swallows all that its core says, for most of each cycle."""

    name = "mute"

    def __init__(self, stage: Stage) -> None:
        """Draw the cycle."""
        super().__init__(stage)
        self._cycle_ms = stage.dice.randint(*CYCLE_MS)

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Let nothing out while it is silent."""
        if self.stage.clock.now_ms % self._cycle_ms * 100 < SILENT_PERCENT * self._cycle_ms:
            self.did()
            return ()
        return (message,)
