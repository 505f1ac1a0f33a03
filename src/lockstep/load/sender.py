"""Handing payments to the nodes, and what happens to those that a node does not take."""

import asyncio
import time
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from lockstep.client.envelope import SubmitAnswer
from lockstep.client.faults import RpcError
from lockstep.errors import LockstepError
from lockstep.load.mix import Mix
from lockstep.load.pacing import Profile
from lockstep.load.payments import Kind, Purse, SignedPayment
from lockstep.load.station import Station
from lockstep.load.tally import LoadTally, Sent, Stretch

RETRY_S: Final = 0.25
REFUSALS_MAX: Final = 20
RESEND_MAX: Final = 400


class Sender:
    """Sends what is due, in portions, to the nodes in turn.

    A persistent sender stands for a wallet that wants its payment through: what was refused or lost
    with a connection goes to other nodes. One that is not stands for a measurement: a refusal is
    counted, and the payment is offered again when its turn comes.

    Attributes:
        starved: How often payments were due and no lane was free.
        late_us: How late each tick was, in microseconds.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        tally: LoadTally,
        purses: Mapping[Kind, Purse],
        mix: Mix,
        tasks: asyncio.TaskGroup,
        *,
        under_way_max: int,
        is_persistent: bool,
    ) -> None:
        """Send to these stations from these purses; at most `under_way_max` at once.

        Submissions are tasks of `tasks`: what is wrong with the load itself ends it.
        """
        self._stations = stations
        self._tally = tally
        self._purses = purses
        self._mix = mix
        self._under_way_max = under_way_max
        self._is_persistent = is_persistent
        self._next = 0
        self._waiting: dict[str, Sent] = {}
        self._tasks = tasks
        self._has_room = asyncio.Event()
        self.starved = 0
        self.late_us: array[int] = array("Q")

    async def pace(self, profile: Profile, *, pairs: int = 0, stretch: Stretch) -> None:
        """Send as the profile says until its time is over; `pairs` of rivals evenly besides."""
        start_s = time.monotonic()
        seconds = profile.total_s
        pair_every_s = (seconds or 0.0) / (pairs + 1)
        sent = pairs_sent = held_back = 0
        planned_s = start_s
        while True:
            now_s = time.monotonic()
            elapsed_s = now_s - start_s
            part = profile.part_at(elapsed_s)
            self.late_us.append(max(0, int((now_s - planned_s) * 1_000_000)))
            is_over = seconds is not None and elapsed_s >= seconds
            if profile.closed:
                due = 0 if is_over else profile.closed - len(self._tally.under_way)
            else:
                due = profile.due(elapsed_s) - sent
                if not is_over:
                    held_back = part.hold_back(due, held_back)
                    due -= held_back
            if due > 0:
                sent += due - self._send_due(due, part.portion_size)
            while pairs_sent < pairs and (is_over or elapsed_s >= (pairs_sent + 1) * pair_every_s):
                if not self._send_pair(self._purses[Kind.ONE]):
                    break
                pairs_sent += 1
            stretch.note_sent(min(now_s, start_s + (seconds or elapsed_s)))
            if is_over:
                return
            planned_s = time.monotonic() + part.tick_s
            await self._pause(part.tick_s, is_closed=bool(profile.closed))

    async def retry(self) -> None:
        """Send again, to other nodes, what was put aside; for ever."""
        while True:
            await asyncio.sleep(RETRY_S)
            waiting = [s for txid, s in self._waiting.items() if txid in self._tally.under_way]
            self._waiting.clear()
            for start in range(0, len(waiting), RESEND_MAX):
                group = waiting[start : start + RESEND_MAX]
                left = {sent.node for sent in group}
                up = [s for s in self._stations if s.is_up]
                others = [s for s in up if s.index not in left] or up
                if not others:
                    self._waiting.update((sent.payment.txid, sent) for sent in group)
                    continue
                station = others[self._next % len(others)]
                self._next += 1
                self._send_again(group, station)

    def on_final(self, node: int, txids: Sequence[str]) -> None:
        """Take the news that a node calls payments final."""
        settled = self._tally.on_final(node, txids, now_s=time.monotonic())
        for payment in settled:
            self._purses[payment.kind].settle(payment)
        if settled:
            self._has_room.set()

    def on_lost(self, node: int) -> None:
        """Take the news that a node's connection broke; put aside what is under way there."""
        if self._is_persistent:
            self._put_aside([sent.payment for sent in self._tally.lost_at(node)], node=node)

    def _send_due(self, due: int, portion: int) -> int:
        """Send what is due in portions; return how many could not be sent now."""
        room = self._under_way_max - len(self._tally.under_way)
        left = due
        idle = 0
        while left > 0:
            taken = self._send_portion(min(left, portion)) if room > 0 else 0
            idle = 0 if taken else idle + 1
            if idle == len(self._stations) or room <= 0:
                self.starved += 1
                break
            left -= taken
            room -= taken
        return left

    def _send_portion(self, count: int) -> int:
        """Send one portion to the next node; return how many payments that accounts for."""
        up = [station for station in self._stations if station.is_up]
        if not up:
            return 0
        parts = self._mix.divide(count)
        if not any(parts.values()):
            # Smaller than the smallest share: it is owed, and comes with a later portion.
            return count
        station = up[self._next % len(up)]
        self._next += 1
        home = 0 if self._is_persistent else station.index
        payments: list[SignedPayment] = []
        pairs = 0
        for kind, share in parts.items():
            purse = self._purses[kind]
            if kind is Kind.CONFLICTING:
                pairs += sum(self._send_pair(purse) for _ in range(share // 2))
            elif kind is Kind.CHAINED:
                payments += purse.take_pairs(share // 2, home=home)
            else:
                payments += purse.take(share, home=home)
        if payments:
            self._tally.send(payments, node=station.index, now_s=time.monotonic())
            self._tasks.create_task(self._submit(station, payments))
        # What a home lacks is taken from others in the next turn; rivals have no home.
        missing = sum(parts.values()) - len(payments) - 2 * pairs
        return count - missing if payments or pairs else 0

    def _send_pair(self, purse: Purse) -> int:
        """Send two payments of one coin to two nodes at once; return how many pairs were sent."""
        up = [station for station in self._stations if station.is_up]
        if len(up) < 2 or (pair := purse.take_conflict()) is None:
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
        except LockstepError as fault:
            if self._is_persistent:
                self._put_aside(payments, node=station.index)
            else:
                hint_ms = fault.retry_after_ms if isinstance(fault, RpcError) else 0
                self._give_up(payments, fault.code, retry_after_ms=hint_ms)
            return
        for payment, row in zip(payments, rows, strict=True):
            if not row.accepted:
                self._on_refusal(payment, row, node=station.index)

    def _give_up(
        self, payments: Sequence[SignedPayment], code: str, *, retry_after_ms: int
    ) -> None:
        for payment in payments:
            if self._tally.on_refused(payment.txid, code, retry_after_ms=retry_after_ms):
                self._purses[payment.kind].put_back(payment)

    def _on_refusal(self, payment: SignedPayment, row: SubmitAnswer, *, node: int) -> None:
        sent = self._tally.under_way.get(payment.txid)
        if sent is None or sent.node != node:
            return
        if not self._is_persistent:
            self._give_up([payment], row.code, retry_after_ms=row.retry_after_ms)
            return
        sent.refusals += 1
        if sent.refusals > REFUSALS_MAX:
            self._tally.on_refused(payment.txid, row.code)
            return
        self._tally.books.retried += 1
        self._put_aside([payment], node=node)

    def _put_aside(self, payments: Sequence[SignedPayment], *, node: int) -> None:
        for payment in payments:
            sent = self._tally.under_way.get(payment.txid)
            if sent is not None and sent.node == node:
                self._waiting[payment.txid] = sent

    def _send_again(self, group: Sequence[Sent], station: Station) -> None:
        now_s = time.monotonic()
        payments = []
        for sent in group:
            settled = self._tally.send_again(sent, node=station.index, now_s=now_s)
            if settled is None:
                payments.append(sent.payment)
            else:
                self._purses[settled.kind].settle(settled)
        if payments:
            self._tasks.create_task(self._submit(station, payments))

    async def _pause(self, seconds: float, *, is_closed: bool) -> None:
        """Wait for the next tick; in a closed loop only until something is final."""
        if not is_closed:
            await asyncio.sleep(seconds)
            return
        self._has_room.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_room.wait()
