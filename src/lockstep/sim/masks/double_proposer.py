"""Two blocks for one turn, one for each side [N4]."""

from collections.abc import Sequence
from typing import Final

from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.sim.masks.cabal import Side
from lockstep.sim.masks.forge import make_other_block
from lockstep.sim.masks.mask import Mask, Stage
from lockstep.sim.masks.spoil import spoil_block

HELD_MAX: Final = 8


class DoubleProposer(Mask):
    """Proposes its core's block to the left, another valid one to the right, both to some."""

    name = "double_proposer"

    def __init__(self, stage: Stage) -> None:
        """Hold no second proposal yet."""
        super().__init__(stage)
        self._seconds: dict[bytes, ProposalMessage] = {}

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Give each side its own proposal."""
        if not isinstance(message, ProposalMessage) or not self.is_own(message):
            return (message,)
        second = self._second_of(message)
        if second is None:
            return (message,)
        self.did()
        match self.stage.cabal.side_of(peer):
            case Side.LEFT:
                return (message,)
            case Side.RIGHT:
                return (second,)
            case Side.BOTH:
                return (message, second)

    def _second_of(self, message: ProposalMessage) -> ProposalMessage | None:
        proposal = message.proposal
        held = self._seconds.get(proposal.signature)
        core = self.stage.core
        if held is not None or core is None or proposal.valid_round >= 0:
            return held
        if core.height.height != proposal.height or core.own_id is None:
            return None
        other = make_other_block(core, core.own_id, message.block)
        if other is None:
            _, other = spoil_block(core, message.block, self.stage.dice)
        second = self.stage.voice.proposal(other, proposal.round)
        while len(self._seconds) >= HELD_MAX:
            del self._seconds[next(iter(self._seconds))]
        self._seconds[proposal.signature] = second
        for word in (message, second):
            block_id = word.proposal.block_id
            self.stage.cabal.note_block(proposal.height, proposal.round, block_id)
        return second
