"""Global states of a model: the decided chain and a state of each honest node.

Nothing else is needed. What was sent is what the nodes have said, and can be delivered at any time
and again; what the Byzantine member may say is always there; what a proposer may propose follows
from what was said.
"""

from itertools import chain as concatenate
from itertools import permutations, product

from lockstep.replica.height import Verdict
from lockstep.sim.exhaustive.blocks import Listing
from lockstep.sim.exhaustive.configurations import Configuration
from lockstep.sim.exhaustive.machine import BROKEN, Act, Machine, Step
from lockstep.sim.exhaustive.node import Setting
from lockstep.sim.exhaustive.promises import Promises
from lockstep.sim.exhaustive.scenario import BYZANTINE, HONEST, Scenario
from lockstep.sim.exhaustive.words import Kind, Lexicon, Word

Chain = tuple[tuple[str, ...], ...]
State = tuple[int, int, int, int]
"""Number of the decided chain, and of the state of each honest node."""
CLOSING_EVERY = 2


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
        scenario = self.scenario = Scenario(
            configuration.weights, configuration.payments, CLOSING_EVERY
        )
        self.lexicon = Lexicon(scenario)
        self.is_symmetric = len(set(configuration.weights[:HONEST])) == 1
        self.machines = self._make_machines(is_watched=is_watched)
        self.chains: list[Chain] = [()]
        self.transitions = 0
        self._chain_numbers: dict[Chain, int] = {(): 0}
        self._byzantine = self._make_byzantine()
        self._steps: dict[tuple[int, ...], list[Step]] = {}
        self._decisions: dict[tuple[object, ...], list[int]] = {}
        self._promises = Promises(scenario, self.lexicon, CLOSING_EVERY)

    @property
    def first(self) -> State:
        """Return the state in which nothing has happened."""
        return (0, 0, 0, 0)

    def moves(self, state: State) -> list[Move]:
        """Return all moves from a state."""
        found: list[Move] = []
        number, *nodes = state
        blocks = self.chains[number]
        can_crash = self.configuration.crashes > sum(
            self.machines[i].facts[x].crashes for i, x in enumerate(nodes)
        )
        for place, node in enumerate(nodes):
            machine = self.machines[place]
            steps = self._node_steps(place, nodes)
            facts = machine.facts[node]
            if facts.height < len(blocks):
                steps = [*steps, *machine.act(node, ("block", *blocks[facts.height]))]
            for step in steps:
                if "crash" in step.act and not can_crash:
                    continue
                if step.after == BROKEN:
                    found.append(Move(place, step.act, nodes, None, step.fault))
                    continue
                after = [*nodes]
                after[place] = step.after
                found.append(Move(place, step.act, after, self.canonical(number, after), ""))
        for chain in self._decide(number, nodes):
            goal = self.canonical(chain, nodes)
            found.append(Move(None, self.chains[chain][-1], nodes, goal, ""))
        self.transitions += len(found)
        return found

    def canonical(self, chain: int, nodes: list[int]) -> State:
        """Return the one of the states that differ by who is who."""
        one, two, three = nodes
        if not self.is_symmetric:
            return (chain, one, two, three)
        # Seats are counted from the node itself, so turning the table changes no number.
        return (chain, *min((one, two, three), (two, three, one), (three, one, two)))

    def judge(self, state: State) -> str:
        """Return which promise the state breaks, or nothing."""
        number, *nodes = state
        facts = [self.machines[place].facts[node] for place, node in enumerate(nodes)]
        return self._promises.judge(self.chains[number], facts)

    def _make_machines(self, *, is_watched: bool) -> list[Machine]:
        configuration = self.configuration
        settings = [
            Setting(
                self.scenario,
                self.lexicon,
                seat,
                is_outvoted=configuration.is_outvoted,
                is_exact=configuration.each,
                is_watched=is_watched,
            )
            for seat in range(1 if self.is_symmetric else HONEST)
        ]
        machines = [
            Machine(setting, each=configuration.each, crashes=min(1, configuration.crashes))
            for setting in settings
        ]
        return machines * HONEST if self.is_symmetric else machines

    def seat(self, place: int, other: int) -> int:
        """Return the seat under which the node at `place` knows the honest member `other`."""
        return (other - place) % HONEST if self.is_symmetric else other

    def _make_byzantine(self) -> int:
        """Return all that the Byzantine member may say: anything, in every epoch.

        It says each payment by itself, and all of them in one message.
        """
        names = self.scenario.names
        groups = [*((name,) for name in names), names]
        epochs = range(self.configuration.heights // CLOSING_EVERY + 1)
        return self.lexicon.mask(
            Word(kind, epoch, group)
            for epoch in epochs
            for group in groups
            for kind in (Kind.VOTE, Kind.CONFIRM)
        )

    def _node_steps(self, place: int, nodes: list[int]) -> list[Step]:
        heard = [
            (self.seat(place, other), self.machines[other].facts[node].said)
            for other, node in enumerate(nodes)
            if other != place
        ]
        heard.sort()
        key = (place if not self.is_symmetric else 0, nodes[place], heard[0][1], heard[1][1])
        found = self._steps.get(key)
        if found is None:
            heard.append((BYZANTINE, self._byzantine))
            found = self._steps[key] = self.machines[place].steps_of(nodes[place], tuple(heard))
        return found

    def _decide(self, number: int, nodes: list[int]) -> list[int]:
        """Return the chains that a decision may lead to now.

        A block may be decided when honest members find it valid whose weight makes a quorum with
        the Byzantine member's.
        """
        blocks = self.chains[number]
        height = len(blocks) + 1
        if height > self.configuration.heights:
            return []
        facts = [self.machines[place].facts[node] for place, node in enumerate(nodes)]
        judges = [place for place, seen in enumerate(facts) if seen.height == height - 1]
        if not self._is_quorum(judges):
            return []
        freezes = tuple(
            tuple(w for w in self.lexicon.words_in(seen.said) if w.kind is Kind.FREEZE)
            for seen in facts
        )
        # A closing block is judged by the chain and itself: certificates do not matter.
        views = tuple(
            (facts[place].held, height % CLOSING_EVERY and facts[place].certified)
            if place in judges
            else None
            for place in range(HONEST)
        )
        key = (number, freezes, views)
        found = self._decisions.get(key)
        if found is None:
            found = self._decisions[key] = [
                self._chain(blocks, names)
                for names in self._contents(height)
                if self._may_pass(height, names, freezes, judges, nodes)
            ]
        return found

    def _is_quorum(self, places: list[int]) -> bool:
        weights = self.scenario.weights
        return weights[BYZANTINE] + sum(weights[p] for p in places) >= self.scenario.quorum

    def _chain(self, blocks: Chain, names: tuple[str, ...]) -> int:
        longer = (*blocks, names)
        number = self._chain_numbers.get(longer)
        if number is None:
            number = self._chain_numbers[longer] = len(self.chains)
            self.chains.append(longer)
        return number

    def _contents(self, height: int) -> list[tuple[str, ...]]:
        """Return the payments a block may be made of, in every order."""
        if height % CLOSING_EVERY and not self.configuration.ordinary:
            return [()]
        names = self.scenario.names
        return list(
            concatenate.from_iterable(permutations(names, size) for size in range(len(names) + 1))
        )

    def _may_pass(
        self,
        height: int,
        names: tuple[str, ...],
        freezes: tuple[tuple[Word, ...], ...],
        judges: list[int],
        nodes: list[int],
    ) -> bool:
        """Tell whether enough honest members find some block of these payments valid."""
        if height % CLOSING_EVERY:
            return self._is_accepted(names, [], judges, nodes)
        return any(
            self._is_accepted(names, listings, judges, nodes)
            for listings in self._justifications(height, names, freezes)
        )

    def _is_accepted(
        self,
        names: tuple[str, ...],
        listings: list[Listing],
        judges: list[int],
        nodes: list[int],
    ) -> bool:
        accepting = []
        for place in judges:
            seen = tuple(
                sorted(
                    Listing(
                        row.seat if row.seat == BYZANTINE else self.seat(place, row.seat),
                        row.signed,
                        row.claimed,
                    )
                    for row in listings
                )
            )
            if self.machines[place].judge(nodes[place], names, seen) is Verdict.VALID:
                accepting.append(place)
        return self._is_quorum(accepting)

    def _justifications(
        self, height: int, names: tuple[str, ...], freezes: tuple[tuple[Word, ...], ...]
    ) -> list[list[Listing]]:
        """Return every J for a block of these payments: those that prove it, and those that lie.

        The Byzantine member's own list may be anything, so the empty one hinders least. Of an
        honest member J has a FREEZE it sent, whatever the epoch, with what the block has of its
        list, or a made-up one, or none.
        """
        options: list[list[Listing | None]] = []
        epoch = (height - 1) // CLOSING_EVERY
        for member, sent in enumerate(freezes):
            rows: list[Listing | None] = [None, Listing(member, None, ())]
            rows += [
                Listing(
                    member, (word.epoch, word.names), tuple(n for n in word.names if n in names)
                )
                for word in sent
            ]
            options.append(rows)
        options.append([None, Listing(BYZANTINE, (epoch, ()), ())])
        return [[row for row in rows if row is not None] for rows in product(*options) if any(rows)]
