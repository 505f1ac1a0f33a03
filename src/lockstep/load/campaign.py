"""A whole measurement: the load process and the nodes' numbers, step by step, into one report."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from lockstep.errors import LockstepError, Unavailable
from lockstep.load.accounts import (
    BackWatch,
    Limit,
    account_step,
    choose_best,
    summarise_overload,
)
from lockstep.load.counters import Numbers, read_numbers
from lockstep.load.mix import Mix
from lockstep.load.network import Network, Nodes, are_states_equal, look_at
from lockstep.load.pacing import RATE_MAX, Profile
from lockstep.load.payments import Kind
from lockstep.load.plan import Plan, make_overload, make_profile
from lockstep.load.process import LoadProcess, LoadRefused
from lockstep.load.search import SaturationSearch, is_kept
from lockstep.load.settings import LoadSettings

UP_TIMEOUT_S: Final = 20.0
PREPARE_TIMEOUT_S: Final = 300.0
SIGNED_MAX: Final = 500_000
CLOSED_TPS: Final = 20_000
IDLE_S: Final = 1.0
POLL_S: Final = 0.1
SAMPLE_S: Final = 2.0
DOWN_S: Final = 3.0
STEP_GRACE_S: Final = 90.0
REPORT_TIMEOUT_S: Final = 120.0


Enough = Callable[[float, int, float | None], bool]
"""Tells from the seconds that passed, what is final, and the latest p50 if a step may end."""


class NodesDown(Unavailable):
    """A node does not run, or its notices do not come."""

    code = "load.node_down"
    hint = "check the node's log, then run the load again"


class Teller(Protocol):
    """Whatever shows people how it goes."""

    def say(self, sentence: str) -> None:
        """Write one line that stays."""
        ...

    def show(self, line: str) -> None:
        """Show the state of things for now."""
        ...


class Campaign:
    """One run of `lockstep load`; `report` is there however it ends."""

    def __init__(self, network: Network, plan: Plan, teller: Teller, *, limit: Limit) -> None:
        """Measure `network` as `plan` says; `limit` is what the machine could verify."""
        self._network = network
        self._plan = plan
        self._teller = teller
        self._limit = limit
        self._mix = Mix(plan.mix)
        self._load = LoadProcess()
        self._stopping = asyncio.Event()
        self._idle_cpu_us_per_s = 0.0
        self._rss: list[float] = []
        self._down_since_s: float | None = None
        self.report: dict[str, Any] = {
            "cut_short": False,
            "nodes": len(network.stations),
            "mix": self._mix.describe(),
            "steps": [],
        }

    def stop(self) -> None:
        """End the step under way, and with it the measurement; a second time ends it at once."""
        if self._stopping.is_set():
            self._load.kill()
        self._stopping.set()
        self._cut_short("interrupted")

    async def run(self) -> None:
        """Measure; whatever goes wrong stands in the report.

        Faults of the network or the load cut the report short; what was measured stays in it.
        """
        try:
            await self._measure()
        except LockstepError as fault:
            self.report["error"] = {
                "code": fault.code,
                "message": str(fault),
                "hint": fault.hint,
            }
            self._cut_short(str(fault))
        finally:
            await self._load.end()
        for exit_sentence in self._network.exits():
            self._cut_short(exit_sentence)
        self.report["crashed"] = self._network.exits()

    def _cut_short(self, why: str) -> None:
        self.report["cut_short"] = True
        self.report.setdefault("cut_short_because", why)

    async def _measure(self) -> None:
        nodes = await look_at(self._network)
        self.report["chain_id"] = nodes.chain_id
        self.report["verify_backend"] = ", ".join(dict.fromkeys(nodes.verify_backends))
        await self._start(nodes)
        watch = asyncio.create_task(self._watch())
        try:
            await self._measure_idle()
            if self._plan.is_saturating:
                saturation = await self._saturate()
            else:
                saturation = self._plan.rate
                await self._step(make_profile(self._plan))
            if self._plan.overload and saturation and not self._stopping.is_set():
                await self._overload(saturation)
            await self._conclude()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _start(self, nodes: Nodes) -> None:
        network, plan = self._network, self._plan
        count = len(network.stations)
        await self._load.start(
            LoadSettings(
                stations=network.stations,
                seeds=network.seeds,
                prefix=network.prefix,
                payee_lock=network.payee_lock,
                chain_id=nodes.chain_id,
                mix=plan.mix,
                connections=max(1, plan.connections // count),
                under_way_max=plan.under_way_max,
                is_persistent=False,
                is_binary=plan.is_binary,
                is_fanning_out=True,
            )
        )
        deadline_s = time.monotonic() + UP_TIMEOUT_S
        while not all(self._load.latest.get("up", [False])):
            if time.monotonic() > deadline_s or self._load.has_ended:
                faults = "; ".join(self._load.latest.get("faults", ["the load did not start"]))
                raise NodesDown(f"not all nodes send notices: {faults}")
            await asyncio.sleep(POLL_S)

    async def _watch(self) -> None:
        """End the measurement when a node has gone, and collect what memory the nodes take."""
        sampled_s = 0.0
        while True:
            await asyncio.sleep(POLL_S)
            now_s = time.monotonic()
            if exits := self._network.exits():
                self._end_step(exits[0])
            elif all(self._load.latest.get("up", [True])):
                self._down_since_s = None
            else:
                self._down_since_s = self._down_since_s or now_s
                if now_s > self._down_since_s + DOWN_S:
                    self._end_step("a node sends no notices any more")
            if now_s > sampled_s + SAMPLE_S:
                sampled_s = now_s
                with suppress(LockstepError):
                    self._note_memory(await self._numbers())

    def _end_step(self, why: str) -> None:
        if not self._stopping.is_set():
            self._teller.say(f"cut short: {why}")
            self._cut_short(why)
            self._stopping.set()

    def _note_memory(self, numbers: list[Numbers]) -> None:
        self._rss.append(max(each.rss_bytes for each in numbers))

    async def _numbers(self) -> list[Numbers]:
        return await read_numbers(self._network.stations)

    async def _measure_idle(self) -> None:
        """Measure what the nodes need without payments."""
        before = await self._numbers()
        await asyncio.sleep(IDLE_S)
        after = await self._numbers()
        used_s = sum(each.cpu_s for each in after) - sum(each.cpu_s for each in before)
        self._idle_cpu_us_per_s = 1e6 * used_s / IDLE_S

    async def _saturate(self) -> int:
        """Look for the highest rate that is kept; return it, 0 where none was."""
        search = SaturationSearch(self._plan.first, ceiling_tps=RATE_MAX)
        while (rate := search.next_rate()) is not None and not self._stopping.is_set():
            step = await self._step(make_profile(self._plan, rate))
            search.note(rate, kept=step["is_kept"])
        return search.best

    async def _step(self, profile: Profile, *, is_enough: Enough | None = None) -> dict[str, Any]:
        """Run one step and add it to the report; it ends before its time once `is_enough`."""
        await self._prepare(profile)
        self._rss.clear()
        before = await self._numbers()
        start_s = time.monotonic()
        timeout_s = (profile.total_s or 0.0) + STEP_GRACE_S
        running = asyncio.create_task(
            self._load.ask("step", "drained", timeout_s=timeout_s, profile=profile)
        )
        await self._show_until(running, start_s, profile, is_enough)
        passed_s = time.monotonic() - start_s
        after = await self._numbers()
        self._note_memory(after)
        told = await self._load.ask("conclude", "step", timeout_s=REPORT_TIMEOUT_S)
        step = account_step(
            told,
            before,
            after,
            idle_us=self._idle_cpu_us_per_s * passed_s,
            rss_bytes=self._rss,
            limit=self._limit,
        )
        asked_tps = self._asked_tps(profile, step["warm_up_s"])
        step = {
            "asked_tps": round(asked_tps, 1),
            "is_kept": is_kept(asked_tps=asked_tps, final_tps=step["final_tps"]),
            "portion": profile.portion_size,
            **step,
        }
        self.report["steps"].append(step)
        self._teller.say(_describe_step(step, is_closed=bool(profile.closed)))
        return step

    def _asked_tps(self, profile: Profile, warm_up_s: float) -> float:
        """Return the rate asked for after the warm-up, 0 in a closed loop.

        Of two rivals at most one can be final, so none of them is counted.
        """
        if profile.closed or profile.total_s is None:
            return 0.0
        count = profile.total - profile.due(warm_up_s)
        count -= self._mix.share_of(Kind.CONFLICTING, count)
        return count / (profile.total_s - warm_up_s)

    async def _show_until(
        self,
        running: "asyncio.Task[dict[str, Any]]",
        start_s: float,
        profile: Profile,
        is_enough: Enough | None,
    ) -> None:
        """Show how it goes until the step is over; end it when the measurement is to stop."""
        told = False
        while not running.done():
            await asyncio.wait({running}, timeout=POLL_S)
            latest, elapsed_s = self._load.latest, time.monotonic() - start_s
            p50_ms = latest["recent_ms"]["p50"]
            is_over = is_enough is not None and is_enough(elapsed_s, latest["final"], p50_ms)
            if (self._stopping.is_set() or is_over) and not told:
                told = True
                self._load.command("drain")
            self._teller.show(
                f"{elapsed_s:.0f} of {profile.total_s:.0f} s,"
                f" {latest['final']}/{latest['submitted']} final,"
                f" {latest['under_way']} under way, p50 {p50_ms} ms"
            )
        running.result()

    async def _prepare(self, profile: Profile) -> None:
        """Have the coins made and the payments of a step signed."""
        # In an overload nothing may wait for a lane: that would be the load's own bound.
        rate = RATE_MAX if profile.after_s else profile.top_tps or CLOSED_TPS
        wished = profile.total if not profile.closed else int(CLOSED_TPS * (profile.seconds or 0))
        asking = asyncio.create_task(
            self._load.ask(
                "prepare",
                "prepared",
                timeout_s=PREPARE_TIMEOUT_S,
                payments=min(SIGNED_MAX, wished),
                rate=max(rate, profile.closed),
            )
        )
        while not asking.done():
            await asyncio.wait({asking}, timeout=POLL_S)
            if told := self._load.preparing:
                self._teller.show(f"{told['what']}: {told['done']} of {told['total']}")
        answer = asking.result()
        if "fault" in answer:
            raise LoadRefused(answer["code"], answer["fault"], answer["hint"])

    async def _overload(self, saturation: int) -> None:
        """Offer several times saturation, then saturation, and see how it comes back."""
        profile = make_overload(self._plan, saturation)
        before = max(each.rss_bytes for each in await self._numbers())
        best = choose_best(self.report["steps"])
        saturation_tps = best["final_tps"] if best else float(saturation)
        back = BackWatch(after_s=float(self._plan.seconds), saturation_tps=saturation_tps)
        step = await self._step(profile, is_enough=back.is_enough)
        self.report["steps"].pop()
        self.report["overload"] = summarise_overload(
            step,
            factor=self._plan.overload,
            seconds=self._plan.seconds,
            saturation_tps=saturation_tps,
            rss_bytes_before=before,
        )

    async def _conclude(self) -> None:
        """Compare the nodes, and take what the load saw that must not be."""
        self._teller.show("comparing the nodes")
        self.report["states_equal"] = await are_states_equal(self._network.stations)
        told = await self._load.ask("report", "report", timeout_s=REPORT_TIMEOUT_S)
        for name in ("alarms", "overruns", "conflicts"):
            self.report[name] = told[name]


def _describe_step(step: dict[str, Any], *, is_closed: bool) -> str:
    times = step["finality_ms"]
    parts = [] if is_closed else [f"{step['asked_tps']:.0f} asked"]
    parts += [f"{step['offered_tps']:.0f} offered", f"{step['final_tps']:.0f} final a second"]
    parts += [f"{name} {times[name]} ms" for name in ("p50", "p99")]
    if not is_closed:
        parts.append("kept" if step["is_kept"] else "NOT kept")
    return ", ".join(parts)
