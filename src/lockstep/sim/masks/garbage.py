"""Bytes that are no message, nearly are one, or are one of nonsense [L8, B1]."""

from collections.abc import Sequence

from lockstep.primitives.messages import BatchBody, BlockPage, Message, encode_message
from lockstep.sim.masks.mask import Mask, Stage


class Garbage(Mask):
    """Sends noise, cut and bitten frames, and bodies nobody can read."""

    name = "garbage"

    def __init__(self, stage: Stage) -> None:
        """Have heard nothing to spoil yet."""
        super().__init__(stage)
        self._last: Message | None = None

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Remember what is said, to spoil it."""
        self._last = message
        return (message,)

    def on_tick(self) -> None:
        """Send a piece of garbage to somebody."""
        dice = self.stage.dice
        data = dice.randbytes(dice.randint(0, 60))
        choice = dice.randrange(5)
        if choice == 0:
            data = encode_message(BatchBody(dice.randbytes(80)))
        elif choice == 1:
            data = encode_message(BlockPage(1, 0, 1, dice.randbytes(40)))
        elif choice > 2 and self._last is not None:
            whole = encode_message(self._last)
            cut = dice.randrange(len(whole))
            data = whole[:cut] if choice == 3 else _bite(whole, cut, 1 << dice.randrange(8))
        self.did()
        self.stage.say_bytes(dice.choice(self.stage.peers()), data)


def _bite(data: bytes, position: int, bit: int) -> bytes:
    return data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]
