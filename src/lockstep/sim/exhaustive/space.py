"""Global states of a model: the decided chain and a state of each honest node.

Nothing else is needed. What was sent is what the nodes have said, and can be delivered at any time
and again; what the Byzantine member may say is always there; what a proposer may propose follows
from what was said.
"""

from lockstep.sim.exhaustive.configurations import Configuration
from lockstep.sim.exhaustive.decisions import Decisions
from lockstep.sim.exhaustive.machine import BROKEN, Act, Step
from lockstep.sim.exhaustive.promises import Promises
from lockstep.sim.exhaustive.table import Table
from lockstep.sim.violation import Violation

Chain = tuple[tuple[str, ...], ...]
State = tuple[int, int, int, int]
"""Number of the decided chain, and of the state of each honest node."""


class Move:
    """One step of the whole model: of a node, or a decision (`place` None).

    Attributes:
        nodes: States of the nodes after it, before the table is turned.
        after: The state it leads to, None where it broke a promise; `fault` says which.
    """

    __slots__ = ("act", "after", "fault", "nodes", "place")

    def __init__(
        self, place: int | None, act: Act, nodes: list[int], after: State | None, fault: str
    ) -> None:
        """Say who does what, and what comes of it."""
        self.place = place
        self.act = act
        self.nodes = nodes
        self.after = after
        self.fault = fault


class Space:
    """The states of one configuration and the moves between them.

    Attributes:
        transitions: Moves found so far.
    """

    def __init__(self, configuration: Configuration, *, is_watched: bool = True) -> None:
        """Build the scenario and the first state; see `Setting` for `is_watched`."""
        self.configuration = configuration
        self.table = Table(configuration, is_watched=is_watched)
        self.machines = self.table.machines
        self.lexicon = self.table.lexicon
        self.chains: list[Chain] = [()]
        self.transitions = 0
        self._chain_numbers: dict[Chain, int] = {(): 0}
        self._decisions = Decisions(configuration, self.table)
        self._promises = Promises(
            self.table.scenario,
            self.lexicon,
            configuration.closing_every,
            is_watched=is_watched,
        )
        self._steps: dict[tuple[int, ...], list[Step]] = {}

    @property
    def first(self) -> State:
        """Return the state in which nothing has happened."""
        return (0, 0, 0, 0)

    def moves(self, state: State) -> list[Move]:
        """Return all moves from a state."""
        found: list[Move] = []
        number, *nodes = state
        blocks = self.chains[number]
        facts = [self.machines[place].facts[node] for place, node in enumerate(nodes)]
        can_crash = self.configuration.crashes > sum(seen.crashes for seen in facts)
        said = [seen.said for seen in facts]
        for place, node in enumerate(nodes):
            steps = self._node_steps(place, node, said)
            height = facts[place].height
            if height < len(blocks):
                steps = [*steps, *self.machines[place].act(node, ("block", *blocks[height]))]
            for step in steps:
                if "crash" in step.act and not can_crash:
                    continue
                after = [*nodes]
                after[place] = step.after
                goal = None if step.after == BROKEN else self.canonical(number, after)
                found.append(Move(place, step.act, after, goal, step.fault))
        found.extend(self._decide(number, nodes))
        self.transitions += len(found)
        return found

    def canonical(self, chain: int, nodes: list[int]) -> State:
        """Return the one of the states that differ by who is who."""
        one, two, three = nodes
        if not self.table.is_symmetric:
            return (chain, one, two, three)
        # Seats are counted from the node itself, so turning the table changes no number.
        return (chain, *min((one, two, three), (two, three, one), (three, one, two)))

    def judge(self, state: State) -> str:
        """Return which promise the state breaks, or nothing."""
        if self.configuration.is_outvoted:
            return ""
        number, *nodes = state
        facts = [self.machines[place].facts[node] for place, node in enumerate(nodes)]
        return self._promises.judge(self.chains[number], facts)

    def _node_steps(self, place: int, node: int, said: list[int]) -> list[Step]:
        # The Byzantine member's words are always the same.
        one, two = said[place - 2], said[place - 1]
        key = (0 if self.table.is_symmetric else place, node, one, two)
        found = self._steps.get(key)
        if found is None:
            heard = self.table.heard(place, said)
            found = self._steps[key] = self.machines[place].steps_of(node, heard)
        return found

    def _decide(self, number: int, nodes: list[int]) -> list[Move]:
        """Return the decisions that may come now."""
        blocks = self.chains[number]
        try:
            contents = self._decisions.contents(len(blocks) + 1, nodes)
        except Violation as fault:
            return [Move(None, (), nodes, None, str(fault))]
        return [
            Move(None, names, nodes, self.canonical(self._chain((*blocks, names)), nodes), "")
            for names in contents
        ]

    def _chain(self, blocks: Chain) -> int:
        number = self._chain_numbers.get(blocks)
        if number is None:
            number = self._chain_numbers[blocks] = len(self.chains)
            self.chains.append(blocks)
        return number
