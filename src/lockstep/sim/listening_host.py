"""A host whose arriving frames a checker sees first."""

from collections.abc import Callable, Sequence

from lockstep.sim.host import Host

Arriving = Callable[["ListeningHost", Sequence[tuple[int, bytes]]], None]


class ListeningHost(Host):
    """An honest node, of which it is to be known what it heard.

    Attributes:
        on_arriving: Sees the frames that the node is about to take.
    """

    on_arriving: Arriving | None = None

    def on_frames(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Show the frames, unless the computer stands still and will take them later."""
        if self.on_arriving is not None and self.is_up and not self.is_paused:
            self.on_arriving(self, frames)
        super().on_frames(frames)
