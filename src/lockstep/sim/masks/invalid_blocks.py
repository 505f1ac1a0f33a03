"""Invalid blocks of every kind in its turn, and blocks out of its turn [T4, T7, T2]."""

from collections.abc import Sequence

from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.sim.masks.cabal import Side
from lockstep.sim.masks.mask import Mask, Stage
from lockstep.sim.masks.spoil import spoil_block


class InvalidBlocks(Mask):
    """Proposes a spoilt block to all, or to the right only."""

    name = "invalid_blocks"

    def __init__(self, stage: Stage) -> None:
        """Have proposed nothing yet."""
        super().__init__(stage)
        self._spoilt: dict[bytes, ProposalMessage] = {}
        self._last_height = 0

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Replace its own fresh proposal."""
        core = self.stage.core
        if not isinstance(message, ProposalMessage) or not self.is_own(message) or core is None:
            return (message,)
        proposal = message.proposal
        if core.height.height != proposal.height or proposal.valid_round >= 0:
            return (message,)
        spoilt = self._spoilt.get(proposal.block_id)
        if spoilt is None:
            _, block = spoil_block(core, message.block, self.stage.dice)
            spoilt = self.stage.voice.proposal(block, proposal.round)
            self._spoilt = {proposal.block_id: spoilt}
            self.did()
        if self.stage.cabal.side_of(peer) is Side.LEFT and proposal.height % 3 == 0:
            return (message,)
        return (spoilt,)

    def on_tick(self) -> None:
        """Propose once a height out of turn, with somebody's block."""
        core = self.stage.core
        if core is None or core.height.height == self._last_height:
            return
        for candidate in core.height.candidates.values():
            if candidate.bodies:
                self._last_height = core.height.height
                block = candidate.bodies[0].block
                word = self.stage.voice.proposal(
                    block, candidate.round + self.stage.dice.randint(0, 3)
                )
                for peer in self.stage.peers():
                    self.stage.say(peer, word)
                return
