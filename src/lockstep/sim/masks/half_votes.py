"""Everything it signs goes to one half of its peers and not to the other [B4, T10]."""

from collections.abc import Sequence

from lockstep.primitives.block import Ballot
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote
from lockstep.sim.masks.cabal import Side
from lockstep.sim.masks.mask import Mask


class HalfVotes(Mask):
    """Is mute towards the right side."""

    name = "half_votes"

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Drop what is signed and goes to the right."""
        is_signed = isinstance(message, Vote | Freeze | Ballot | ProposalMessage)
        if is_signed and self.stage.cabal.side_of(peer) is Side.RIGHT:
            self.did()
            return ()
        return (message,)
