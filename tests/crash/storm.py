"""A devnet of real processes under harm: the conductor's load and judge, our own cycles of crashes.

After every cycle the nodes that were down must be level within `CATCH_UP_S_MAX`, and what a node
had told as final must be final on it again. At the end the judge replays all that is left.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from crash import armed_program
from crash.armed_program import EXIT_CRASHED
from lockstep.client.sync_client import SyncRpcClient
from lockstep.devnet.conductor import Conductor
from lockstep.devnet.faults import UP_TIMEOUT_S
from lockstep.devnet.founding import Devnet, open_devnet
from lockstep.devnet.options import DevnetOptions
from lockstep.devnet.ports import HOST
from lockstep.devnet.process import NodeProcess
from lockstep.devnet.report import check_promises
from lockstep.devnet.run import _add_verdict
from lockstep.devnet.screen import Screen
from lockstep.errors import LockstepError
from lockstep.node.config import COOKIE_FILE

CATCH_UP_S_MAX = 20.0
CRASH_S_MAX = 30.0
FINALS_ASKED = 15
POLL_S = 0.05
SEED_VARIABLE = "LOCKSTEP_CRASH_SEED"


class ArmedNode(NodeProcess):
    """A node that can be told to crash at a named point."""

    @property
    def switch(self) -> Path:
        """Return the file that says where to crash."""
        return self.directory / "crash"

    def _program(self) -> list[str]:
        return [sys.executable, "-P", armed_program.__file__, str(self.switch)]

    def arm(self, site: str, times: int) -> None:
        """Let the process end when the point is reached so many times."""
        self.is_wanted = False
        fresh = self.directory / "crash.new"
        fresh.write_text(f"{site} {times}")
        fresh.rename(self.switch)

    async def wait_crash(self) -> None:
        """Wait until it has ended at its point."""
        aim = self.switch.read_text()
        code = await self.wait_exit(timeout_s=CRASH_S_MAX)
        assert code == EXIT_CRASHED, f"{aim}: exit code {code}: {self.last_words()}"
        self.switch.unlink()


class Storm:
    """One run; `harm` is awaited once payments flow, and the run ends in order after it.

    Attributes:
        cycles: Crashes that were recovered from.
        slowest_s: The longest a node took from its start to being level.
        finals_asked: How often a final payment was asked for again.
    """

    def __init__(self, directory: Path, *, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.kills = 0
        self.cycles = 0
        self.slowest_s = 0.0
        self.finals_asked = 0
        self._options = DevnetOptions(
            directory=directory,
            nodes=4,
            block_ms=150,
            closing_every=4,
            load_tps=20,
            kill_every_s=1,
            seed=seed,
        )
        self._stack = ExitStack()
        self._devnet: Devnet = self._stack.enter_context(open_devnet(directory, self._options))
        self._conductor = Conductor(self._devnet, self._options, Screen())
        self.nodes = [
            ArmedNode(
                index,
                self._devnet.place.node_directory(index),
                self._devnet.place.evidence_directory / f"node{index}.received",
            )
            for index in range(len(self._devnet.ports))
        ]
        self._conductor._nodes[:] = self.nodes
        self._conductor._killer = self  # type: ignore[assignment]  # It takes the killer's place.
        self._harm: Callable[[], Awaitable[None]] | None = None

    def run_under(self, harm: Callable[[], Awaitable[None]]) -> dict[str, Any]:
        """Run the network under this harm; return its facts, with the promises it broke."""
        self._harm = harm
        loop = uvloop.new_event_loop
        with self._stack, asyncio.Runner(loop_factory=loop) as runner:
            facts = runner.run(self._conductor.run())
        _add_verdict(facts, self._devnet)
        facts["broken"] = [row.sentence for row in check_promises(facts) if not row.is_kept]
        return facts

    async def run(self, *, every_s: int, seconds: float | None) -> None:
        """Do the harm; called by the conductor in the killer's place."""
        assert self._harm is not None
        try:
            await self._harm()
        finally:
            self._conductor._stopping.set()

    async def start(self, nodes: Sequence[ArmedNode]) -> None:
        """Start nodes and wait until they are level and say what they had said."""
        goal = max([0, *self._conductor._load.latest.get("heights", [])])
        started = time.monotonic()
        for node in nodes:
            await node.start()
        for node in nodes:
            await node.wait_up(timeout_s=UP_TIMEOUT_S)
        for node in nodes:
            await self._wait_level(node, goal, started)
        for node in nodes:
            await asyncio.to_thread(self._ask_finals, node)
        self.cycles += len(nodes)

    async def crash(self, node: ArmedNode, site: str, moment: str) -> None:
        """Let a node crash at a point of its start, work, flush or stop; it stays down."""
        if moment == "start":
            await self.kill([node])
            node.arm(site, 1)
            await node.start()
            node.is_wanted = False
        else:
            # A flush comes every few seconds, so the first one has to do.
            node.arm(site, self.dice.randrange(1, 4) if moment == "work" else 1)
            if moment == "stop":
                node.terminate()
        await node.wait_crash()

    async def kill(self, nodes: Sequence[ArmedNode]) -> None:
        """End processes as a crash would."""
        for node in nodes:
            node.kill()
        for node in nodes:
            await node.wait_exit()
        self.kills += len(nodes)

    def describe(self, facts: dict[str, Any]) -> str:
        """Return the run's counters in one line."""
        return (
            f"cycles={self.cycles} kills={self.kills} slowest={self.slowest_s:.1f} s"
            f" finals asked={self.finals_asked} payments={facts['final']}"
            f" height={facts['height']['max']} closings={facts['closing_blocks']}"
        )

    async def _wait_level(self, node: ArmedNode, goal: int, started: float) -> None:
        seen: object = None
        while time.monotonic() < started + CATCH_UP_S_MAX:
            height, seen = await asyncio.to_thread(self._probe, node)
            if height >= goal and seen == []:
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                return
            await asyncio.sleep(POLL_S)
        raise AssertionError(f"node {node.index} is not level after {CATCH_UP_S_MAX} s: {seen}")

    def _probe(self, node: ArmedNode) -> tuple[int, object]:
        """Return a node's height and why it is not ready."""
        try:
            with self.client(node) as client:
                reasons = msgspec.json.decode(client.get("/readyz")[1])["reasons"]
                return client.call("getblockcount"), [reason["code"] for reason in reasons]
        except LockstepError as fault:
            return -1, str(fault)

    def _ask_finals(self, node: ArmedNode) -> None:
        """Ask for the last payments this node told as final, and some of all earlier ones."""
        notices = self._devnet.place.evidence_directory / f"node{node.index}.notices"
        told: list[str] = []
        for line in notices.read_bytes().split(b"\n")[:-1]:
            event = msgspec.json.decode(line)
            if event["event"] == "final":
                told += event["txids"]
        earlier, latest = told[:-FINALS_ASKED], told[-FINALS_ASKED:]
        asked = latest + self.dice.sample(earlier, min(FINALS_ASKED, len(earlier)))
        with self.client(node) as client:
            for txid in asked:
                answer = client.call("gettransactionfinality", txid)
                assert answer["final"], f"node {node.index} no longer holds {txid} for final"
                self.finals_asked += 1

    def client(self, node: ArmedNode) -> SyncRpcClient:
        """Return a client of the node."""
        port = self._devnet.ports[node.index].rpc
        return SyncRpcClient(HOST, port, node.directory / COOKIE_FILE)


def choose_seed() -> int:
    """Return the seed that the environment names, else a new one, and print how to run it again."""
    named = os.environ.get(SEED_VARIABLE)
    seed = random.SystemRandom().getrandbits(32) if named is None else int(named)
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(f"{SEED_VARIABLE}={seed} commit={told.stdout.strip() or 'unknown'}\n")
    return seed
