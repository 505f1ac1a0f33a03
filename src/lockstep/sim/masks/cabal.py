"""What the masked members of a world agree on: whom to tell what, and a secret line between them.

Honest peers are split into sides, anew every few seconds: one side is told one thing, the other
side the other, and who is on both hears both.
"""

from collections.abc import Sequence
from enum import IntEnum
from random import Random
from typing import Final, Protocol

from lockstep.sim.clock import Clock

SPLIT_MS: Final = (2_000, 12_000)
LINE_MS: Final = 2


class Side(IntEnum):
    """Where an honest peer is told it stands."""

    LEFT = 0
    RIGHT = 1
    BOTH = 2


class Member(Protocol):
    """What the cabal asks of a masked member."""

    @property
    def bodies(self) -> int:
        """Return how many cores run under its key."""
        ...

    def hear_secret(self, body: int, sender: int, data: bytes) -> None:
        """Take a frame of another masked member for one of its cores."""
        ...

    def split_changed(self) -> None:
        """Learn that the sides are drawn anew."""
        ...


class Cabal:
    """All masked members of a world.

    Attributes:
        honest: Indices of the honest members.
        masked: Indices of the masked ones.
        dice: Those of the world.
        blocks: Block ids that members of the cabal proposed, by (height, round).
    """

    def __init__(
        self, *, honest: Sequence[int], masked: Sequence[int], dice: Random, clock: Clock
    ) -> None:
        """Draw the first split."""
        self.honest = tuple(honest)
        self.masked = tuple(masked)
        self.blocks: dict[tuple[int, int], dict[bytes, None]] = {}
        self._members: dict[int, Member] = {}
        self.dice = dice
        self._clock = clock
        self._sides: dict[int, Side] = {}
        self._draw()

    def join(self, index: int, member: Member) -> None:
        """Take a masked member in."""
        self._members[index] = member

    def start(self) -> None:
        """Begin to draw the sides anew every few seconds."""
        self._clock.after(self.dice.randint(*SPLIT_MS), self._split)

    def side_of(self, peer: int) -> Side:
        """Return the side of an honest peer."""
        return self._sides[peer]

    def tell(self, sender: int, body: int, receiver: int, data: bytes) -> None:
        """Pass a frame of a masked member's core on to the cores of another on the same side."""
        self._clock.after(LINE_MS, self._pass_on, sender, body, receiver, data)

    def note_block(self, height: int, round_number: int, block_id: bytes) -> None:
        """Remember a block that a member of the cabal proposed; old heights are forgotten."""
        for place in [place for place in self.blocks if place[0] < height]:
            del self.blocks[place]
        self.blocks.setdefault((height, round_number), {})[block_id] = None

    def _pass_on(self, sender: int, body: int, receiver: int, data: bytes) -> None:
        member = self._members[receiver]
        if self._members[sender].bodies == member.bodies > 1:
            member.hear_secret(body, sender, data)
            return
        for other in range(member.bodies):
            member.hear_secret(other, sender, data)

    def _split(self) -> None:
        self._draw()
        for member in self._members.values():
            member.split_changed()
        self._clock.after(self.dice.randint(*SPLIT_MS), self._split)

    def _draw(self) -> None:
        """Split the honest into halves; with luck somebody stands on both sides."""
        order = list(self.honest)
        self.dice.shuffle(order)
        middle = (len(order) + self.dice.randrange(2)) // 2
        self._sides = {
            peer: Side.LEFT if place < middle else Side.RIGHT for place, peer in enumerate(order)
        }
        if len(order) > 2 and self.dice.random() < 0.6:
            self._sides[self.dice.choice(order)] = Side.BOTH
