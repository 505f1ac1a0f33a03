"""False heights, and blocks that are not those asked for [T9]."""

from collections.abc import Sequence

from msgspec.structs import replace

from lockstep.primitives.messages import BlockPage, GetBlock, Message, Status
from lockstep.sim.masks.mask import Mask, Stage


class LyingSync(Mask):
    """Claims to be far ahead or far behind, and serves garbage, other blocks, or nothing."""

    name = "lying_sync"

    def __init__(self, stage: Stage) -> None:
        """Have served nothing yet."""
        super().__init__(stage)
        self._last: BlockPage | None = None

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Bend heights and pages."""
        dice = self.stage.dice
        if isinstance(message, Status):
            self.did()
            height = max(0, message.height + dice.choice((-50, -1, 1, 2, 3, 9, 50, 10**6)))
            return (Status(height, dice.randbytes(32), message.epoch + dice.choice((0, 0, 1))),)
        if isinstance(message, BlockPage):
            self.did()
            return self._bend(message)
        return (message,)

    def on_arriving(self, peer: int, message: Message) -> bool:
        """Serve garbage for blocks that do not exist."""
        core = self.stage.core
        if isinstance(message, GetBlock) and (core is None or message.height > core.state.height):
            self.did()
            if self.stage.dice.random() < 0.5:
                page = BlockPage(message.height, message.page, 1, self.stage.dice.randbytes(30))
                self.stage.say(peer, page)
            return False
        return True

    def _bend(self, page: BlockPage) -> Sequence[Message]:
        last, self._last = self._last, page
        data = bytearray(page.data)
        data[self.stage.dice.randrange(len(data))] ^= 1
        match self.stage.dice.randrange(5):
            case 0:
                return ()
            case 1:
                return (replace(page, data=bytes(data)),)
            case 2:
                return (replace(page, data=page.data if last is None else last.data),)
            case 3:
                return (replace(page, pages=page.pages + 1),)
            case _:
                return (replace(page, data=page.data[:-1]),)
