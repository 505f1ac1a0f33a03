"""A core that signs whatever its key may have said before: what [D3] forbids to honest ones."""

from collections.abc import Sequence

from lockstep.replica.core import Core
from lockstep.replica.silence import Silence


class Shameless(Silence):
    """Waits for no answers and never falls silent."""

    __slots__ = ("_is_lifted", "_members")

    def __init__(self, members: Sequence[bytes]) -> None:
        """Take it that all of these have answered."""
        self._is_lifted = False
        self._members = list(members)
        super().__init__(has_amnesia=False)

    @property
    def is_lifted(self) -> bool:
        """Tell whether the node signs."""
        return self._is_lifted

    @is_lifted.setter
    def is_lifted(self, value: bool) -> None:
        self._is_lifted = self._is_lifted or value

    def recall(self, last_epoch: int | None) -> None:
        """Remember no amnesia."""

    def ask(self, time_ms: int) -> None:
        """Ask once, so that the core begins to sign."""
        if not self._is_lifted:
            super().ask(time_ms)

    def counted(self, epoch: int, height: int) -> list[bytes]:
        """Take it that everybody has answered."""
        return self._members


def make_shameless(core: Core) -> None:
    """Let a core that is about to start keep no silence."""
    core.silence = Shameless([member.member_id for member in core.committee.members])
