"""Two FREEZEs of one epoch, incomplete lists, and lists that are not the signed ones [T5, N4]."""

from collections.abc import Sequence

from msgspec.structs import replace

from lockstep.primitives.bitmap import iterate_bits, parse_bitmap
from lockstep.primitives.messages import Message
from lockstep.primitives.votes import Entry, Freeze
from lockstep.sim.masks.cabal import Side
from lockstep.sim.masks.mask import Mask


class DoubleFreeze(Mask):
    """Shows the left its list, the right a shorter one, and some both or a false one."""

    name = "double_freeze"

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Bend its own FREEZE."""
        if not isinstance(message, Freeze) or not self.is_own(message):
            return (message,)
        self.did()
        shorter = self._shorten(message)
        match self.stage.cabal.side_of(peer):
            case Side.LEFT:
                return (replace(message, entries=message.entries[:-1]), message)
            case Side.RIGHT:
                return (shorter,)
            case Side.BOTH:
                return (shorter, message)

    def _shorten(self, freeze: Freeze) -> Freeze:
        """Return a FREEZE without the last entry; of an empty one, one of what nobody holds."""
        core = self.stage.core
        if not freeze.entries or core is None:
            stranger = Entry(self.stage.voice.member_id, b"\x01")
            return self.stage.voice.freeze(freeze.epoch, [stranger], [bytes(32)])
        entries = freeze.entries[:-1]
        txids: dict[bytes, None] = {}
        for entry in entries:
            tally = core.finality.batches.get(entry.batch_id)
            if tally is not None:
                bits = parse_bitmap(entry.bitmap, len(tally.txids))
                txids.update((tally.txids[position], None) for position in iterate_bits(bits))
        return self.stage.voice.freeze(freeze.epoch, entries, txids)
