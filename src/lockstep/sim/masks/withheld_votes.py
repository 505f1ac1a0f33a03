"""Votes and ballots kept back and shown late, some in the next epoch or height [M4, B4]."""

from collections.abc import Sequence
from typing import Final

from lockstep.primitives.block import Ballot
from lockstep.primitives.messages import Message
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.sim.masks.mask import Mask

VOTE_MS: Final = (500, 8_000)
BALLOT_MS: Final = (300, 4_000)


class WithheldVotes(Mask):
    """Says its Votes and some of its ballots seconds after they are due."""

    name = "withheld_votes"

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Keep a Vote or ballot back for a while."""
        if not self.is_own(message):
            return (message,)
        if isinstance(message, Vote) and message.kind is VoteKind.VOTE:
            limits = VOTE_MS
        elif isinstance(message, Ballot) and (message.height + message.round) % 2:
            limits = BALLOT_MS
        else:
            return (message,)
        self.did()
        self.stage.say_later(self.stage.dice.randint(*limits), peer, message)
        return ()
