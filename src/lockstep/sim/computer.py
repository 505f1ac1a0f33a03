"""What happens to a computer whatever runs on it: it stands still, its disk fails, its clock jumps.

A computer that stands still is a process that the system does not run for a while: frames, timers
and commits that end pile up, and then everything is there at once.
"""

from collections.abc import Callable
from typing import Any

from lockstep.primitives.genesis import Genesis
from lockstep.sim.clock import Clock
from lockstep.sim.disk import Disk
from lockstep.sim.tape import Tape


class Computer:
    """A disk, a clock of its own, and whether it runs at all.

    Attributes:
        index: Its place in the genesis, which names it everywhere here.
        disk: What outlives the replicas that run here.
        disks: How many it had.
        is_disk_new: Whether it was replaced since it was last read.
    """

    def __init__(
        self, index: int, *, clock: Clock, tape: Tape, genesis: Genesis, skew_ms: int
    ) -> None:
        """Stand there with a blank disk; the clock is off by `skew_ms`."""
        self.index = index
        self.disk = Disk(genesis)
        self.disks = 1
        self.is_disk_new = False
        self._clock = clock
        self._tape = tape
        self._genesis = genesis
        self._skew_ms = skew_ms
        self._disk_free_ms = 0
        self._life = 0
        self._pile: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None

    @property
    def is_paused(self) -> bool:
        """Tell whether it stands still."""
        return self._pile is not None

    def pause(self) -> int:
        """Stand still: all that reaches it piles up. Return what `resume` asks for."""
        self._note("pause")
        self._pile = []
        return self._life

    def resume(self, life: int | None = None) -> None:
        """Go on with all that piled up, in its order; nothing if the pause's life has ended."""
        pile = self._pile
        if pile is None or life not in (None, self._life):
            return
        self._pile = None
        self._note(f"resume with {len(pile)} things to do")
        for action, arguments in pile:
            action(*arguments)

    def stick_disk(self, duration_ms: int) -> None:
        """Let no commit that begins from now on end before the time has passed."""
        self._note(f"disk stuck for {duration_ms} ms")
        self._disk_free_ms = self._clock.now_ms + duration_ms

    def replace_disk(self, disk: Disk | None) -> None:
        """Give it, while it is off, an older disk or, with None, a blank one [D3]."""
        self._note("disk lost" if disk is None else f"disk set back to height {disk.state.height}")
        self.disks += 1
        self.is_disk_new = True
        self.disk = Disk(self._genesis, is_intact=False) if disk is None else disk

    def move_clock(self, distance_ms: int) -> None:
        """Let its clock jump, forward or back."""
        self._note(f"clock jumps by {distance_ms} ms")
        self._skew_ms += distance_ms

    def _wall_ms(self) -> int:
        """Return what its clock shows, in milliseconds of the epoch."""
        return self._genesis.time_ms + self._clock.now_ms + self._skew_ms

    def _is_held(self, action: Callable[..., None], *arguments: Any) -> bool:
        """Tell whether this must wait since it stands still, and keep it for later if so."""
        if self._pile is None:
            return False
        self._pile.append((action, arguments))
        return True

    def _commit_ends(self, duration_ms: int) -> int:
        """Return when a commit that begins now is on the disk, in virtual milliseconds."""
        return max(self._clock.now_ms + duration_ms, self._disk_free_ms)

    def _note(self, kind: str) -> None:
        self._tape.note(self._clock.now_ms, self.index, kind)
