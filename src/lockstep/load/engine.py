"""The load: a process outside the nodes that pays through their RPC and listens to their notices.

It reads one line of settings and then commands on standard input, and writes news on standard
output, all JSON. The keys of its coins came through the pipe, never by the command line.
"""

import asyncio
import gc
import sys
import time
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import uvloop

from lockstep.crypto.keys import SecretKey
from lockstep.errors import LockstepError
from lockstep.load.mix import Mix
from lockstep.load.pacing import Profile
from lockstep.load.payments import make_single
from lockstep.load.sender import Sender
from lockstep.load.settings import Command, LoadSettings
from lockstep.load.station import Station
from lockstep.load.tally import LoadTally, Stretch, describe_times
from lockstep.load.treasury import Treasury

POLL_S: Final = 0.02
NEWS_S: Final = 0.5
DRAIN_S: Final = 60.0
STANDSTILL_S: Final = 5.0
RESOLVE_S: Final = 45.0
ASKED_MAX: Final = 1_000
ASKED_AT_ONCE: Final = 20
STUCK_WAIT_S: Final = 10.0
_READ_LIMIT: Final = 1 << 20


class Load:
    """One run of the load; all its tasks live in one group."""

    def __init__(self, settings: LoadSettings) -> None:
        """Prepare to pay as the settings say."""
        self._settings = settings
        self._tally = LoadTally()
        self._tasks = asyncio.TaskGroup()
        self._stations = [
            Station(row, connections=settings.connections, is_binary=settings.is_binary)
            for row in settings.stations
        ]
        self._mix = Mix(settings.mix)
        self._treasury = Treasury(
            [make_single(SecretKey(bytes.fromhex(seed))) for seed in settings.seeds],
            self._mix,
            prefix=settings.prefix,
            payee_lock=bytes.fromhex(settings.payee_lock),
            chain_id=bytes.fromhex(settings.chain_id),
            # Who wants a payment through whatever happens must be able to go elsewhere.
            homes=1 if settings.is_persistent else len(settings.stations),
        )
        self._sender = Sender(
            self._stations,
            self._tally,
            self._treasury.purses,
            self._mix,
            self._tasks,
            under_way_max=settings.under_way_max,
            is_persistent=settings.is_persistent,
        )
        self._pacing: asyncio.Task[None] | None = None
        self._stretch = Stretch(self._tally, start_s=time.monotonic())
        self._step: dict[str, Any] = {}
        self._is_draining = False

    async def run(self) -> None:
        """Serve commands until standard input ends."""
        async with self._tasks:
            background = [
                self._tasks.create_task(
                    station.listen(on_final=self._sender.on_final, on_lost=self._sender.on_lost)
                )
                for station in self._stations
            ]
            background.append(self._tasks.create_task(self._tell()))
            if self._settings.is_persistent:
                background.append(self._tasks.create_task(self._sender.retry()))
            try:
                await self._serve()
            finally:
                if self._pacing is not None:
                    background.append(self._pacing)
                for task in background:
                    task.cancel()
        for station in self._stations:
            await station.close()

    async def _serve(self) -> None:
        async for line in _lines():
            command = msgspec.json.decode(line, type=Command)
            match command.name:
                case "prepare":
                    self._tasks.create_task(self._prepare(command))
                case "start":
                    pairs = self._settings.pairs
                    self._pacing = self._tasks.create_task(
                        self._sender.pace(command.profile, pairs=pairs, stretch=self._stretch)
                    )
                case "step":
                    self._tasks.create_task(self._run_step(command.profile))
                case "conclude":
                    self._tasks.create_task(self._conclude_step())
                case "lose_quorum":
                    self._tally.lose_quorum(time.monotonic())
                case "regain_quorum":
                    self._tally.regain_quorum()
                case "drain":
                    if self._pacing is not None:
                        self._pacing.cancel()
                    self._is_draining = True
                case "report":
                    say({"news": "report", **await self._report()})

    async def _prepare(self, command: Command) -> None:
        """Get the coins and sign what can be signed before the start."""
        station = await self._any_station()
        try:
            if self._settings.is_fanning_out:
                answer = await self._treasury.prepare(
                    station, payments=command.payments, rate=command.rate, tell=self._say_how_far
                )
            else:
                answer = await self._treasury.prepare_as_is(
                    station, payments=command.payments, spared=self._settings.pairs
                )
        except LockstepError as fault:
            answer = {"fault": str(fault), "code": fault.code, "hint": fault.hint}
        # What was signed lives until it is sent: nothing to look through again and again.
        gc.collect()
        gc.freeze()
        say({"news": "prepared", **answer})

    async def _run_step(self, profile: Profile) -> None:
        """Send for as long as the profile says, then wait until all is final or given up."""
        self._is_draining = False
        self._sender.starved = 0
        self._sender.late_us = array("Q")
        start_s = time.monotonic()
        cpu_s = time.process_time()
        self._stretch = stretch = Stretch(self._tally, start_s=start_s, warm_up_s=profile.warm_up_s)
        self._pacing = self._tasks.create_task(self._sender.pace(profile, stretch=stretch))
        await asyncio.wait({self._pacing})
        wanted_s = profile.total_s or 0.0
        seconds = min(wanted_s, time.monotonic() - start_s)
        self._is_draining = True
        await self._drain()
        self._step = {
            "is_cut_short": seconds < wanted_s,
            "load_cpu_s": round(time.process_time() - cpu_s, 3),
            "starved": self._sender.starved,
            "late_ms": describe_times(self._sender.late_us),
            "measured_s": seconds,
        }
        say({"news": "drained", "under_way": len(self._tally.under_way)})

    async def _drain(self) -> None:
        """Wait until nothing is under way, or nothing happens any more."""
        now_s = time.monotonic()
        moved_s, deadline_s = now_s, now_s + DRAIN_S
        left = len(self._tally.under_way)
        while left and now_s < min(deadline_s, moved_s + STANDSTILL_S):
            await asyncio.sleep(POLL_S)
            now_s, before, left = time.monotonic(), left, len(self._tally.under_way)
            if left < before:
                moved_s = now_s

    async def _conclude_step(self) -> None:
        """Find out about what no notice came for, and give account of the step."""
        missing = await self._ask_after_all()
        await self._wait_until(lambda: not self._tally.unresolved(), RESOLVE_S)
        seconds = self._step.pop("measured_s")
        step = {**self._stretch.describe(seconds), **self._step, "missing": missing}
        say({"news": "step", **step})

    async def _ask_after_all(self) -> int:
        """Ask after payments of which no notice came; give up the others; return their number."""
        left = list(self._tally.under_way.values())[:ASKED_MAX]
        for start in range(0, len(left), ASKED_AT_ONCE):
            group = left[start : start + ASKED_AT_ONCE]
            asking = (self._stations[sent.node].is_final(sent.payment.txid) for sent in group)
            for sent, is_final in zip(group, await asyncio.gather(*asking), strict=True):
                if is_final and self._tally.on_found_final(sent):
                    self._treasury.purses[sent.payment.kind].settle(sent.payment)
        missing = len(self._tally.under_way)
        if not self._settings.is_persistent:
            # A node may still hold them, so their lanes are not used again.
            self._tally.under_way.clear()
        return missing

    async def _any_station(self) -> Station:
        while True:
            for station in self._stations:
                if station.is_up:
                    return station
            await asyncio.sleep(POLL_S)

    async def _wait_until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                return
            await asyncio.sleep(POLL_S)

    def _say_how_far(self, what: str, done: int, total: int) -> None:
        say({"news": "preparing", "what": what, "done": done, "total": total})

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
                    "faults": [station.fault for station in self._stations],
                    "recent_ms": describe_times(tally.times_us[-1000:]),
                    "starved": self._sender.starved,
                }
            )
            await asyncio.sleep(NEWS_S)

    async def _report(self) -> dict[str, Any]:
        """Ask after what no notice came for, and give account of everything."""
        await self._ask_after_all()
        books = self._tally.books
        unresolved = self._tally.unresolved()
        stuck = [c for c in unresolved if not await self._can_spend(c.payments[0].raw)]
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

    async def _can_spend(self, raw: bytes) -> bool:
        """Tell whether the coin of an undecided pair can still be spent, by doing it."""
        with suppress(LockstepError):
            station = await self._any_station()
            [row] = await station.submit([raw])
            answer = await station.call(
                "waittransactionfinality", txid=row.txid, timeout_ms=int(STUCK_WAIT_S * 1000)
            )
            return bool(answer["final"])
        return False


def say(news: dict[str, Any]) -> None:
    """Write one line of news for whoever started the load."""
    sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
    sys.stdout.buffer.flush()


async def _lines() -> AsyncIterator[bytes]:
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
