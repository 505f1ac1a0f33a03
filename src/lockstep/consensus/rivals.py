"""Which payments of an epoch spend one coin, and who spoke for two of them [N4, F1].

Every input of every held payment is noted once. Where no other payment spends it nothing more is
ever done; where one does, it is remembered which of them each member spoke for first.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lockstep.primitives.votes import VoteKind


class Conflict(NamedTuple):
    """A member's messages of one kind are for two payments that share an input."""

    kind: VoteKind
    member_index: int
    first: bytes
    second: bytes


class Rivals:
    """The contested coins of one epoch; dropped with it.

    Bounded by the batches held: an outpoint stands here once for each input of their payments, and
    a member once for each kind and contested outpoint.
    """

    __slots__ = ("_accused", "_claims", "_contested", "_spenders")

    def __init__(self) -> None:
        """Know of no payment."""
        self._spenders: dict[bytes, bytes] = {}
        self._claims: dict[bytes, dict[tuple[VoteKind, int], bytes]] = {}
        self._contested: dict[bytes, list[bytes]] = {}
        self._accused: dict[int, None] = {}

    def add(
        self, txids: Iterable[bytes], inputs: Iterable[Iterable[bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """Note payments and what each spends; return those found to be rivals just now, in pairs.

        The first of a pair had the coin before. The caller then says by `speak` who has spoken for
        either. A payment that is met again says nothing new.
        """
        found: list[tuple[bytes, bytes]] = []
        spent = [
            (outpoint, txid)
            for txid, outpoints in zip(txids, inputs, strict=False)
            for outpoint in outpoints
        ]
        fresh = dict(spent)
        if len(fresh) == len(spent) and self.add_alone(fresh):
            return found
        claim = self._spenders.setdefault
        for outpoint, txid in spent:
            first = claim(outpoint, txid)
            if first != txid and self._contest(outpoint, first, txid):
                found.append((first, txid))
        return found

    def add_alone(self, spenders: Mapping[bytes, bytes]) -> bool:
        """Note payments, as txid by outpoint, if none of the coins is known; tell whether so."""
        if not self._spenders.keys().isdisjoint(spenders):
            return False
        self._spenders.update(spenders)
        return True

    def speak(self, kind: VoteKind, member_index: int, txid: bytes) -> Conflict | None:
        """Note that a member spoke for a contested payment; return its first conflict, if it is."""
        for outpoint in self._contested[txid]:
            first = self._claims[outpoint].setdefault((kind, member_index), txid)
            if first != txid and member_index not in self._accused:
                self._accused[member_index] = None
                return Conflict(kind, member_index, first, txid)
        return None

    def _contest(self, outpoint: bytes, first: bytes, second: bytes) -> bool:
        """Mark a coin as contested by these payments; tell whether that is new."""
        self._claims.setdefault(outpoint, {})
        is_new = False
        for txid in (first, second):
            coins = self._contested.setdefault(txid, [])
            if outpoint not in coins:
                coins.append(outpoint)
                is_new = True
        return is_new
