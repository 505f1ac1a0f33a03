"""The conductor: starts the nodes and the load, does the planned harm, and stops all in order."""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from lockstep.client.sync_client import SyncRpcClient
from lockstep.devnet.accounting import Accounting
from lockstep.devnet.faults import Killer, start_nodes, stop_nodes
from lockstep.devnet.first_payment import FirstPayment, send_first_payment
from lockstep.devnet.founding import Devnet
from lockstep.devnet.load_settings import make_load_settings
from lockstep.devnet.options import DRAIN_S, DevnetOptions
from lockstep.devnet.place import write_last_devnet
from lockstep.devnet.ports import HOST
from lockstep.devnet.process import NodeFailed, NodeProcess
from lockstep.devnet.screen import Screen, describe_progress
from lockstep.load.pacing import Profile
from lockstep.load.process import LoadProcess
from lockstep.node.config import COOKIE_FILE
from lockstep.primitives.committee import make_member_id
from lockstep.primitives.genesis import genesis_committee

READY_TIMEOUT_S: Final = 30.0
PREPARE_TIMEOUT_S: Final = 60.0
SETTLE_TIMEOUT_S: Final = 45.0
LEVEL_TIMEOUT_S: Final = 20.0
REPORT_TIMEOUT_S: Final = 120.0
IDLE_S: Final = 1.0
POLL_S: Final = 0.1
SAMPLE_S: Final = 0.5
KILLS_END_S: Final = 3
PREPARED_MAX: Final = 25_000
PREPARED_SECONDS: Final = 10


