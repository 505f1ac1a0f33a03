"""Which members of a world are masked, and which masks they wear."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from lockstep.crypto.keys import Signer
from lockstep.errors import Misuse
from lockstep.sim.clock import Clock
from lockstep.sim.masks.cabal import Cabal
from lockstep.sim.masks.double_freeze import DoubleFreeze
from lockstep.sim.masks.double_proposer import DoubleProposer
from lockstep.sim.masks.double_voter import DoubleVoter
from lockstep.sim.masks.false_evidence import FalseEvidence
from lockstep.sim.masks.garbage import Garbage
from lockstep.sim.masks.half_votes import HalfVotes
from lockstep.sim.masks.invalid_blocks import InvalidBlocks
from lockstep.sim.masks.lying_sync import LyingSync
from lockstep.sim.masks.mask import Mask, Stage
from lockstep.sim.masks.masked_host import TWIN, MaskedHost, Witness
from lockstep.sim.masks.mute import Mute
from lockstep.sim.masks.stale_words import StaleWords
from lockstep.sim.masks.unknown_batches import UnknownBatches
from lockstep.sim.masks.withheld_certificates import WithheldCertificates
from lockstep.sim.masks.withheld_votes import WithheldVotes
from lockstep.sim.masks.wrong_place import WrongPlace
from lockstep.sim.options import Options
from lockstep.sim.surroundings import Surroundings

# In the order in which they bend a word: makers of words first, those that swallow them last.
MASKS: Final[dict[str, Callable[[Stage], Mask]]] = {
    kind.name: kind
    for kind in (
        InvalidBlocks,
        DoubleProposer,
        DoubleVoter,
        DoubleFreeze,
        StaleWords,
        WrongPlace,
        Garbage,
        FalseEvidence,
        LyingSync,
        UnknownBatches,
        WithheldVotes,
        WithheldCertificates,
        HalfVotes,
        Mute,
    )
}
"""Every mask but the twin, by name."""
NAMES: Final = (TWIN, *MASKS)
WORN_MAX: Final = 4
TWIN_PERCENT: Final = 50


class Cast:
    """The masked members of one world.

    Attributes:
        masked: Their indices.
        hosts: Their computers, once made.
    """

    def __init__(self, options: Options, dice: Random, clock: Clock) -> None:
        """Draw who is masked."""
        self.masked = choose_masked(options, dice)
        self.hosts: list[MaskedHost] = []
        self._options = options
        self._dice = dice
        honest = [index for index in range(len(options.weights)) if index not in self.masked]
        self._cabal = Cabal(honest=honest, masked=self.masked, dice=dice, clock=clock)

    def add_host(
        self,
        index: int,
        surroundings: Surroundings,
        *,
        signer: Signer,
        member_id: bytes,
        commit_times_ms: Sequence[int],
        skew_ms: int,
        witness: Witness,
    ) -> MaskedHost:
        """Make the computer of a masked member, with its masks on."""
        host = MaskedHost(
            index,
            surroundings,
            signer=signer,
            member_id=member_id,
            commit_times_ms=commit_times_ms,
            skew_ms=skew_ms,
            cabal=self._cabal,
            witness=witness,
        )
        worn = self._options.masks or self._draw_masks()
        unknown = [name for name in worn if name not in NAMES]
        if unknown:
            raise Misuse(f"there is no mask {unknown[0]!r}; known: {', '.join(NAMES)}")
        if TWIN in worn:
            host.add_twin()
        host.masks = [make(host.stage) for name, make in MASKS.items() if name in worn]
        self.hosts.append(host)
        return host

    def start(self) -> None:
        """Let the cabal begin."""
        if self.masked:
            self._cabal.start()

    def count(self) -> dict[str, int]:
        """Return how many members are masked, and how often each mask did something."""
        counters = {"masked": len(self.masked), "lies": 0, "falls": 0}
        for host in self.hosts:
            counters["falls"] += host.falls_of_all
            for name, count in host.stage.work.items():
                counters["lies"] += count
                counters[f"mask_{name}"] = counters.get(f"mask_{name}", 0) + count
        return counters

    def _draw_masks(self) -> list[str]:
        """Draw masks for one member; beyond a third of the weight all are twins [R2]."""
        if not is_bearable(self._options, self.masked):
            return [TWIN]
        worn = self._dice.sample(list(MASKS), self._dice.randint(1, WORN_MAX))
        return [*worn, TWIN] if self._dice.randrange(100) < TWIN_PERCENT else worn


def is_bearable(options: Options, masked: Sequence[int]) -> bool:
    """Tell whether these members hold less than a third of the weight [M1]."""
    return 3 * sum(options.weights[index] for index in masked) < sum(options.weights)


def choose_masked(options: Options, dice: Random) -> list[int]:
    """Draw who is masked: less than a third of the weight, unless more were asked for than fit."""
    count = options.byzantine
    order = list(range(len(options.weights)))
    dice.shuffle(order)
    if 3 * count >= len(order):
        return sorted(order[:count])
    lightest = sorted(order, key=lambda index: options.weights[index])
    chosen: list[int] = []
    for index in order:
        rest = [other for other in lightest if other not in (*chosen, index)]
        needed = count - len(chosen) - 1
        if len(chosen) < count and is_bearable(options, [*chosen, index, *rest[:needed]]):
            chosen.append(index)
    return sorted(chosen)
