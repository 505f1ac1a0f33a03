"""The load's books: what was sent where and when, and what each node reported final; pure.

A payment counts as final when the node it was last sent to has reported it; its time runs from the
first send. Conflicting pairs are kept apart from the other payments.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct, field

from lockstep.devnet.payments import SignedPayment

PERCENTILES: Final = (50, 95, 99)


class Sent(Struct):
    """A payment under way; `reported` is a bitmap of the nodes that reported it final."""

    payment: SignedPayment
    sent_s: float
    node: int
    reported: int = 0
    refusals: int = 0


class Conflict(Struct):
    """Two payments of one coin; `finals` has a bit for each that any node called final."""

    payments: tuple[SignedPayment, SignedPayment]
    nodes: list[int]
    finals: int = 0


class Books(Struct):
    """All counts of one run."""

    submitted: int = 0
    final: int = 0
    resubmitted: int = 0
    retried: int = 0
    final_without_quorum: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class LoadTally:
    """Counts payments from the first send until the last one is final.

    `times_us` holds how long each final payment took, in microseconds.
    """

    def __init__(self) -> None:
        """Begin with empty books."""
        self.books = Books()
        self.times_us: array[int] = array("Q")
        self.under_way: dict[str, Sent] = {}
        self.conflicts: list[Conflict] = []
        self._contested: dict[str, tuple[Conflict, int]] = {}
        self._quorum_lost_s: float | None = None

    def send(self, payments: Iterable[SignedPayment], *, node: int, now_s: float) -> None:
        """Note that these payments leave for a node for the first time."""
        for payment in payments:
            self.under_way[payment.txid] = Sent(payment, now_s, node)
            self.books.submitted += 1

    def send_conflict(self, pair: tuple[SignedPayment, SignedPayment], nodes: list[int]) -> None:
        """Note that two payments of one coin leave for two nodes."""
        conflict = Conflict(pair, nodes)
        self.conflicts.append(conflict)
        for side, payment in enumerate(pair):
            self._contested[payment.txid] = (conflict, side)

    def send_again(self, sent: Sent, *, node: int, now_s: float) -> SignedPayment | None:
        """Note that a payment goes to another node; return it final if that one reported it."""
        sent.node = node
        self.books.resubmitted += 1
        return self._settle(sent, now_s) if sent.reported >> node & 1 else None

    def lost_at(self, node: int) -> list[Sent]:
        """Return what is under way at a node, to be sent elsewhere."""
        return [sent for sent in self.under_way.values() if sent.node == node]

    def on_final(self, node: int, txids: Sequence[str], *, now_s: float) -> list[SignedPayment]:
        """Note what a node reports final; return the payments that are now settled."""
        settled = []
        for txid in txids:
            if (sent := self.under_way.get(txid)) is not None:
                self._count_without_quorum(sent)
                sent.reported |= 1 << node
                if sent.node == node:
                    settled.append(self._settle(sent, now_s))
            elif (found := self._contested.get(txid)) is not None:
                conflict, side = found
                conflict.finals |= 1 << side
        return settled

    def on_refused(self, txid: str, code: str) -> None:
        """Note that a payment was refused for good."""
        if self.under_way.pop(txid, None) is not None:
            self.books.refused[code] = self.books.refused.get(code, 0) + 1

    def lose_quorum(self, now_s: float) -> None:
        """Note that from now on no quorum runs."""
        self._quorum_lost_s = now_s

    def regain_quorum(self) -> None:
        """Note that nodes are about to come back."""
        self._quorum_lost_s = None

    def unresolved(self) -> list[Conflict]:
        """Return the pairs of which neither payment was called final."""
        return [conflict for conflict in self.conflicts if not conflict.finals]

    def both_final(self) -> int:
        """Return the number of pairs of which both were called final, which must be none."""
        return sum(conflict.finals == 0b11 for conflict in self.conflicts)

    def _count_without_quorum(self, sent: Sent) -> None:
        lost_s = self._quorum_lost_s
        if lost_s is not None and sent.sent_s >= lost_s and not sent.reported:
            self.books.final_without_quorum += 1

    def _settle(self, sent: Sent, now_s: float) -> SignedPayment:
        del self.under_way[sent.payment.txid]
        self.books.final += 1
        self.times_us.append(int((now_s - sent.sent_s) * 1_000_000))
        return sent.payment


def describe_times(times_us: Sequence[int]) -> dict[str, float | None]:
    """Return p50, p95, p99 and max in milliseconds, by nearest rank; null where there is none."""
    if not times_us:
        return {**{f"p{p}": None for p in PERCENTILES}, "max": None}
    ordered = sorted(times_us)
    last = len(ordered)
    ranks = {f"p{p}": ordered[-(-p * last // 100) - 1] for p in PERCENTILES}
    return {name: round(us / 1000, 1) for name, us in {**ranks, "max": ordered[-1]}.items()}
