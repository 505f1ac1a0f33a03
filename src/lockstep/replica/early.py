"""Messages that came before their height or epoch, kept within a bound [M4].

A peer that is a moment ahead sends for the next height while this node is still deciding the last.
Only the next height and the next epoch are kept; what falls out is asked for again on entry, or
repeated by its sender [T10].
"""

from collections import deque
from typing import Final

from lockstep.primitives.votes import Vote
from lockstep.replica.events import BallotsReceived, FreezeReceived, ProposalReceived

HEIGHT_EVENTS_MAX: Final = 256
"""Messages of one peer kept for the next height."""
EPOCH_VOTES_MAX: Final = 1_000
"""Votes of one peer kept for the next epoch."""

HeightEvent = ProposalReceived | BallotsReceived | FreezeReceived


class EarlyMessages:
    """Bounded queues a peer: one for the next height, one for the next epoch."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._events: dict[bytes, deque[tuple[int, HeightEvent]]] = {}
        self._votes: dict[bytes, deque[Vote]] = {}
        self._height_due = self._epoch_due = -1

    def keep_event(self, event: HeightEvent, height: int) -> None:
        """Keep an event for `height`; the oldest of the same peer falls out."""
        queue = self._events.setdefault(event.peer, deque(maxlen=HEIGHT_EVENTS_MAX))
        queue.append((height, event))
        self._height_due = height

    def keep_vote(self, peer: bytes, vote: Vote) -> None:
        """Keep a vote of the next epoch; the oldest of the same peer falls out."""
        self._votes.setdefault(peer, deque(maxlen=EPOCH_VOTES_MAX)).append(vote)
        self._epoch_due = vote.epoch

    def is_due(self, height: int, epoch: int) -> bool:
        """Tell whether something is kept whose height or epoch has begun."""
        return 0 <= self._height_due <= height or 0 <= self._epoch_due <= epoch

    def take_events(self, height: int) -> list[HeightEvent]:
        """Give back what was kept for this height, a peer after the other; older is dropped."""
        if self._height_due > height:
            return []
        taken = [e for queue in self._events.values() for due, e in queue if due == height]
        self._events = {}
        self._height_due = -1
        return taken

    def take_votes(self, epoch: int) -> list[tuple[bytes, Vote]]:
        """Give back the votes kept for this epoch, a peer after the other; older are dropped."""
        if self._epoch_due > epoch:
            return []
        taken = [(p, v) for p, queue in self._votes.items() for v in queue if v.epoch == epoch]
        self._votes = {}
        self._epoch_due = -1
        return taken

    def kept_events(self) -> list[HeightEvent]:
        """Return what is kept for the next height, without taking it."""
        return [event for queue in self._events.values() for _, event in queue]

    def kept_votes(self) -> list[Vote]:
        """Return the votes kept for the next epoch, without taking them."""
        return [vote for queue in self._votes.values() for vote in queue]

    def forget_peer(self, peer: bytes) -> None:
        """Drop what a peer that is gone had sent ahead; it says it again on connect."""
        self._events.pop(peer, None)
        self._votes.pop(peer, None)
