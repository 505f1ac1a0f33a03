"""Faults of a run, planned from its dice; each kind has dice of its own.

Crashes with restarts, partitions of every kind, nodes that stand still, disks that are stuck, lost
or set back, clocks that jump. All of it ends with the safety phase.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from lockstep.replica.answers import VotingState
from lockstep.sim.clients import Clients
from lockstep.sim.clock import Clock
from lockstep.sim.disk import Disk
from lockstep.sim.host import Host
from lockstep.sim.links import Direction
from lockstep.sim.network import Network
from lockstep.sim.options import Options
from lockstep.sim.tape import WORLD, Tape

FIRST_FAULT_MS: Final = 1_000
PARTITION_NOTICED_MS: Final = 3_000
ONE_WAY_NOTICED_MS: Final = 10_000
RECONNECT_MS: Final = 500
DOWN_MAX_MS: Final = 8_000
PAUSE_MAX_MS: Final = 10_000
STUCK_MAX_MS: Final = 10_000
BACKUP_AGE_MAX_MS: Final = 8_000
CALM_POLL_MS: Final = 250
DAY_MS: Final = 86_400_000


class Faults:
    """Breaks a world until its safety phase ends, then makes it whole.

    Attributes:
        counters: How many there were, by kind.
    """

    def __init__(
        self,
        options: Options,
        make_dice: Callable[[str], Random],
        clock: Clock,
        network: Network,
        hosts: Sequence[Host],
        clients: Clients,
        *,
        masked: Sequence[int] = (),
        tape: Tape,
    ) -> None:
        """Plan nothing yet; `masked` are the indexes of the nodes that lie."""
        self.counters = dict.fromkeys(
            ("crashes", "partitions", "pauses", "wipes", "backups", "clock_jumps", "stuck_disks"),
            0,
        )
        self._options = options
        self._make_dice = make_dice
        self._clock = clock
        self._links = network.links
        self._network = network
        self._hosts = hosts
        self._clients = clients
        self._masked = masked
        self._tape = tape
        self._cut_number = 0
        self._calm_for: Host | None = None

    def plan(self) -> None:
        """Put all faults of the run, and their end, on the clock."""
        options = self._options
        self._plan("crash", options.crashes, self._crash)
        self._plan("partition", options.partitions, self._cut)
        self._plan("pause", options.pauses, self._pause)
        self._plan("stuck disk", options.stuck_disks, self._stick_disk)
        dice = self._make_dice("clock jump")
        wrong = self._draw_minority(dice)
        if wrong:
            self._plan("clock jump", options.clock_jumps, self._jump, wrong, dice=dice)
        dice = self._make_dice("lost disk")
        forgetful = self._draw_forgetful(dice)
        if forgetful is not None:
            self._plan("lost disk", options.wipes, self._wipe, forgetful, dice=dice)
            dice = self._make_dice("backup")
            self._plan("backup", options.backups, self._back_up, forgetful, dice=dice)
        self._clock.at(options.safety_ms, self._end)

    def _plan(
        self,
        kind: str,
        count: int,
        action: Callable[..., None],
        *arguments: object,
        dice: Random | None = None,
    ) -> None:
        dice = dice or self._make_dice(kind)
        for _ in range(count):
            time_ms = dice.randint(FIRST_FAULT_MS, self._options.safety_ms - 1)
            self._clock.at(time_ms, self._strike, action, dice, *arguments)

    def _strike(self, action: Callable[..., None], dice: Random, *arguments: object) -> None:
        """Let a fault happen, or later while the others must forget nothing."""
        if self._clock.now_ms >= self._options.safety_ms:
            return
        if self._calm_for is None:
            action(dice, *arguments)
        else:
            self._clock.after(CALM_POLL_MS, self._strike, action, dice, *arguments)

    def _crash(self, dice: Random) -> None:
        running = [host for host in self._hosts if host.is_up]
        if running:
            self.counters["crashes"] += 1
            self._stop(dice.choice(running), dice)

    def _stop(self, host: Host, dice: Random) -> None:
        """Crash a node and plan its restart."""
        if host.is_up:
            host.crash(is_flushed=dice.random() < 0.5)
            self._clients.on_crash(host.index)
        self._clock.after(dice.randint(100, DOWN_MAX_MS), self._restart, host)

    def _restart(self, host: Host) -> None:
        if not host.is_up:
            host.start()
            self._network.reach_out(host.index, within_ms=RECONNECT_MS)

    def _pause(self, dice: Random) -> None:
        awake = [host for host in self._hosts if host.is_up and not host.is_paused]
        if awake:
            self.counters["pauses"] += 1
            host = dice.choice(awake)
            longest_ms = dice.choice((300, 3_000, PAUSE_MAX_MS))
            self._clock.after(dice.randint(50, longest_ms), host.resume, host.pause())

    def _stick_disk(self, dice: Random) -> None:
        self.counters["stuck_disks"] += 1
        host = dice.choice(self._hosts)
        host.stick_disk(dice.randint(500, STUCK_MAX_MS))

    def _jump(self, dice: Random, wrong: Sequence[Host]) -> None:
        """Set a clock a day, an hour or some seconds forward or back."""
        self.counters["clock_jumps"] += 1
        longest_ms = dice.choice((DAY_MS, 3_600_000, 60_000, 5_000))
        distance_ms = dice.choice((longest_ms, dice.randint(1, longest_ms)))
        dice.choice(wrong).move_clock(distance_ms * dice.choice((-1, -1, 1)))

    def _draw_minority(self, dice: Random) -> list[Host]:
        """Return nodes of less than a third of the weight: only their clocks may be far off."""
        weights = self._options.weights
        order = list(self._hosts)
        dice.shuffle(order)
        chosen: list[Host] = []
        for host in order:
            if 3 * sum(weights[h.index] for h in [*chosen, host]) < sum(weights):
                chosen.append(host)
        return chosen

    def _draw_forgetful(self, dice: Random) -> Host | None:
        """Return the one node that may lose its journal, if the others can go on without it.

        It is silent until a later epoch [D3], and with whoever lies it must stay below a third of
        the weight: where less than a quorum speaks no epoch ends, and it would be silent for ever.
        """
        weights = self._options.weights
        lying = sum(weights[index] for index in self._masked)
        candidates = [
            host
            for host in self._hosts
            if host.index not in self._masked and 3 * (weights[host.index] + lying) < sum(weights)
        ]
        return dice.choice(candidates) if candidates else None

    def _wipe(self, dice: Random, host: Host) -> None:
        """Let a node lose its disk, and come back with its key alone."""
        self.counters["wipes"] += 1
        self._stop(host, dice)
        host.replace_disk(None)
        self._clients.on_disk_lost(host.index)

    def _back_up(self, dice: Random, host: Host) -> None:
        """Copy a node's disk, and set the node back to the copy later.

        What only nodes saw that forgot it or do not answer stays undetected [D3]. So all run, links
        are whole and no other fault strikes from the copy until the node may sign again.
        """
        if not all(other.is_up and not other.is_paused for other in self._hosts):
            self._clock.after(CALM_POLL_MS, self._strike, self._back_up, dice, host)
            return
        self._calm_for = host
        self._cut_number += 1
        self._links.is_faulty = False
        self._network.heal(within_ms=RECONNECT_MS)
        last_ms = self._options.safety_ms - self._clock.now_ms - 1
        age_ms = min(dice.randint(500, BACKUP_AGE_MAX_MS), last_ms)
        self._clock.after(age_ms, self._set_back, dice, host, host.disk.copy())

    def _set_back(self, dice: Random, host: Host, copy: Disk) -> None:
        self.counters["backups"] += 1
        self._stop(host, dice)
        host.replace_disk(copy)
        self._clients.on_disk_lost(host.index)
        self._clock.after(CALM_POLL_MS, self._end_calm)

    def _end_calm(self) -> None:
        """Go on with the faults when the node that was set back may sign, or begins to wait."""
        host = self._calm_for
        if host is None:
            return
        if host.replica is None or host.replica.view.voting().state is VotingState.ASKING:
            self._clock.after(CALM_POLL_MS, self._end_calm)
        else:
            self._calm_for = None
            self._links.is_faulty = self._clock.now_ms < self._options.safety_ms

    def _cut(self, dice: Random) -> None:
        self.counters["partitions"] += 1
        self._cut_number += 1
        directions, noticed_ms = self._draw_cut(dice)
        self._tell("cut " + " ".join(f"{sender}>{receiver}" for sender, receiver in directions))
        self._links.unblock()
        self._network.heal(within_ms=RECONNECT_MS)
        self._network.cut(directions, noticed_ms=noticed_ms)
        self._clock.after(dice.randint(500, 12_000), self._heal, self._cut_number)

    def _draw_cut(self, dice: Random) -> tuple[list[Direction], int]:
        """Return the directions to block, and how long it takes until they are noticed."""
        count = len(self._hosts)
        order = list(range(count))
        dice.shuffle(order)
        kind = dice.choice(("split", "isolate", "one way"))
        if kind == "one way":
            pairs = [(a, b) for a in range(count) for b in range(count) if a != b]
            return dice.sample(pairs, dice.randint(1, count)), ONE_WAY_NOTICED_MS
        size = 1 if kind == "isolate" else dice.randint(1, count - 1)
        inside, outside = order[:size], order[size:]
        both = [(a, b) for a in inside for b in outside]
        return both + [(b, a) for a, b in both], PARTITION_NOTICED_MS

    def _heal(self, number: int) -> None:
        if number == self._cut_number:
            self._tell("heal")
            self._network.heal(within_ms=RECONNECT_MS)

    def _end(self) -> None:
        """End all faults: links are whole, every node runs."""
        self._tell("end of faults")
        self._links.is_faulty = False
        for host in self._hosts:
            host.resume()
            self._restart(host)
        self._network.heal(within_ms=RECONNECT_MS)

    def _tell(self, text: str) -> None:
        self._tape.note(self._clock.now_ms, WORLD, text)
