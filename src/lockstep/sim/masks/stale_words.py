"""True words at the wrong time: of old epochs and heights, and old POLCs [M4, T10]."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from lockstep.primitives.block import Ballot, BallotKind
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote
from lockstep.sim.masks.mask import Mask, Stage

REMEMBERED_MAX: Final = 600


class StaleWords(Mask):
    """Repeats what it heard and said long ago, and puts old certificates beside new proposals."""

    name = "stale_words"

    def __init__(self, stage: Stage) -> None:
        """Remember nothing yet."""
        super().__init__(stage)
        self._heard: deque[Message] = deque(maxlen=REMEMBERED_MAX)
        self._proposals: deque[ProposalMessage] = deque(maxlen=8)
        self._number = 0

    def on_arriving(self, peer: int, message: Message) -> bool:
        """Remember one signed word of a few."""
        self._number += 1
        if isinstance(message, ProposalMessage):
            self._proposals.append(message)
        elif isinstance(message, Vote | Freeze | Ballot) and not self._number % 5:
            self._heard.append(message)
        return True

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Propose with prevotes of another place beside it, once in two."""
        if not isinstance(message, ProposalMessage) or not self.is_own(message):
            return (message,)
        old = [w for w in self._heard if isinstance(w, Ballot) and w.kind is BallotKind.PREVOTE]
        if not old or message.proposal.height % 2:
            return (message,)
        self.did()
        return (replace(message, polc=tuple(old[:4])), message)

    def on_tick(self) -> None:
        """Say old words again, and pass old proposals on."""
        dice = self.stage.dice
        pool: list[Message] = [*self._heard, *self._proposals]
        for _ in range(min(len(pool), 3)):
            self.did()
            self.stage.say(dice.choice(self.stage.peers()), dice.choice(pool))
