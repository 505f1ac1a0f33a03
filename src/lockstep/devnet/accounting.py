"""What the node processes use, by the system's own accounting of them in /proc.

Processor time is user and system time of each node process, over its restarts. The part that a
network without payments needs is measured before the load starts and taken off, in proportion to
the time.
"""

import time
from collections.abc import Sequence
from typing import Any

from lockstep.devnet.process import NodeProcess


class Accounting:
    """Processor time and memory of all nodes of one run."""

    def __init__(self, nodes: Sequence[NodeProcess]) -> None:
        """Count what these processes use."""
        self._nodes = nodes
        self._marks: dict[str, tuple[float, int]] = {}

    def sample(self) -> None:
        """Read the accounting of every process now."""
        for node in self._nodes:
            node.sample()

    def mark(self, name: str) -> None:
        """Note what was used until now under a name."""
        self.sample()
        total = sum(node.usage.cpu_us_total for node in self._nodes)
        self._marks[name] = (time.monotonic(), total)

    def describe(self, *, payments: int) -> dict[str, Any]:
        """Return processor time a payment and node, the idle share of a core, and peak memory.

        Needs the marks idle, load and drained; what cannot be told is null.
        """
        count = len(self._nodes)
        rss_bytes = [node.usage.rss_bytes_max for node in self._nodes]
        answer: dict[str, Any] = {
            "cpu_us_per_tx_node": None,
            "cpu_us_per_tx_node_gross": None,
            "idle_cpu_percent": None,
            "rss_mb": {"max": round(max(rss_bytes) / 2**20, 1) if max(rss_bytes) else None},
        }
        if any(name not in self._marks for name in ("idle", "load", "drained")):
            return answer
        idle_s, idle_us = self._between("idle", "load")
        load_s, load_us = self._between("load", "drained")
        answer["idle_cpu_percent"] = round(idle_us / count / idle_s / 10_000, 2)
        if payments and load_us:
            net_us = max(0.0, load_us - idle_us * load_s / idle_s)
            answer["cpu_us_per_tx_node"] = round(net_us / payments / count, 1)
            answer["cpu_us_per_tx_node_gross"] = round(load_us / payments / count, 1)
        return answer

    def _between(self, first: str, second: str) -> tuple[float, int]:
        (start_s, start_us), (end_s, end_us) = self._marks[first], self._marks[second]
        return max(1e-9, end_s - start_s), end_us - start_us
