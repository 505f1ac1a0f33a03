"""Which payments of an epoch spend one coin, and who spoke for two of them [N4, F1].

Every input of every held payment is noted once. Where no other payment spends it nothing more is
ever done; where one does, it is remembered which of them each member spoke for first.
"""

from collections.abc import Iterable
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

    def add(self, txid: bytes, outpoints: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Note a payment met for the first time; return the coins it is the first to contest.

        Each comes with the txid of the payment that had it to itself so far; the caller then says
        by `speak` who has spoken for that one.
        """
        found: list[tuple[bytes, bytes]] = []
        for outpoint in outpoints:
            first = self._spenders.setdefault(outpoint, txid)
            if first == txid:
                continue
            if outpoint not in self._claims:
                self._claims[outpoint] = {}
                self._contested.setdefault(first, []).append(outpoint)
                found.append((outpoint, first))
            self._contested.setdefault(txid, []).append(outpoint)
        return found

    def is_contested(self, txid: bytes) -> bool:
        """Tell whether another payment spends one of its coins."""
        return txid in self._contested

    def speak(self, kind: VoteKind, member_index: int, txid: bytes) -> Conflict | None:
        """Note that a member spoke for a contested payment; return its first conflict, if it is."""
        for outpoint in self._contested[txid]:
            first = self._claims[outpoint].setdefault((kind, member_index), txid)
            if first != txid and member_index not in self._accused:
                self._accused[member_index] = None
                return Conflict(kind, member_index, first, txid)
        return None
