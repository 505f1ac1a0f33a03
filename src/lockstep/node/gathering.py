"""Which Votes and Confirms may wait for company before they are judged.

The kernel judges eight signatures in the time of one, and a job by itself costs as much again. A
Vote is not missed while too few have come for a quorum [F2, F4], nor when enough have come before
it. So under load only the one that should complete a quorum is judged at once, with all that
wait; the others wait for it, for a batch, or some milliseconds.

What is counted here is what came, unverified, by batch and whatever the bits say. Nothing but time
depends on it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from lockstep.errors import Rejected
from lockstep.node.committees import ChainFacts
from lockstep.primitives.codec import decode_unproven
from lockstep.primitives.messages import is_payment_frame, is_vote_frame
from lockstep.primitives.params import FRAME_BYTES_MAX
from lockstep.primitives.votes import Vote

GATHER_S: Final = 0.004
"""The longest that a Vote waits."""
LOAD_BATCHES: Final = 4
LOAD_BATCH_BYTES: Final = 2048
"""So large is a batch of about ten payments."""
LOAD_S: Final = 1.0
"""There is load where so many batches of this size came in this time."""
BATCHES_MAX: Final = 1024
"""Batches whose Votes are counted; the oldest are forgotten."""


class Gathering:
    """Counts the Votes that come, to tell which of them may wait."""

    def __init__(self, chain: ChainFacts) -> None:
        """Begin with nothing counted, and no load."""
        self._chain = chain
        self._batch_times_s: deque[float] = deque(maxlen=LOAD_BATCHES)
        self._counted: dict[tuple[int, int, bytes], tuple[int, int]] = {}

    def may_wait(self, frames: Sequence[bytes], now_s: float) -> bool:
        """Tell whether these frames are Votes alone that nobody misses yet."""
        if any(len(each) >= LOAD_BATCH_BYTES and is_payment_frame(each) for each in frames):
            self._batch_times_s.append(now_s)
        times_s = self._batch_times_s
        if len(times_s) < LOAD_BATCHES or now_s - times_s[0] > LOAD_S:
            return False
        votes = [frame for frame in frames if is_vote_frame(frame)]
        # Each of them is counted, even after one that may not wait.
        awaited = [self._is_awaited(frame) for frame in votes]
        return len(votes) == len(frames) and not any(awaited)

    def _is_awaited(self, frame: bytes) -> bool:
        """Count a Vote; tell whether a quorum that includes our own may be complete with it."""
        try:
            vote = decode_unproven(Vote, frame, size_max=FRAME_BYTES_MAX)
        except Rejected:
            return True
        committee = self._chain.committees().committee_for_epoch(vote.epoch)
        place = None if committee is None else committee.index_of(vote.voter)
        if committee is None or place is None:
            return True
        lacking = committee.quorum - committee.weight_of(self._chain.own_id or b"")
        counted, bit, weight = self._counted, 1 << place, committee.members[place].weight
        is_awaited = False
        for entry in vote.entries:
            name = (vote.epoch, vote.kind, entry.batch_id)
            voters, before = counted.get(name, (0, 0))
            if not voters & bit:
                counted[name] = (voters | bit, before + weight)
                is_awaited = is_awaited or before < lacking <= before + weight
        while len(counted) > BATCHES_MAX:
            del counted[next(iter(counted))]
        return is_awaited
