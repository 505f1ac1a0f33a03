"""Faults of a run, planned from its dice: crashes with restarts, and partitions of every kind."""

from collections.abc import Sequence
from random import Random
from typing import Final

from lockstep.sim.clients import Clients
from lockstep.sim.clock import Clock
from lockstep.sim.host import Host
from lockstep.sim.links import Direction, Links
from lockstep.sim.network import Network
from lockstep.sim.options import Options

FIRST_FAULT_MS: Final = 1_000
PARTITION_NOTICED_MS: Final = 3_000
ONE_WAY_NOTICED_MS: Final = 10_000
RECONNECT_MS: Final = 500


class Faults:
    """Breaks a world until its safety phase ends, then makes it whole.

    Attributes:
        crashes, partitions: How many there were.
    """

    def __init__(
        self,
        options: Options,
        dice: Random,
        clock: Clock,
        links: Links,
        network: Network,
        hosts: Sequence[Host],
        clients: Clients,
    ) -> None:
        """Plan nothing yet."""
        self.crashes = 0
        self.partitions = 0
        self._options = options
        self._dice = dice
        self._clock = clock
        self._links = links
        self._network = network
        self._hosts = hosts
        self._clients = clients
        self._is_over = False
        self._cut_number = 0

    def plan(self) -> None:
        """Put all faults of the run, and their end, on the clock."""
        end_ms = self._options.safety_ms
        for _ in range(self._options.crashes):
            self._clock.at(self._dice.randint(FIRST_FAULT_MS, end_ms), self._crash)
        for _ in range(self._options.partitions):
            self._clock.at(self._dice.randint(FIRST_FAULT_MS, end_ms), self._cut)
        self._clock.at(end_ms, self._end)

    def _crash(self) -> None:
        running = [host for host in self._hosts if host.is_up]
        if self._is_over or not running:
            return
        host = self._dice.choice(running)
        self.crashes += 1
        host.crash(is_flushed=self._dice.random() < 0.5)
        self._clients.on_crash(host.index)
        self._clock.after(self._dice.randint(100, 8_000), self._restart, host)

    def _restart(self, host: Host) -> None:
        if not host.is_up:
            host.start()
            self._network.reach_out(host.index, within_ms=RECONNECT_MS)

    def _cut(self) -> None:
        if self._is_over:
            return
        self.partitions += 1
        self._cut_number += 1
        count = len(self._hosts)
        directions, noticed_ms = self._draw_cut(count)
        self._links.unblock()
        self._network.heal(within_ms=RECONNECT_MS)
        self._network.cut(directions, noticed_ms=noticed_ms)
        self._clock.after(self._dice.randint(500, 12_000), self._heal, self._cut_number)

    def _draw_cut(self, count: int) -> tuple[list[Direction], int]:
        """Return the directions to block, and how long it takes until they are noticed."""
        order = list(range(count))
        self._dice.shuffle(order)
        kind = self._dice.choice(("split", "isolate", "one way"))
        if kind == "one way":
            pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
            return self._dice.sample(pairs, self._dice.randint(1, count)), ONE_WAY_NOTICED_MS
        size = 1 if kind == "isolate" else self._dice.randint(1, count - 1)
        inside, outside = order[:size], order[size:]
        both = [(a, b) for a in inside for b in outside]
        return both + [(b, a) for a, b in both], PARTITION_NOTICED_MS

    def _heal(self, number: int) -> None:
        if number == self._cut_number:
            self._network.heal(within_ms=RECONNECT_MS)

    def _end(self) -> None:
        """End all faults: links are whole, every node runs."""
        self._is_over = True
        self._links.is_faulty = False
        for host in self._hosts:
            self._restart(host)
        self._network.heal(within_ms=RECONNECT_MS)
