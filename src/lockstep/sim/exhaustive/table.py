"""Who sits where in a model: the machines of the honest members, and what each calls the others.

Where honest members weigh the same, one machine serves all three: each sits at seat 0 of its own
table and counts the others on from there, so that states which differ by turning the table are one.
"""

from collections.abc import Sequence

from lockstep.sim.exhaustive.configurations import Configuration
from lockstep.sim.exhaustive.machine import Machine
from lockstep.sim.exhaustive.node import Setting
from lockstep.sim.exhaustive.scenario import BYZANTINE, HONEST, Scenario
from lockstep.sim.exhaustive.words import Kind, Lexicon, Word


class Table:
    """The members of a configuration.

    Attributes:
        machines: Of each honest member, by place.
        is_symmetric: Whether the honest members weigh the same.
    """

    def __init__(self, configuration: Configuration, *, is_watched: bool) -> None:
        """Make the scenario and the machines; see `Setting` for `is_watched`."""
        scenario = self.scenario = Scenario(
            configuration.weights, configuration.payments, configuration.closing_every
        )
        lexicon = self.lexicon = Lexicon(scenario)
        self.is_symmetric = len(set(configuration.weights[:HONEST])) == 1
        machines = [
            Machine(
                Setting(
                    scenario,
                    lexicon,
                    seat,
                    is_outvoted=configuration.is_outvoted,
                    is_exact=configuration.each,
                    is_watched=is_watched,
                ),
                each=configuration.each,
                crashes=min(1, configuration.crashes),
            )
            for seat in range(1 if self.is_symmetric else HONEST)
        ]
        self.machines = machines * HONEST if self.is_symmetric else machines
        self._byzantine = self._make_byzantine(configuration)

    def seat(self, place: int, member: int) -> int:
        """Return the seat under which the node at `place` knows a member."""
        if member == BYZANTINE or not self.is_symmetric:
            return member
        return (member - place) % HONEST

    def heard(self, place: int, said: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Return (seat, mask of words) of all whom the node at `place` may hear."""
        others = [(self.seat(place, other), said[other]) for other in range(HONEST)]
        del others[place]
        return (*sorted(others), (BYZANTINE, self._byzantine))

    def _make_byzantine(self, configuration: Configuration) -> int:
        """Return all that the Byzantine member may say: anything, in every epoch.

        It says each payment by itself, and all of them in one message.
        """
        names = self.scenario.names
        groups = dict.fromkeys([*((name,) for name in names), names])
        epochs = range(configuration.heights // configuration.closing_every + 1)
        return self.lexicon.mask(
            Word(kind, epoch, group)
            for epoch in epochs
            for group in groups
            for kind in (Kind.VOTE, Kind.CONFIRM)
        )
