"""The event stream: notices as JSON, fanned out to bounded queues.

Each notice is encoded once for all who want it in the same form. Who does not read in time loses
the queue and is told so; the node never waits for a subscriber.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, assert_never

import msgspec

from lockstep.errors import Unavailable
from lockstep.primitives import codec
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    Notice,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
    VotingChanged,
)
from lockstep.rpc.faults import WrongValue

QUEUE_EVENTS_MAX: Final = 4_096
"""Events that wait for one subscriber."""
QUEUE_BYTES_MAX: Final = 16 * 1024 * 1024
"""The same in bytes."""
SUBSCRIBERS_MAX: Final = 64
"""Programs that listen to events."""
GOING_AWAY: Final = 1001
TRY_AGAIN_LATER: Final = 1013

_encode: Final = msgspec.json.Encoder().encode


class EventKind(StrEnum):
    """What can be subscribed to; `block_transactions` is the news that payments are in a block."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FINAL = "final"
    DROPPED = "dropped"
    BLOCK_TRANSACTIONS = "block_transactions"
    BLOCK = "block"
    ALARM = "alarm"


_KINDS: Final[Mapping[type[Notice], tuple[EventKind, ...]]] = {
    TransactionsAccepted: (EventKind.ACCEPTED,),
    TransactionsRefused: (EventKind.REFUSED,),
    TransactionsFinal: (EventKind.FINAL,),
    TransactionsDropped: (EventKind.DROPPED,),
    BlockAdded: (EventKind.BLOCK_TRANSACTIONS, EventKind.BLOCK),
    Alarm: (EventKind.ALARM,),
}


class TooManySubscribers(Unavailable):
    """As many subscribe as this node serves."""

    code = "rpc.subscribers"


class Subscriber:
    """One listener's queue of encoded events; made by `EventStream.subscribe`."""

    def __init__(self, kinds: frozenset[EventKind], *, confirms: bool) -> None:
        """Listen to these kinds, with the Confirms behind finality where asked."""
        self.kinds = kinds
        self.confirms = confirms
        self._queue: deque[bytes] = deque()
        self._size_bytes = 0
        self._ended = False
        self.close_code = GOING_AWAY
        self._ready = asyncio.Event()

    async def next(self) -> bytes | None:
        """Return the next event, None when there will be no more."""
        while not self._queue:
            if self._ended:
                return None
            self._ready.clear()
            await self._ready.wait()
        event = self._queue.popleft()
        self._size_bytes -= len(event)
        return event

    def offer(self, event: bytes) -> None:
        """Queue an event; a full queue is emptied and ends with the news of it."""
        if self._ended:
            return
        full = len(self._queue) >= QUEUE_EVENTS_MAX
        if full or self._size_bytes + len(event) > QUEUE_BYTES_MAX:
            lost = len(self._queue) + 1
            self._queue.clear()
            self._size_bytes = 0
            self.close_code = TRY_AGAIN_LATER
            self.end(
                {
                    "event": "overrun",
                    "lost": lost,
                    "message": f"{lost} events were not read in time; subscribe again",
                }
            )
            return
        self._queue.append(event)
        self._size_bytes += len(event)
        self._ready.set()

    def end(self, last: dict[str, Any]) -> None:
        """Queue one last event; nothing is taken after it."""
        if not self._ended:
            self._ended = True
            self._queue.append(_encode(last))
            self._size_bytes += len(self._queue[-1])
            self._ready.set()


class EventStream:
    """All subscribers of one node."""

    def __init__(self) -> None:
        """Begin without subscribers."""
        self._subscribers: list[Subscriber] = []
        self._wanted: frozenset[EventKind] = frozenset()
        self._closed = False

    def subscribe(self, kinds: Iterable[str], *, confirms: bool) -> Subscriber:
        """Add a subscriber to these kinds of event, to all where none is named.

        Raises:
            WrongValue: If there is no event of a name.
            TooManySubscribers: If `SUBSCRIBERS_MAX` listen already.
        """
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            raise TooManySubscribers(f"{SUBSCRIBERS_MAX} programs already subscribe")
        wanted = []
        for kind in kinds:
            if kind not in EventKind.__members__.values():
                known = ", ".join(EventKind)
                raise WrongValue(f"there is no event {kind[:40]!r}; known: {known}")
            wanted.append(EventKind(kind))
        subscriber = Subscriber(frozenset(wanted or EventKind), confirms=confirms)
        self._subscribers.append(subscriber)
        self._wanted |= subscriber.kinds
        if self._closed:
            subscriber.end({"event": "stopping"})
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
            self._wanted = frozenset().union(*(other.kinds for other in self._subscribers))

    def publish(self, notice: Notice) -> None:
        """Queue the events of one notice for whoever wants them."""
        if self._wanted.isdisjoint(_KINDS.get(type(notice), ())):
            return
        for kind, content in describe_notice(notice):
            forms: dict[bool, bytes] = {}
            for subscriber in self._subscribers:
                if kind in subscriber.kinds:
                    full = subscriber.confirms and isinstance(notice, TransactionsFinal)
                    if full not in forms:
                        extra = _confirms(notice) if full else {}
                        forms[full] = _encode({"event": kind, **content, **extra})
                    subscriber.offer(forms[full])

    def close(self) -> None:
        """End every subscription, present and future, with the news that the node stops."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.end({"event": "stopping"})


def describe_notice(notice: Notice) -> list[tuple[EventKind, dict[str, Any]]]:
    """Return the events of one notice as (kind, content)."""
    match notice:
        case TransactionsAccepted(txids=txids, voted=voted):
            return [(EventKind.ACCEPTED, {"txids": _hexes(txids), "voted": voted})]
        case TransactionsRefused(refusals=refusals):
            rows = [{"txid": txid.hex(), "code": c, "message": m} for txid, c, m in refusals]
            return [(EventKind.REFUSED, {"refusals": rows})]
        case TransactionsFinal(txids=txids, epoch=epoch, weight=weight):
            content = {"txids": _hexes(txids), "epoch": epoch, "weight": weight}
            return [(EventKind.FINAL, content)]
        case TransactionsDropped(txids=txids, code=code):
            return [(EventKind.DROPPED, {"txids": _hexes(txids), "code": code})]
        case BlockAdded():
            place = {"height": notice.height, "hash": notice.block_id.hex()}
            block = {
                "epoch": notice.epoch,
                "closing": notice.closing,
                "time_ms": notice.time_ms,
                "round": notice.round,
                "by_sync": notice.by_sync,
                "transactions": len(notice.txids),
            }
            return [
                (EventKind.BLOCK_TRANSACTIONS, {**place, "txids": _hexes(notice.txids)}),
                (EventKind.BLOCK, {**place, **block}),
            ]
        case Alarm(code=code, sentence=sentence):
            return [(EventKind.ALARM, {"code": code, "message": sentence})]
        case VotingChanged():
            return []
        case _:
            assert_never(notice)


def _hexes(txids: Iterable[bytes]) -> list[str]:
    return [txid.hex() for txid in txids]


def _confirms(notice: Notice) -> dict[str, list[str]]:
    confirms = notice.confirms if isinstance(notice, TransactionsFinal) else ()
    return {"confirms": [codec.encode(confirm).hex() for confirm in confirms]}
