"""Messages of the fast path: Vote, Confirm, FREEZE, and what is signed of them [B2, T5, M2]."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from lockstep.crypto.hashing import merkle_root, tagged_hash
from lockstep.primitives.codec import encode
from lockstep.primitives.ids import Counter, Hash, Signature
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX

ENTRIES_MAX: Final = 1024
"""Batches that one Vote or Confirm speaks about."""
FREEZE_ENTRIES_MAX: Final = 16384
"""Batches that a FREEZE list names."""

BatchBitmap = Annotated[bytes, Meta(min_length=1, max_length=(BATCH_TRANSACTIONS_MAX + 7) >> 3)]
"""A bitmap over a batch; a longer one fits none and would only be kept [B2, B3]."""


class VoteKind(IntEnum):
    """The two kinds of fast-path message that count towards a quorum."""

    VOTE = 1
    CONFIRM = 2


class Entry(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Some transactions of one batch [B2]."""

    batch_id: Hash
    bitmap: BatchBitmap


class Vote(Struct, frozen=True, array_like=True, tag=3, forbid_unknown_fields=True):
    """One member's signed bits of one kind and epoch, over any number of batches [B2]."""

    kind: VoteKind
    epoch: Counter
    voter: Hash
    entries: Annotated[tuple[Entry, ...], Meta(min_length=1, max_length=ENTRIES_MAX)]
    signature: Signature


class Freeze(Struct, frozen=True, array_like=True, tag=5, forbid_unknown_fields=True):
    """A member's last word in an epoch: all it confirmed that the chain lacks [T5].

    `digest` is what is signed, the hash of the sorted txids; `entries` say which they are.
    """

    epoch: Counter
    voter: Hash
    entries: Annotated[tuple[Entry, ...], Meta(max_length=FREEZE_ENTRIES_MAX)]
    digest: Hash
    signature: Signature


class FreezeProof(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A FREEZE as a closing block carries it: the list as a bitmap over the block [T7]."""

    voter: Hash
    bitmap: Annotated[bytes, Meta(max_length=1 << 20)]
    signature: Signature


def make_entries_root(entries: Sequence[Entry]) -> bytes:
    """Return the root over the entries, so that one can be shown to a third party [B2]."""
    return merkle_root([make_entry_leaf(entry) for entry in entries])


def make_entry_leaf(entry: Entry) -> bytes:
    """Return what stands for an entry in the tree over a message's entries [B2]."""
    return entry.batch_id + entry.bitmap


def make_vote_digest(
    *, chain_id: bytes, kind: VoteKind, epoch: int, entries: Sequence[Entry]
) -> bytes:
    """Return the 32 bytes a Vote or Confirm signs [M2, B2]."""
    root = make_entries_root(entries)
    return make_rooted_vote_digest(chain_id=chain_id, kind=kind, epoch=epoch, root=root)


def make_rooted_vote_digest(*, chain_id: bytes, kind: VoteKind, epoch: int, root: bytes) -> bytes:
    """Return the same where only the root over the entries is known [M2, B2]."""
    return tagged_hash("vote", encode((chain_id, int(kind), epoch, root)))


def make_freeze_list_digest(txids: Iterable[bytes]) -> bytes:
    """Return the hash of the sorted txids of a FREEZE list [T5]."""
    return tagged_hash("freeze-list", b"".join(sorted(txids)))


def make_freeze_digest(*, chain_id: bytes, epoch: int, digest: bytes) -> bytes:
    """Return the 32 bytes a FREEZE signs [M2, T5]."""
    return tagged_hash("freeze", encode((chain_id, epoch, digest)))
