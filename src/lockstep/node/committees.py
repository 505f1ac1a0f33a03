"""What the verifier's threads know of the chain, copied for them on the loop's thread."""

from collections.abc import Collection
from typing import Final, Protocol

from lockstep.ledger.state import ChainState
from lockstep.primitives.committee import Committee
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import VoteKind

EPOCHS_AHEAD: Final = 8


class CommitteeView(Protocol):
    """Where the committees in force are read from, on the loop's thread."""

    @property
    def chain_id(self) -> bytes:
        """Return the hash of genesis."""
        ...

    @property
    def state(self) -> ChainState:
        """Return the chain's state at the tip."""
        ...

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return the committee of an epoch, None where it is not known."""
        ...

    def has_batch(self, batch_id: bytes) -> bool:
        """Tell whether the batch is held."""
        ...

    def may_complete(
        self, kind: VoteKind, epoch: int, batch_id: bytes, voters: Collection[bytes]
    ) -> bool:
        """Tell whether words of these members may complete a quorum for payments of a batch."""
        ...

    def is_wanted_height(self, height: int) -> bool:
        """Tell whether a decided block of this height would be of use."""
        ...

    def find_verified(self, txid: bytes) -> VerifiedTransaction | None:
        """Return a held payment, whose witnesses were found good."""
        ...


class CommitteeSnapshot:
    """The committees around an epoch; fixed, so that any thread may read them."""

    def __init__(self, view: CommitteeView, closing_every: int) -> None:
        """Copy the committees of the epoch before, this one, and those known ahead."""
        self.epoch = view.state.epoch
        self._closing_every = closing_every
        around = range(max(0, self.epoch - 1), self.epoch + EPOCHS_AHEAD)
        self._committees = {epoch: view.committee_for_epoch(epoch) for epoch in around}

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return the committee of the epoch, None where it is not known or too far."""
        return self._committees.get(epoch)

    def committee_for_height(self, height: int) -> Committee | None:
        """Return the committee that signs this height [M4], None where it is not known."""
        return self._committees.get((height - 1) // self._closing_every) if height > 0 else None


class ChainFacts:
    """What the verifier has to know of the chain, taken from the view when a job starts."""

    def __init__(self, view: CommitteeView, closing_every: int) -> None:
        """Take the first snapshot."""
        self.chain_id = view.chain_id
        self._view = view
        self._closing_every = closing_every
        self._snapshot = CommitteeSnapshot(view, closing_every)

    def committees(self) -> CommitteeSnapshot:
        """Return the snapshot for the current epoch; called on the loop's thread."""
        if self._snapshot.epoch != self._view.state.epoch:
            self._snapshot = CommitteeSnapshot(self._view, self._closing_every)
        return self._snapshot

    def has_batch(self, batch_id: bytes) -> bool:
        """Tell whether the replica holds a batch; one look into a table, safe from any thread."""
        return self._view.has_batch(batch_id)

    def may_complete(
        self, kind: VoteKind, epoch: int, batch_id: bytes, voters: Collection[bytes]
    ) -> bool:
        """Tell whether words of these members may complete a quorum; on the loop's thread."""
        return self._view.may_complete(kind, epoch, batch_id, voters)

    def is_wanted_height(self, height: int) -> bool:
        """Tell whether a decided block of this height would be of use; safe from any thread."""
        return self._view.is_wanted_height(height)

    def find_verified(self, txid: bytes) -> VerifiedTransaction | None:
        """Return a payment whose witnesses were found good; one look, safe from any thread."""
        return self._view.find_verified(txid)
