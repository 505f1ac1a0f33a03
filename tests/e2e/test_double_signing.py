"""Real processes whose journals are lost, old, or not the only one of their key [D3].

A network under load goes on with three of four nodes; the judge reads at the end whether any key
signed two words. Run again with the seed printed: `LOCKSTEP_CRASH_SEED=N`.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from crash.storm import ArmedNode, Storm, choose_seed
from lockstep.client.sync_client import SyncRpcClient
from lockstep.devnet.faults import UP_TIMEOUT_S
from lockstep.node.config import COOKIE_FILE, RUNTIME_FILE, SETTINGS_FILE
from lockstep.storage.directory import CHAIN_DIRECTORY

pytestmark = pytest.mark.alone

VOTES_AGAIN_S_MAX = 1.0
SILENCE_S_MAX = 30.0
WORK_S = 3.0


class Patient:
    """One node of a storm whose disk is tampered with while the others go on."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.node: ArmedNode = storm.nodes[3]
        self.chain: Path = self.node.directory / CHAIN_DIRECTORY
        self.seen: list[str] = []

    async def stop(self) -> None:
        await self.storm.kill([self.node])

    async def start(self) -> None:
        await self.node.start()
        await self.node.wait_up(timeout_s=UP_TIMEOUT_S)

    async def wait_voting(self, *, within_s: float) -> float:
        """Wait until the node votes, noting the states before; return how long it took."""
        started = time.monotonic()
        while (state := (await self.ask())["state"]) != "voting":
            if state not in self.seen:
                self.seen.append(state)
            assert time.monotonic() < started + within_s, state
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def ask(self) -> Any:
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> Any:
        with self.storm.client(self.node) as client:
            return client.call("masternodestatus")


def run(directory: Path, harm: Callable[[Patient], Awaitable[None]], *, alarms: int) -> None:
    """Run the harm; the judge finds so many alarms of amnesia, and nothing else."""
    storm = Storm(directory / "net", seed=choose_seed())
    facts = storm.run_under(lambda: harm(Patient(storm)))
    assert facts["double_signs"] == 0
    assert all("(amnesia.found)" in sentence for sentence in facts["broken"]), facts["broken"]
    assert len(facts["broken"]) == alarms


def test_a_killed_node_votes_again_as_soon_as_it_is_up(tmp_path: Path) -> None:
    """It asks, and that is hardly noticed; so do all four at once."""

    async def harm(patient: Patient) -> None:
        for _ in range(4):
            await asyncio.sleep(WORK_S / 4)
            await patient.stop()
            await patient.start()
            waits_s.append(await patient.wait_voting(within_s=SILENCE_S_MAX))
        await patient.storm.kill(patient.storm.nodes)
        await patient.storm.start(patient.storm.nodes)
        waits_s.append(await patient.wait_voting(within_s=SILENCE_S_MAX))
        assert "amnesia" not in patient.seen

    waits_s: list[float] = []
    run(tmp_path, harm, alarms=0)
    # The usual wait is asked for: a machine at its limits may hold up one of them.
    assert median(waits_s) < VOTES_AGAIN_S_MAX, waits_s


def test_an_old_backup_and_a_lost_journal_are_silent_for_some_epochs(tmp_path: Path) -> None:
    async def harm(patient: Patient) -> None:
        backup = tmp_path / "backup"
        await asyncio.sleep(WORK_S)
        await patient.stop()
        shutil.copytree(patient.chain, backup)
        await patient.start()
        await patient.wait_voting(within_s=SILENCE_S_MAX)
        await asyncio.sleep(WORK_S)
        for journal in (backup, None):
            await patient.stop()
            shutil.rmtree(patient.chain)
            if journal is not None:
                shutil.copytree(journal, patient.chain)
            patient.seen.clear()
            await patient.start()
            await patient.wait_voting(within_s=SILENCE_S_MAX)
            assert "amnesia" in patient.seen

    run(tmp_path, harm, alarms=1)


def test_a_second_machine_with_the_key_signs_nothing(tmp_path: Path) -> None:
    """Its journal is a copy: what the first has signed since, the others know."""
    twin = tmp_path / "twin"

    async def harm(patient: Patient) -> None:
        await asyncio.sleep(WORK_S)
        await patient.stop()
        shutil.copytree(patient.node.directory, twin)
        await patient.start()
        await patient.wait_voting(within_s=SILENCE_S_MAX)
        await asyncio.sleep(WORK_S)
        states = await asyncio.to_thread(run_beside, twin)
        assert "voting" not in states
        assert "amnesia" in states
        # The twin took the connections of the first, who gets them back and catches up.
        await asyncio.sleep(WORK_S)

    run(tmp_path, harm, alarms=0)


def run_beside(directory: Path) -> list[str]:
    """Run a node on ports of its own; return its states up to amnesia or a vote."""
    settings = directory / SETTINGS_FILE
    settings.write_text(re.sub(r'(_listen = ".*?:)\d+', r"\g<1>0", settings.read_text()))
    # What the killed process said of itself.
    (directory / RUNTIME_FILE).unlink()
    process = subprocess.Popen([sys.executable, "-m", "lockstep", "node", "--dir", str(directory)])
    try:
        return watch(directory)
    finally:
        process.kill()
        process.wait()


def watch(directory: Path) -> list[str]:
    """Return the states of a starting node, one after the other, up to amnesia or a vote."""
    states: list[str] = []
    end = time.monotonic() + SILENCE_S_MAX
    while not {"amnesia", "voting"} & set(states):
        assert time.monotonic() < end, states
        time.sleep(0.05)
        if not (directory / RUNTIME_FILE).exists():
            continue
        port = json.loads((directory / RUNTIME_FILE).read_text())["rpc"]
        with SyncRpcClient("127.0.0.1", port, directory / COOKIE_FILE) as client:
            states.append(client.call("masternodestatus")["state"])
    return states