class Conductor:
    """One run of a devnet; every process it starts has ended when `run` returns."""

    def __init__(self, devnet: Devnet, options: DevnetOptions, screen: Screen) -> None:
        """Prepare a run; nothing is started yet."""
        self._devnet = devnet
        self._options = options
        self._screen = screen
        self._evidence = devnet.place.evidence_directory
        self._evidence.mkdir(exist_ok=True, mode=0o700)
        self._nodes = [
            NodeProcess(
                index,
                devnet.place.node_directory(index),
                self._evidence / f"node{index}.received",
                verify_backend=options.verify_backend,
            )
            for index in range(len(devnet.ports))
        ]
        self._load = LoadProcess()
        self._accounting = Accounting(self._nodes)
        self._seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
        self._dice = random.Random(self._seed)
        self._killer = Killer(self._nodes, self._dice)
        self._stopping = asyncio.Event()
        self._faults: list[str] = []
        self._readiness: dict[str, Any] | None = None
        self._started_s = time.monotonic()
        self._run_s = 0.0

    async def run(self) -> dict[str, Any]:
        """Run the network as asked; return all facts about the run but the judge's.

        Raises:
            NodeFailed: If the network does not come up.
            LoadFailed: If the load ends by itself.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        watch = asyncio.create_task(self._watch())
        try:
            await self._start()
            first = await self._pay_first()
            await self._go_on()
            report = await self._settle()
            unorderly = await stop_nodes(self._nodes)
            return self._conclude(first, report, unorderly)
        finally:
            watch.cancel()
            await self._end_all()

    def _on_signal(self) -> None:
        """Stop in order at the first signal, at once at the second."""
        if self._stopping.is_set():
            self._screen.say("stopping at once")
            for node in self._nodes:
                node.kill()
            self._load.kill()
        else:
            self._screen.say("stopping in order; once more stops at once")
        self._stopping.set()

    async def _start(self) -> None:
        await start_nodes(self._nodes)
        try:
            write_last_devnet(self._devnet.place.directory)
        except OSError as fault:
            self._screen.say(
                f"other commands need --dir: no runtime file could be written: {fault}"
            )
        for node, ports in zip(self._nodes, self._devnet.ports, strict=True):
            self._screen.say(
                f"node {node.index}: peers {HOST}:{ports.p2p}, RPC http://{HOST}:{ports.rpc},"
                f" metrics http://{HOST}:{ports.metrics}/metrics"
            )
        self._screen.say(f"directory {self._devnet.place.directory}")
        await self._load.start(make_load_settings(self._devnet, self._options, self._evidence))
        if not await self._wait_until(self._are_all_up, READY_TIMEOUT_S):
            raise NodeFailed(f"the nodes are not ready after {READY_TIMEOUT_S:.0f} s")

    def _are_all_up(self) -> bool:
        up = self._load.latest.get("up", [False])
        return all(up) and all(node.is_running for node in self._nodes)

    async def _pay_first(self) -> FirstPayment:
        first = await send_first_payment(self._devnet)
        since_s = time.monotonic() - self._started_s
        self._screen.say(
            f"first payment {first.txid} final in {first.ms:.1f} ms,"
            f" {since_s:.1f} s after the start"
        )
        return first

    async def _go_on(self) -> None:
        """Pay and do harm for as long as was asked."""
        seconds = self._options.seconds
        if self._options.payments_per_second or self._options.double_spend:
            payments = min(
                PREPARED_MAX, self._options.payments_per_second * (seconds or PREPARED_SECONDS)
            )
            await self._load.ask(
                "prepare", "prepared", timeout_s=PREPARE_TIMEOUT_S, payments=payments
            )
        self._accounting.mark("idle")
        await self._pause(IDLE_S)
        self._accounting.mark("load")
        start_s = time.monotonic()
        tps = self._options.payments_per_second
        profile = Profile(tps, tps, None if seconds is None else float(seconds - DRAIN_S))
        self._load.command("start", profile=profile)
        harm = asyncio.create_task(self._harm())
        try:
            await self._show_until(None if seconds is None else start_s + seconds)
            if seconds is not None and not self._stopping.is_set():
                await harm
        finally:
            harm.cancel()
            with suppress(asyncio.CancelledError):
                await harm
        self._run_s = time.monotonic() - start_s

    async def _show_until(self, end_s: float | None) -> None:
        """Show how it goes until the time is over or a signal came."""
        seen: list[tuple[float, int]] = []
        begin_s = time.monotonic()
        while not self._stopping.is_set() and (end_s is None or time.monotonic() < end_s):
            now_s = time.monotonic()
            seen.append((now_s, self._load.latest.get("final", 0)))
            seen = [row for row in seen if row[0] >= now_s - 3.0]
            span_s = now_s - seen[0][0]
            running = sum(node.is_running for node in self._nodes)
            self._screen.show(
                describe_progress(
                    self._load.latest,
                    elapsed_s=now_s - begin_s,
                    rate=(seen[-1][1] - seen[0][1]) / span_s if span_s else 0.0,
                    running=running,
                    nodes=len(self._nodes),
                )
            )
            await self._pause(POLL_S)

    async def _harm(self) -> None:
        """Kill or stop nodes as planned."""
        options = self._options
        try:
            if options.kill_every_s:
                seconds = None if options.seconds is None else float(options.seconds - KILLS_END_S)
                await self._killer.run(every_s=options.kill_every_s, seconds=seconds)
            elif options.stop_nodes and options.seconds:
                await self._stop_for_a_while(options.stop_nodes, options.seconds / 3)
        except NodeFailed as fault:
            self._faults.append(str(fault))
            self._stopping.set()

    async def _stop_for_a_while(self, count: int, third_s: float) -> None:
        """Stop nodes for the middle third; note whether the others are a quorum meanwhile."""
        start_s = time.monotonic()
        await asyncio.sleep(third_s)
        chosen = self._dice.sample(self._nodes, count)
        names = ", ".join(str(node.index) for node in chosen)
        self._faults += await stop_nodes(chosen)
        members = self._devnet.genesis.members
        committee = genesis_committee(self._devnet.genesis)
        left = committee.weight_of_ids(
            make_member_id(members[node.index].voting_key)
            for node in self._nodes
            if node not in chosen
        )
        is_quorum = left >= committee.quorum
        if not is_quorum:
            self._load.command("lose_quorum")
        self._readiness = await asyncio.to_thread(self._ask_readiness, chosen)
        state = "a quorum remains" if is_quorum else "no quorum remains"
        self._screen.say(f"stopped node {names}: {state} ({left} of {committee.total_weight})")
        await asyncio.sleep(max(0.0, start_s + 2 * third_s - time.monotonic()))
        self._load.command("regain_quorum")
        await start_nodes(chosen)
        self._screen.say(f"started node {names} again")

    def _ask_readiness(self, stopped: Sequence[NodeProcess]) -> dict[str, Any]:
        """Return what a node that still runs answers to a load balancer's probe."""
        node = next(node for node in self._nodes if node not in stopped)
        rpc = self._devnet.ports[node.index].rpc
        with SyncRpcClient(HOST, rpc, node.directory / COOKIE_FILE) as client:
            status, body = client.get("/readyz")
        reasons = msgspec.json.decode(body)["reasons"]
        return {"status": status, "reasons": [reason["code"] for reason in reasons]}

    async def _settle(self) -> dict[str, Any]:
        """Let everything become final and the nodes level; return the load's report."""
        self._load.command("drain")
        self._screen.show("waiting until every payment is final")
        await self._bring_back()
        await self._wait_until(self._is_settled, SETTLE_TIMEOUT_S)
        self._accounting.mark("drained")
        await self._wait_until(self._is_level, LEVEL_TIMEOUT_S)
        return await self._load.ask("report", "report", timeout_s=REPORT_TIMEOUT_S)

    async def _bring_back(self) -> None:
        """Start the nodes that do not run, so that all can be compared in the end."""
        for node in [node for node in self._nodes if not node.is_running]:
            try:
                await start_nodes([node])
            except NodeFailed as fault:
                self._faults.append(str(fault))

    def _is_settled(self) -> bool:
        latest = self._load.latest
        # News from before the drain knows nothing of what was sent since.
        return bool(latest["draining"] and latest["under_way"] == 0 and latest["unresolved"] == 0)

    def _is_level(self) -> bool:
        heights = self._load.latest["heights"]
        return self._are_all_up() and max(heights) - min(heights) <= 1

    def _conclude(
        self, first: FirstPayment, report: dict[str, Any], unorderly: list[str]
    ) -> dict[str, Any]:
        options = self._options
        # The watch and the harm may both have met the same fault.
        faults = list(dict.fromkeys(self._faults + unorderly + report.pop("alarms")))
        conflicts = report.pop("conflicts")
        without_quorum = report.pop("final_without_quorum")
        facts = {
            "nodes": len(self._nodes),
            "weights": [member.weight for member in self._devnet.genesis.members],
            "seconds": round(self._run_s, 1),
            "load_tps": options.payments_per_second,
            **report,
            "first_final_ms": round(first.ms, 1),
            "shutdown": "failed" if unorderly else "orderly",
            "seed": self._seed,
            "verify_backend": ", ".join(dict.fromkeys(node.verify_backend for node in self._nodes)),
            **self._accounting.describe(payments=report["final"]),
            "final_without_quorum": without_quorum,
            "faults": faults,
        }
        if options.kill_every_s:
            facts["kills"] = self._killer.kills
        if options.stop_nodes:
            facts["readyz_meanwhile"] = self._readiness
        if options.double_spend:
            facts["conflicts"] = conflicts
        return facts

    async def _watch(self) -> None:
        """Sample what the nodes use, and notice when a process ends that should not."""
        while True:
            self._accounting.sample()
            for node in self._nodes:
                if node.is_wanted and not node.is_running:
                    self._note_exit(node)
            if self._load.has_ended:
                self._stopping.set()
            await asyncio.sleep(SAMPLE_S)

    def _note_exit(self, node: NodeProcess) -> None:
        """Tell people; an orderly exit was somebody else's wish, any other is a fault."""
        node.is_wanted = False
        self._screen.say(node.describe_exit())
        if node.exit_code != 0:
            self._faults.append(node.describe_exit())

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when a signal comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s or self._load.has_ended:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _end_all(self) -> None:
        """End whatever still runs: in order where that works, by force where it does not."""
        await stop_nodes(self._nodes)
        await self._load.end()
        self._screen.close()
