"""Good signatures in the wrong place: other epochs, heights, rounds and chains [M2, M4]."""

from lockstep.primitives.block import BallotKind
from lockstep.primitives.messages import Message
from lockstep.primitives.votes import Entry, VoteKind
from lockstep.replica.core import Core
from lockstep.sim.masks.mask import Mask


class WrongPlace(Mask):
    """Votes in epochs and rounds that are not, and in the name of another chain."""

    name = "wrong_place"

    def on_tick(self) -> None:
        """Say two such words."""
        core = self.stage.core
        if core is None:
            return
        for _ in range(2):
            self.did()
            self.stage.say(self.stage.dice.choice(self.stage.peers()), self._word(core))

    def _word(self, core: Core) -> Message:
        dice, voice = self.stage.dice, self.stage.voice
        if not dice.randrange(4):
            voice = voice.on_chain(dice.randbytes(32))
        epoch = max(0, core.state.epoch + dice.choice((-1, 1, 1, 2, 1_000)))
        known = [*core.batches] or [bytes(32)]
        entry = Entry(dice.choice(known), b"\x01")
        match dice.randrange(4):
            case 0:
                return voice.vote(dice.choice(list(VoteKind)), epoch, [entry])
            case 1:
                return voice.freeze(epoch, [entry], [bytes(32)])
            case _:
                height = max(1, core.height.height + dice.choice((-1, 0, 0, 1, 2, 1_000)))
                round_number = dice.choice((0, 1, 5, 40, 10**6))
                blocks: list[bytes | None] = [None, dice.randbytes(32), *core.height.candidates]
                kind = dice.choice(list(BallotKind))
                return voice.ballot(kind, height, round_number, dice.choice(blocks))
