"""The load's books: what was sent where and when, and what each node reported final; pure.

A payment counts as final when the node it was last sent to has reported it; its time runs from the
first send. Conflicting pairs are kept apart from the other payments.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct, field

from lockstep.load.payments import SignedPayment

PERCENTILES: Final = (50, 95, 99)


class Sent(Struct, gc=False):
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
    signatures: int = 0
    resubmitted: int = 0
    retried: int = 0
    unheard: int = 0
    hinted: int = 0
    final_without_quorum: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class LoadTally:
    """Counts payments from the first send until the last one is final.

    Attributes:
        books: The counts.
        times_us: How long each final payment took, in microseconds.
        moments_s: When each of them was final, on the caller's clock.
    """

    def __init__(self) -> None:
        """Begin with empty books."""
        self.books = Books()
        self.times_us: array[int] = array("Q")
        self.moments_s: array[float] = array("d")
        self.under_way: dict[str, Sent] = {}
        self.conflicts: list[Conflict] = []
        self._contested: dict[str, tuple[Conflict, int]] = {}
        self._quorum_lost_s: float | None = None

    def send(self, payments: Iterable[SignedPayment], *, node: int, now_s: float) -> None:
        """Note that these payments leave for a node for the first time."""
        count = 0
        for count, payment in enumerate(payments, 1):  # noqa: B007  # The last is the number.
            self.under_way[payment.txid] = Sent(payment, now_s, node)
        self.books.submitted += count

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
        # Every node reports every payment, twice, so most of these are settled already.
        for txid in self.under_way.keys() & txids:
            sent = self.under_way[txid]
            if self._quorum_lost_s is not None:
                self._count_without_quorum(sent, self._quorum_lost_s)
            sent.reported |= 1 << node
            if sent.node == node:
                settled.append(self._settle(sent, now_s))
        for txid in self._contested.keys() & txids:
            conflict, side = self._contested[txid]
            conflict.finals |= 1 << side
        return settled

    def on_found_final(self, sent: Sent) -> bool:
        """Note that a payment is final of which no notice came; how long it took is not known.

        Tells whether that is so: a notice may have come while the node was asked.
        """
        if self.under_way.pop(sent.payment.txid, None) is None:
            return False
        self.books.final += 1
        self.books.signatures += sent.payment.signatures
        self.books.unheard += 1
        return True

    def on_refused(self, txid: str, code: str, *, retry_after_ms: int = 0) -> SignedPayment | None:
        """Note that a payment was refused for good; return it if it was under way.

        `retry_after_ms` is when the node says to come again, 0 where it does not.
        """
        sent = self.under_way.pop(txid, None)
        if sent is None:
            return None
        self.books.refused[code] = self.books.refused.get(code, 0) + 1
        self.books.hinted += retry_after_ms > 0
        return sent.payment

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

    def _count_without_quorum(self, sent: Sent, lost_s: float) -> None:
        if sent.sent_s >= lost_s and not sent.reported:
            self.books.final_without_quorum += 1

    def _settle(self, sent: Sent, now_s: float) -> SignedPayment:
        payment = sent.payment
        del self.under_way[payment.txid]
        self.books.final += 1
        self.books.signatures += payment.signatures
        self.times_us.append(int((now_s - sent.sent_s) * 1_000_000))
        self.moments_s.append(now_s)
        return payment


def describe_times(times_us: Sequence[int]) -> dict[str, float | None]:
    """Return p50, p95, p99 and max in milliseconds, by nearest rank; null where there is none."""
    if not times_us:
        return {**{f"p{p}": None for p in PERCENTILES}, "max": None}
    ordered = sorted(times_us)
    last = len(ordered)
    ranks = {f"p{p}": ordered[-(-p * last // 100) - 1] for p in PERCENTILES}
    return {name: round(us / 1000, 1) for name, us in {**ranks, "max": ordered[-1]}.items()}


class Stretch:
    """A stretch of a run, told from the books at its start and end.

    Rates are counted after a warm-up. From then on as much comes from before as is still under way
    at the end, as long as latency does not grow; so a steady latency costs nothing of the rate.
    """

    def __init__(self, tally: LoadTally, *, start_s: float, warm_up_s: float = 0.0) -> None:
        """Begin now; `start_s` is now on the clock of the books."""
        self._tally = tally
        self._start_s = start_s
        self._warm_up_s = warm_up_s
        self._warm: tuple[float, int] | None = None
        self._books = _copy(tally.books)
        self._first = len(tally.times_us)
        self._pairs = len(tally.conflicts)
        self._sent: list[int] = []

    def note_sent(self, now_s: float) -> None:
        """Note for the course how much was sent until now."""
        submitted = self._tally.books.submitted - self._books.submitted
        elapsed_s = now_s - self._start_s
        if self._warm is None and elapsed_s >= self._warm_up_s:
            self._warm = (elapsed_s, submitted)
        second = int(elapsed_s)
        while len(self._sent) <= second:
            self._sent.append(0)
        self._sent[second] = submitted

    def describe(self, seconds: float) -> dict[str, Any]:
        """Return the counts, and the rates until `seconds`; the rest was the draining."""
        before, books = self._books, self._tally.books
        times = self._tally.times_us[self._first :]
        warm_s, warm = self._warm if self._warm and self._warm[0] < seconds else (0.0, 0)
        first_s, end_s = self._start_s + warm_s, self._start_s + seconds
        moments = self._tally.moments_s[self._first :]
        within = sum(first_s < moment <= end_s for moment in moments)
        rated_s = seconds - warm_s
        offered, final = books.submitted - before.submitted, books.final - before.final
        pairs = self._tally.conflicts[self._pairs :]
        refused = {
            code: count - before.refused.get(code, 0)
            for code, count in books.refused.items()
            if count > before.refused.get(code, 0)
        }
        return {
            "seconds": round(seconds, 3),
            "submitted": offered,
            "final": final,
            "warm_up_s": round(warm_s, 3),
            "offered_tps": round((offered - warm) / rated_s, 1) if rated_s else 0.0,
            "final_tps": round(within / rated_s, 1) if rated_s else 0.0,
            "finality_ms": describe_times(times),
            "signatures": books.signatures - before.signatures,
            "refused": refused,
            "refused_with_hint": books.hinted - before.hinted,
            "retried": books.retried - before.retried,
            "unheard": books.unheard - before.unheard,
            "conflicts": {
                "pairs": len(pairs),
                "both_final": sum(pair.finals == 0b11 for pair in pairs),
                "unresolved": sum(not pair.finals for pair in pairs),
            },
            "course": self._course(),
        }

    def _course(self) -> list[dict[str, Any]]:
        """Return a row for each second: sent in it, final in it, and the times of those."""
        times: list[array[int]] = [array("Q") for _ in self._sent]
        moments = self._tally.moments_s[self._first :]
        for moment_s, took_us in zip(moments, self._tally.times_us[self._first :], strict=True):
            second = max(0, int(moment_s - self._start_s))
            while second >= len(times):
                times.append(array("Q"))
            times[second].append(took_us)
        sent = [
            *self._sent,
            *[self._sent[-1] if self._sent else 0] * (len(times) - len(self._sent)),
        ]
        rows = []
        for second, took in enumerate(times):
            described = describe_times(took)
            rows.append(
                {
                    "second": second,
                    "sent": sent[second] - (sent[second - 1] if second else 0),
                    "final": len(took),
                    "p50": described["p50"],
                    "p99": described["p99"],
                }
            )
        return rows


def _copy(books: Books) -> Books:
    fields = {name: getattr(books, name) for name in books.__struct_fields__}
    return Books(**{**fields, "refused": dict(books.refused)})
