"""What the devnet does to its nodes: kill -9 now and then, or stop some for a while."""

import asyncio
import random
import time
from collections.abc import Sequence

from lockstep.devnet.options import RESTART_AFTER_S
from lockstep.devnet.process import NodeProcess

UP_TIMEOUT_S = 30.0


class Killer:
    """Kills a random node every few seconds and starts it again two seconds later.

    Attributes:
        kills: How many processes were killed.
    """

    def __init__(self, nodes: Sequence[NodeProcess], dice: random.Random) -> None:
        """Choose among `nodes` by `dice`."""
        self.kills = 0
        self._nodes = nodes
        self._dice = dice

    async def run(self, *, every_s: int, seconds: float | None) -> None:
        """Kill until `seconds` are over, for ever where that is None."""
        start_s = time.monotonic()
        turn = 1
        while seconds is None or turn * every_s <= seconds:
            await asyncio.sleep(max(0.0, start_s + turn * every_s - time.monotonic()))
            turn += 1
            if alive := [node for node in self._nodes if node.is_running]:
                await self._kill(self._dice.choice(alive))

    async def _kill(self, node: NodeProcess) -> None:
        node.kill()
        await node.wait_exit()
        self.kills += 1
        await asyncio.sleep(RESTART_AFTER_S)
        await node.start()
        await node.wait_up(timeout_s=UP_TIMEOUT_S)


async def stop_nodes(nodes: Sequence[NodeProcess]) -> list[str]:
    """Stop nodes in order, all at once; return what was not orderly about it, a sentence each."""
    running = [node for node in nodes if node.is_running]
    for node in running:
        node.terminate()
    codes = await asyncio.gather(*(node.wait_exit() for node in running))
    faults = []
    for node, code in zip(running, codes, strict=True):
        if code is None:
            faults.append(f"node {node.index} did not stop in time and was killed")
        elif code != 0:
            faults.append(f"node {node.index} stopped with exit code {code}: {node.last_words()}")
    return faults


async def start_nodes(nodes: Sequence[NodeProcess]) -> None:
    """Start nodes and wait until all are up.

    Raises:
        NodeFailed: If one does not come up.
    """
    for node in nodes:
        await node.start()
    await asyncio.gather(*(node.wait_up(timeout_s=UP_TIMEOUT_S) for node in nodes))
