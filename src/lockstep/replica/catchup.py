"""Whom to ask for which decided block, and the blocks that came before their turn [T9]."""

from typing import Final

from lockstep.replica.events import BlockFetched

WINDOW_BLOCKS: Final = 8
CATCHUP_DELAY_MS: Final = 500
GRACE_MS: Final = 300
ANSWER_TIMEOUT_MS: Final = 1_500
DOUBLINGS_MAX: Final = 3
"""The time for an answer doubles when all were tried, so often."""


class CatchUp:
    """Requests under way and fetched blocks, at most a window of heights above the tip."""

    def __init__(self) -> None:
        """Ask for nothing."""
        self.timer_set = False
        self._awaited: tuple[int, int] | None = None
        self._asked: dict[int, tuple[bytes, int]] = {}
        self._failed: dict[int, int] = {}
        self._fetched: dict[int, BlockFetched] = {}

    def grace_left_ms(self, tip: int, time_ms: int) -> int:
        """Return how long to wait still for the decision above `tip`, which others have taken.

        The first question about a tip begins its grace.
        """
        if self._awaited is None or self._awaited[0] != tip:
            self._awaited = (tip, time_ms)
        elapsed_ms = time_ms - self._awaited[1]
        return GRACE_MS - elapsed_ms if 0 <= elapsed_ms < GRACE_MS else 0

    def next_requests(
        self, tip: int, tips: dict[bytes, int], time_ms: int
    ) -> list[tuple[bytes, int]]:
        """Return (peer, height) to ask for now; each later try goes to another peer.

        `tips` are the heights that peers said they have. When all of them were tried, an answer has
        longer: where all are slow, asking again makes them slower, and every answer is verified.
        But a liar that does not answer, or wrongly, buys no time for the next. One who is gone will
        not answer.
        """
        self._forget_below(tip)
        requests: list[tuple[bytes, int]] = []
        for height in range(tip + 1, min(max(tips.values(), default=0), tip + WINDOW_BLOCKS) + 1):
            if height in self._fetched:
                continue
            asked = self._asked.get(height)
            failed = self._failed.get(height, 0)
            peers = [peer for peer in tips if tips[peer] >= height]
            if asked is not None:
                patience_ms = ANSWER_TIMEOUT_MS << min(failed // len(peers), DOUBLINGS_MAX)
                if asked[0] in tips and 0 <= time_ms - asked[1] < patience_ms:
                    continue
                failed = self._failed[height] = failed + 1
            peer = peers[(height + failed) % len(peers)]
            self._asked[height] = (peer, time_ms)
            requests.append((peer, height))
        return requests

    def on_failed(self, peer: bytes, height: int) -> None:
        """Take it that this peer will not serve the height; the next try asks another."""
        if self._asked.get(height, (b"", 0))[0] == peer:
            del self._asked[height]
            self._failed[height] = self._failed.get(height, 0) + 1

    def hold(self, tip: int, event: BlockFetched) -> bool:
        """Keep a block of the window until its turn; tell whether it was kept."""
        height = event.decided.block.header.height
        if not tip < height <= tip + WINDOW_BLOCKS or height in self._fetched:
            return False
        self._fetched[height] = event
        return True

    def holds(self, height: int) -> bool:
        """Tell whether the block of this height is here."""
        return height in self._fetched

    def take(self, height: int) -> BlockFetched | None:
        """Give back the block of this height, if it is here; else its request stands."""
        fetched = self._fetched.pop(height, None)
        if fetched is not None:
            self._asked.pop(height, None)
            self._failed.pop(height, None)
        return fetched

    def _forget_below(self, tip: int) -> None:
        for table in (self._asked, self._failed, self._fetched):
            for height in [height for height in table if height <= tip]:
                del table[height]
