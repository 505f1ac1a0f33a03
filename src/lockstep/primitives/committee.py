"""Committees: who votes in an epoch, with what weight, and who proposes [M1, T1].

All arithmetic is on integers. A quorum is always a weight of distinct members, never a count of the
votes that happened to arrive.
"""

from collections.abc import Iterable
from math import gcd
from typing import Annotated

from msgspec import Meta, Struct

from lockstep.crypto.hashing import tagged_hash
from lockstep.errors import Misuse
from lockstep.primitives.codec import encode
from lockstep.primitives.ids import Hash, Key

Weight = Annotated[int, Meta(ge=1, le=2**40)]


class Member(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A masternode in a committee; `node_key` proves it on the wire, `voting_key` signs."""

    member_id: Hash
    voting_key: Key
    node_key: Key
    weight: Weight
    reward_weight: Weight
    payout_lock: Hash


def make_member_id(voting_key: bytes) -> bytes:
    """Derive a member's lasting id from the voting key it entered with."""
    return tagged_hash("member", voting_key)


class Committee:
    """Set(e): the members of one epoch in order of member id, fixed for the epoch [M1].

    Attributes:
        members: Members sorted by member id; a member's place here is its index.
        total_weight: W.
        quorum: Q = floor(2W/3) + 1.
        set_hash: Hash of (member id, voting key, weight) of all, without the epoch [2.11].
    """

    __slots__ = ("_index", "_stride", "members", "quorum", "set_hash", "total_weight")

    def __init__(self, members: Iterable[Member]) -> None:
        """Order and weigh the members.

        Raises:
            Misuse: If there are none, or two share an id.
        """
        self.members: tuple[Member, ...] = tuple(sorted(members, key=lambda m: m.member_id))
        self._index = {member.member_id: i for i, member in enumerate(self.members)}
        if not self.members or len(self._index) != len(self.members):
            raise Misuse("a committee has at least one member and no id twice")
        self.total_weight = sum(member.weight for member in self.members)
        self.quorum = 2 * self.total_weight // 3 + 1
        self._stride = _stride(self.total_weight)
        rows = tuple((m.member_id, m.voting_key, m.weight) for m in self.members)
        self.set_hash = tagged_hash("set", encode(rows))

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.members)

    def __contains__(self, member_id: object) -> bool:
        """Tell whether this id is a member's."""
        return member_id in self._index

    def __deepcopy__(self, memo: object) -> "Committee":
        """Share the committee: it never changes."""
        return self

    def index_of(self, member_id: bytes) -> int | None:
        """Return the member's place in `members`, or None if it is not one."""
        return self._index.get(member_id)

    def find(self, member_id: bytes) -> Member | None:
        """Return the member with this id, or None."""
        index = self._index.get(member_id)
        return None if index is None else self.members[index]

    def weight_of(self, member_id: bytes) -> int:
        """Return the member's weight, 0 for a stranger."""
        index = self._index.get(member_id)
        return 0 if index is None else self.members[index].weight

    def weight_of_ids(self, member_ids: Iterable[bytes]) -> int:
        """Return the weight of the distinct members among these ids [M1]."""
        indices = {self._index[m]: None for m in member_ids if m in self._index}
        return sum(self.members[i].weight for i in indices)

    def is_skip(self, weight: int) -> bool:
        """Tell whether the weight exceeds a third, so that one honest member is in it [T1]."""
        return 3 * weight > self.total_weight

    def proposer(self, kind_index: int, round_number: int) -> Member:
        """Return who proposes; `kind_index` is the number of heights of this kind below [T1]."""
        place = (kind_index + round_number) * self._stride % self.total_weight
        for member in self.members:
            if place < member.weight:
                return member
            place -= member.weight
        raise Misuse("the place lies outside the total weight")


def _stride(total_weight: int) -> int:
    """Return the least step of at least 0.618 W that is coprime to W [T1]."""
    step = max(1, 618 * total_weight // 1000)
    while gcd(step, total_weight) != 1:
        step += 1
    return step
