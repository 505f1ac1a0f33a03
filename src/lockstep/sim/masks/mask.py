"""What a mask is: hooks on what leaves a member, on what arrives, and on the passing of time."""

from collections.abc import Callable, Sequence
from random import Random
from typing import ClassVar

from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import Message, encode_message
from lockstep.replica.core import Core
from lockstep.sim.clock import Clock
from lockstep.sim.masks.cabal import Cabal
from lockstep.sim.masks.voice import Voice


class Stage:
    """What a masked member has at hand, shared by all its masks.

    Attributes:
        index: Its place in the genesis.
        voice: Its key.
        dice, clock: Those of the world.
        cabal: What all masked members agree on.
        work: How often each mask did something, by the name of the mask.
    """

    def __init__(
        self,
        index: int,
        *,
        voice: Voice,
        genesis: Genesis,
        clock: Clock,
        cabal: Cabal,
        find_core: Callable[[], Core | None],
        transmit: Callable[[int, bytes, Message | None], None],
    ) -> None:
        """Put it together; `transmit` puts a frame on the wire to a peer, past all masks."""
        self.index = index
        self.voice = voice
        self.genesis = genesis
        self.dice: Random = cabal.dice
        self.clock = clock
        self.cabal = cabal
        self.work: dict[str, int] = {}
        self._find_core = find_core
        self._transmit = transmit

    @property
    def core(self) -> Core | None:
        """Return the member's own honest core, None while it is down."""
        return self._find_core()

    @property
    def time_ms(self) -> int:
        """Return the wall clock's time."""
        return self.genesis.time_ms + self.clock.now_ms

    def note_work(self, name: str, count: int = 1) -> None:
        """Count work of a mask."""
        self.work[name] = self.work.get(name, 0) + count

    def peers(self) -> list[int]:
        """Return the honest peers, by index."""
        return list(self.cabal.honest)

    def say(self, peer: int, message: Message) -> None:
        """Send a message to a peer, past all masks."""
        self._transmit(peer, encode_message(message), message)

    def say_bytes(self, peer: int, data: bytes) -> None:
        """Send any frame to a peer."""
        self._transmit(peer, data, None)

    def say_later(self, delay_ms: int, peer: int, message: Message) -> None:
        """Send a message to a peer after a while."""
        self.clock.after(delay_ms, self.say, peer, message)


class Mask:
    """A mask that bends nothing; each kind overrides what it bends.

    Attributes:
        name: How options and counters call it.
    """

    name: ClassVar[str] = ""

    def __init__(self, stage: Stage) -> None:
        """Put it on."""
        self.stage = stage

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Return what goes to an honest peer in place of a message of the core."""
        return (message,)

    def on_arriving(self, peer: int, message: Message) -> bool:
        """Tell whether the core is to hear a message of a peer."""
        return True

    def on_tick(self) -> None:
        """Say something unasked; called a few times a second while the member runs."""

    def did(self, count: int = 1) -> None:
        """Count work of this mask."""
        self.stage.note_work(self.name, count)

    def is_own(self, message: Message) -> bool:
        """Tell whether the message bears the member's own signature."""
        return is_word_of(self.stage.voice.member_id, message)


def is_word_of(member_id: bytes, message: Message) -> bool:
    """Tell whether a message is signed by this member."""
    return member_id in (
        getattr(message, "voter", None),
        getattr(getattr(message, "proposal", None), "proposer", None),
    )
