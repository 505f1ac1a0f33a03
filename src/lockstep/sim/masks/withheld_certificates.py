"""Confirms, and the certificates they speak of, kept back until the epoch closes [F2, F3, T5]."""

from collections.abc import Sequence
from typing import Final

from lockstep.primitives.messages import GetVotes, Message
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.sim.masks.mask import Mask, Stage

HELD_MAX: Final = 2_000


class WithheldCertificates(Mask):
    """Confirms only when its core is frozen, to some, and to the rest when the epoch is over."""

    name = "withheld_certificates"

    def __init__(self, stage: Stage) -> None:
        """Hold nothing back yet."""
        super().__init__(stage)
        self._held: list[tuple[int, Vote]] = []

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Keep Confirms back."""
        if isinstance(message, Vote) and message.kind is VoteKind.CONFIRM:
            self._held.append((peer, message))
            del self._held[:-HELD_MAX]
            return ()
        return (message,)

    def on_arriving(self, peer: int, message: Message) -> bool:
        """Serve nobody the certificates it holds."""
        return not isinstance(message, GetVotes)

    def on_tick(self) -> None:
        """Reveal around the closing: to half of the peers when frozen, to the others after it."""
        core = self.stage.core
        if core is None:
            return
        kept: list[tuple[int, Vote]] = []
        for peer, confirm in self._held:
            is_over = confirm.epoch < core.finality.epoch
            if is_over or (core.finality.frozen and self.stage.dice.random() < 0.3):
                self.did()
                self.stage.say(peer, confirm)
            else:
                kept.append((peer, confirm))
        self._held = kept
