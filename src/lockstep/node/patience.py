"""Which Votes and Confirms need not be judged at once: those that can complete nothing yet.

With four equal members two words of others make a quorum. The first is of no use before the second
has come, and the third of none at all but as evidence. To judge each by itself costs several times
what judging them together does, so they wait for one that matters, for other payments, or for a
short time; to the replica that is a slower network and nothing else.
"""

from collections.abc import Collection
from typing import Final, Protocol

from msgspec import DecodeError
from msgspec.msgpack import Decoder

from lockstep.primitives.votes import Vote, VoteKind

ENTRIES_READ_MAX: Final = 16
"""A message with more entries is judged at once: to look at them all costs as much."""
WAITING_MAX: Final = 64
"""So many wait at most; they fill the verifier's lanes."""

_VOTE_DECODER: Final = Decoder(Vote)


class QuorumView(Protocol):
    """What has been counted."""

    def may_complete(
        self, kind: VoteKind, epoch: int, batch_id: bytes, voters: Collection[bytes]
    ) -> bool:
        """Tell whether words of these members may complete a quorum for payments of a batch."""
        ...


class Patience:
    """The Votes and Confirms that wait, by what they are about; nothing in them is checked yet.

    Who lies about his name can bring about that they are judged sooner, no more.
    """

    def __init__(self, view: QuorumView) -> None:
        """Begin with none."""
        self._view = view
        self._voters: dict[tuple[VoteKind, bytes], dict[bytes, None]] = {}
        self._count = 0

    def add(self, frame: bytes) -> bool:
        """Add a payment frame to what waits; tell whether all that waits has to be judged now."""
        try:
            vote = _VOTE_DECODER.decode(frame)
        except DecodeError:
            return True
        self._count += 1
        if self._count >= WAITING_MAX or len(vote.entries) > ENTRIES_READ_MAX:
            return True
        is_due = False
        for entry in vote.entries:
            voters = self._voters.setdefault((vote.kind, entry.batch_id), {})
            voters[vote.voter] = None
            if self._view.may_complete(vote.kind, vote.epoch, entry.batch_id, voters):
                is_due = True
        return is_due

    def end(self) -> None:
        """Note that all that waited is being judged."""
        self._voters.clear()
        self._count = 0
