"""The load: a process outside the nodes that pays through their RPC and listens to their notices.

It reads one line of settings and then commands on standard input, and writes news on standard
output, all JSON. The key of its coins came through the pipe, never by the command line.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import uvloop
from msgspec import Struct

from lockstep.crypto.keys import SecretKey
from lockstep.devnet.payments import PaymentMaker, SignedPayment
from lockstep.devnet.station import Station, StationSettings
from lockstep.devnet.tally import LoadTally, Sent, describe_times
from lockstep.errors import LockstepError
from lockstep.primitives.ids import make_outpoint

POLL_S: Final = 0.05
TICK_S_MIN: Final = 0.05
TICK_S_MAX: Final = 0.1
PORTION: Final = 100
NEWS_S: Final = 0.5
BULK_MAX: Final = 400
PAGE_COINS: Final = 1_000
UNDER_WAY_MAX: Final = 8_000
RETRY_S: Final = 0.25
REFUSALS_MAX: Final = 20
STUCK_WAIT_S: Final = 10.0
_READ_LIMIT: Final = 1 << 20


class LoadSettings(Struct, frozen=True):
    """The first line the load reads; `prepare` is how many payments to sign before the start."""

    stations: list[StationSettings]
    seed: str
    payee_lock: str
    chain_id: str
    address: str
    tps: int
    prepare: int
    pairs: int


class Command(Struct, frozen=True):
    """What the conductor wants: prepare, start, lose_quorum, regain_quorum, drain, report.

    `seconds` is how long the load goes on, None for ever.
    """

    name: str
    seconds: float | None = None


class Load:
    """One run of the load; all its tasks live in one group."""

    def __init__(self, settings: LoadSettings) -> None:
        """Prepare to pay as the settings say."""
        self._settings = settings
        self._tally = LoadTally()
        self._maker = PaymentMaker(
            SecretKey(bytes.fromhex(settings.seed)),
            payee_lock=bytes.fromhex(settings.payee_lock),
            chain_id=bytes.fromhex(settings.chain_id),
        )
        self._ready: list[SignedPayment] = []
        self._stations = [
            Station(row, on_final=self._on_final, on_lost=self._on_lost)
            for row in settings.stations
        ]
        self._next = 0
        self._waiting: dict[str, Sent] = {}
        self._tasks = asyncio.TaskGroup()
        self._paying: asyncio.Task[None] | None = None
        self._is_draining = False
        self._starved = 0

    async def run(self) -> None:
        """Serve commands until standard input ends."""
        async with self._tasks:
            background = [self._tasks.create_task(s.listen()) for s in self._stations]
            background.append(self._tasks.create_task(self._tell()))
            background.append(self._tasks.create_task(self._retry()))
            try:
                await self._serve()
            finally:
                if self._paying is not None:
                    background.append(self._paying)
                for task in background:
                    task.cancel()
        for station in self._stations:
            await station.close()

    async def _serve(self) -> None:
        async for line in _lines():
            command = msgspec.json.decode(line, type=Command)
            match command.name:
                case "prepare":
                    await self._prepare()
                    say({"news": "prepared", "coins": len(self._maker) + len(self._ready)})
                case "start":
                    self._paying = self._tasks.create_task(self._pay(command.seconds))
                case "lose_quorum":
                    self._tally.lose_quorum(time.monotonic())
                case "regain_quorum":
                    self._tally.regain_quorum()
                case "drain":
                    if self._paying is not None:
                        self._paying.cancel()
                    self._is_draining = True
                case "report":
                    say({"news": "report", **await self._report()})

    async def _prepare(self) -> None:
        """Collect the load's coins from a node, and sign what can be signed before the start."""
        station = await self._any_station()
        async for row in station.pages(
            "listunspent", minconf=1, addresses=[self._settings.address], limit=PAGE_COINS
        ):
            if row["state"] == "Unspent":
                outpoint = make_outpoint(bytes.fromhex(row["txid"]), row["vout"])
                self._maker.add_coins([(outpoint, row["amount_units"])])
        free = max(0, len(self._maker) - self._settings.pairs)
        self._ready = self._maker.make_payments(min(self._settings.prepare, free))

    async def _pay(self, seconds: float | None) -> None:
        """Send `tps` payments a second in even portions, each portion to the next node."""
        start_s = time.monotonic()
        pairs = self._settings.pairs
        pair_every_s = (seconds or 0.0) / (pairs + 1)
        # Rarely enough that a portion is worth a batch, often enough that nobody notices.
        tick_s = min(TICK_S_MAX, max(TICK_S_MIN, PORTION / max(1, self._settings.tps)))
        sent = pairs_sent = 0
        while seconds is None or time.monotonic() < start_s + seconds:
            elapsed_s = time.monotonic() - start_s
            due = int(elapsed_s * self._settings.tps) - sent
            sent += due - self._send_portion(due)
            if pairs_sent < pairs and elapsed_s >= (pairs_sent + 1) * pair_every_s:
                pairs_sent += self._send_pair()
            await asyncio.sleep(tick_s)
        # What fell between the last tick and the end.
        self._send_portion(int(seconds * self._settings.tps) - sent)
        while pairs_sent < pairs and self._send_pair():
            pairs_sent += 1

    def _send_portion(self, due: int) -> int:
        """Send what is due, in bulk; return how many could not be sent now."""
        up = [station for station in self._stations if station.is_up]
        room = UNDER_WAY_MAX - len(self._tally.under_way)
        left = due
        while up and left > 0 and room > 0:
            payments = self._take(min(left, room, BULK_MAX))
            if not payments:
                self._starved += 1
                break
            station = up[self._next % len(up)]
            self._next += 1
            self._tally.send(payments, node=station.index, now_s=time.monotonic())
            self._tasks.create_task(self._submit(station, payments))
            left -= len(payments)
            room -= len(payments)
        return left

    def _take(self, count: int) -> list[SignedPayment]:
        """Take signed payments, those made before the start first."""
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken + self._maker.make_payments(count - len(taken))

    def _send_pair(self) -> int:
        """Send two payments of one coin to two nodes at once; return how many pairs were sent."""
        up = [station for station in self._stations if station.is_up]
        if len(up) < 2 or (pair := self._maker.make_conflict()) is None:
            return 0
        places = [up[self._next % len(up)], up[(self._next + 1) % len(up)]]
        self._next += 1
        self._tally.send_conflict(pair, [station.index for station in places])
        for station, payment in zip(places, pair, strict=True):
            self._tasks.create_task(self._submit_contested(station, payment))
        return 1

    async def _submit_contested(self, station: Station, payment: SignedPayment) -> None:
        # A node that met the rival first refuses this one, which is as good an end as any.
        with suppress(LockstepError):
            await station.submit([payment.raw])

    async def _submit(self, station: Station, payments: Sequence[SignedPayment]) -> None:
        """Hand payments to a node; what a lost connection swallowed goes elsewhere."""
        try:
            rows = await station.submit([payment.raw for payment in payments])
        except LockstepError:
            self._put_aside(payments, node=station.index)
            return
        for payment, row in zip(payments, rows, strict=True):
            if not row.accepted:
                self._on_refusal(payment, row.code, node=station.index)

    def _on_refusal(self, payment: SignedPayment, code: str, *, node: int) -> None:
        sent = self._tally.under_way.get(payment.txid)
        if sent is None or sent.node != node:
            return
        sent.refusals += 1
        if sent.refusals > REFUSALS_MAX:
            self._tally.on_refused(payment.txid, code)
            return
        self._tally.books.retried += 1
        self._put_aside([payment], node=node)

    def _put_aside(self, payments: Sequence[SignedPayment], *, node: int) -> None:
        for payment in payments:
            sent = self._tally.under_way.get(payment.txid)
            if sent is not None and sent.node == node:
                self._waiting[payment.txid] = sent

    def _on_lost(self, node: int) -> None:
        """Put aside what is under way at a node whose connection broke."""
        self._put_aside([sent.payment for sent in self._tally.lost_at(node)], node=node)

    async def _retry(self) -> None:
        """Send again, to other nodes, what was put aside."""
        while True:
            await asyncio.sleep(RETRY_S)
            waiting = [s for txid, s in self._waiting.items() if txid in self._tally.under_way]
            self._waiting.clear()
            for start in range(0, len(waiting), BULK_MAX):
                group = waiting[start : start + BULK_MAX]
                left = {sent.node for sent in group}
                up = [s for s in self._stations if s.is_up]
                others = [s for s in up if s.index not in left] or up
                if not others:
                    self._waiting.update((sent.payment.txid, sent) for sent in group)
                    continue
                station = others[self._next % len(others)]
                self._next += 1
                self._send_again(group, station)

    def _send_again(self, group: Sequence[Sent], station: Station) -> None:
        now_s = time.monotonic()
        payments = []
        for sent in group:
            settled = self._tally.send_again(sent, node=station.index, now_s=now_s)
            if settled is None:
                payments.append(sent.payment)
            else:
                self._maker.add_coins([settled.change])
        if payments:
            self._tasks.create_task(self._submit(station, payments))

    def _on_final(self, node: int, txids: Sequence[str]) -> None:
        settled = self._tally.on_final(node, txids, now_s=time.monotonic())
        self._maker.add_coins(payment.change for payment in settled)

    async def _any_station(self) -> Station:
        while True:
            for station in self._stations:
                if station.is_up:
                    return station
            await asyncio.sleep(POLL_S)

    async def _tell(self) -> None:
        """Say how it goes, twice a second."""
        while True:
            tally = self._tally
            say(
                {
                    "news": "progress",
                    "submitted": tally.books.submitted,
                    "final": tally.books.final,
                    "draining": self._is_draining,
                    "under_way": len(tally.under_way),
                    "conflicts": len(tally.conflicts),
                    "unresolved": len(tally.unresolved()),
                    "heights": [station.height for station in self._stations],
                    "up": [station.is_up for station in self._stations],
                    "recent_ms": describe_times(tally.times_us[-1000:]),
                    "starved": self._starved,
                }
            )
            await asyncio.sleep(NEWS_S)

    async def _report(self) -> dict[str, Any]:
        """Ask after what no notice came for, and give account of everything."""
        for sent in list(self._tally.under_way.values()):
            await self._ask_after(sent)
        books = self._tally.books
        unresolved = self._tally.unresolved()
        stuck = [c for c in unresolved if not await self._can_spend(c.payments[0])]
        return {
            "submitted": books.submitted,
            "final": books.final,
            "resubmitted": books.resubmitted,
            "retried": books.retried,
            "refused": books.refused,
            "final_without_quorum": books.final_without_quorum,
            "finality_ms": describe_times(self._tally.times_us),
            "missing": sorted(self._tally.under_way)[:10],
            "conflicts": {
                "pairs": len(self._tally.conflicts),
                "both_final": self._tally.both_final(),
                "unresolved": len(unresolved),
                "stuck_coins": len(stuck),
            },
            "alarms": [alarm for station in self._stations for alarm in station.alarms],
            "load_cpu_s": round(time.process_time(), 2),
            "overruns": sum(station.overruns for station in self._stations),
        }

    async def _ask_after(self, sent: Sent) -> None:
        """Ask its node for a payment of which no notice came."""
        station = self._stations[sent.node]
        with suppress(LockstepError):
            answer = await station.call("gettransactionfinality", txid=sent.payment.txid)
            if answer["final"]:
                self._on_final(sent.node, [sent.payment.txid])

    async def _can_spend(self, payment: SignedPayment) -> bool:
        """Tell whether the coin of an undecided pair can still be spent, by doing it."""
        with suppress(LockstepError):
            station = await self._any_station()
            await station.submit([payment.raw])
            answer = await station.call(
                "waittransactionfinality",
                txid=payment.txid,
                timeout_ms=int(STUCK_WAIT_S * 1000),
            )
            return bool(answer["final"])
        return False


def say(news: dict[str, Any]) -> None:
    """Write one line of news for the conductor."""
    sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
    sys.stdout.buffer.flush()


async def _lines() -> Any:
    reader = asyncio.StreamReader(limit=_READ_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line


def main() -> None:
    """Run the load with the settings on standard input."""
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=LoadSettings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Load(settings).run())


if __name__ == "__main__":
    main()
