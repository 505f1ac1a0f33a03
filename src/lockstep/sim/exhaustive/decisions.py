"""Which blocks may be decided in a state of a model, and what honest proposers propose [T4-T8].

That one block a height is decided is Tendermint's matter and taken for granted here. Which one it
is, is not: any block may be decided that honest members find valid whose weight makes a quorum with
the Byzantine member's, whoever proposes it and however odd it looks.
"""

from collections.abc import Sequence
from itertools import chain, permutations, product

from lockstep.replica.height import Verdict
from lockstep.sim.exhaustive.blocks import Listing, Proposed
from lockstep.sim.exhaustive.configurations import Configuration
from lockstep.sim.exhaustive.machine import Facts, Machine
from lockstep.sim.exhaustive.scenario import BYZANTINE, HONEST, SEATS, Scenario
from lockstep.sim.exhaustive.table import Table
from lockstep.sim.exhaustive.words import Kind, Word
from lockstep.sim.violation import Violation

Names = tuple[str, ...]


class Decisions:
    """The decisions of one configuration, each worked out once."""

    def __init__(self, configuration: Configuration, table: Table) -> None:
        """Decide among the members at this table."""
        self._configuration = configuration
        self._table = table
        self._scenario: Scenario = table.scenario
        self._machines: Sequence[Machine] = table.machines
        self._found: dict[tuple[object, ...], tuple[Names, ...]] = {}
        self._checked: set[tuple[object, ...]] = set()

    def contents(self, height: int, nodes: Sequence[int]) -> tuple[Names, ...]:
        """Return the payments of every block of this height that may be decided now.

        Raises:
            Violation: If an honest proposer makes a block that the others do not accept, or cannot
                make one though it holds all honest members' FREEZEs [T6].
        """
        if height > self._configuration.heights:
            return ()
        facts = [self._machines[place].facts[node] for place, node in enumerate(nodes)]
        judges = [place for place, seen in enumerate(facts) if seen.height == height - 1]
        if not self._is_quorum(judges):
            return ()
        freezes = tuple(
            tuple(w for w in self._table.lexicon.words_in(seen.said) if w.kind is Kind.FREEZE)
            for seen in facts
        )
        # A closing block is judged by the chain and itself: certificates do not matter.
        closing = height % self._configuration.closing_every == 0
        views = tuple(
            (facts[place].chain, facts[place].held, () if closing else facts[place].certified)
            if place in judges
            else None
            for place in range(HONEST)
        )
        key = (height, freezes, views)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = tuple(
                names
                for names in self._possible(height)
                if self._may_pass(height, names, freezes, judges, nodes)
            )
        if closing:
            for place in judges:
                others = tuple(
                    (facts[other].height, facts[other].held, facts[other].said)
                    for other in (place - 2, place - 1)
                )
                seen = (place, nodes[place], others)
                if seen not in self._checked:
                    self._check_proposal(place, facts, nodes)
                    self._checked.add(seen)
        elif self._configuration.ordinary:
            for place in judges:
                self._machines[place].propose(nodes[place], (), ())
        return found

    def _is_quorum(self, places: Sequence[int]) -> bool:
        weights = self._scenario.weights
        return weights[BYZANTINE] + sum(weights[p] for p in places) >= self._scenario.quorum

    def _possible(self, height: int) -> list[Names]:
        """Return the payments a block may be made of, in every order."""
        if height % self._configuration.closing_every and not self._configuration.ordinary:
            return [()]
        names = self._scenario.names
        return list(chain.from_iterable(permutations(names, n) for n in range(len(names) + 1)))

    def _may_pass(
        self,
        height: int,
        names: Names,
        freezes: tuple[tuple[Word, ...], ...],
        judges: Sequence[int],
        nodes: Sequence[int],
    ) -> bool:
        """Tell whether enough honest members find some block of these payments valid."""
        if height % self._configuration.closing_every:
            return self._is_accepted(names, [], judges, nodes)
        return any(
            self._is_accepted(names, listings, judges, nodes)
            for listings in self._justifications(height, names, freezes)
        )

    def _is_accepted(
        self, names: Names, listings: list[Listing], judges: Sequence[int], nodes: Sequence[int]
    ) -> bool:
        accepting = []
        for place in judges:
            seen = sorted(
                Listing(self._table.seat(place, row.seat), row.signed, row.claimed)
                for row in listings
            )
            verdict = self._machines[place].judge(nodes[place], names, tuple(seen))
            if verdict is Verdict.VALID:
                accepting.append(place)
        return self._is_quorum(accepting)

    def _justifications(
        self, height: int, names: Names, freezes: tuple[tuple[Word, ...], ...]
    ) -> list[list[Listing]]:
        """Return every J for a block of these payments: those that prove it, and those that lie.

        The Byzantine member's own list may be anything, so the empty one hinders least. Of an
        honest member J has a FREEZE it sent, whatever the epoch, with what the block has of its
        list, or a made-up one, or none.
        """
        options: list[list[Listing | None]] = []
        epoch = (height - 1) // self._configuration.closing_every
        for member, sent in enumerate(freezes):
            rows: list[Listing | None] = [None, Listing(member, None, ())]
            for word in sent:
                listed = tuple(name for name in word.names if name in names)
                rows.append(Listing(member, (word.epoch, word.names), listed))
            options.append(rows)
        options.append([None, Listing(BYZANTINE, (epoch, ()), ())])
        return [[row for row in rows if row is not None] for rows in product(*options) if any(rows)]

    def _check_proposal(self, place: int, facts: Sequence[Facts], nodes: Sequence[int]) -> None:
        """Look at the block that an honest member would propose from the FREEZEs that were sent."""
        lexicon, epoch = self._table.lexicon, facts[place].epoch
        sent = [
            (self._table.seat(place, other), lexicon.number(word))
            for other in range(HONEST)
            for word in lexicon.words_in(facts[other].said)
            if word.kind is Kind.FREEZE and word.epoch == epoch and other != place
        ]
        lists: list[Names] = [(), *((name,) for name in self._scenario.names)]
        lies = [(BYZANTINE, lexicon.number(Word(Kind.FREEZE, epoch, names))) for names in lists]
        for freezes in (sent, *([*sent, lie] for lie in lies)):
            made = self._machines[place].propose(
                nodes[place], self._votes(place, facts, freezes), tuple(sorted(freezes))
            )
            if made is not None:
                self._check_made(place, made, facts, nodes)
            elif len(sent) == HONEST - 1:
                sentence = "all honest FREEZEs are there, and no block can be made of them"
                raise Violation("proposal", sentence)

    def _check_made(
        self, place: int, made: Proposed, facts: Sequence[Facts], nodes: Sequence[int]
    ) -> None:
        """Look whether an honest proposer's block is valid for everybody [T7]."""
        names, listings = made
        members = {self._table.seat(place, member): member for member in range(SEATS)}
        for judge in range(HONEST):
            if facts[judge].height != facts[place].height:
                continue
            seen = sorted(
                Listing(self._table.seat(judge, members[row.seat]), row.signed, row.claimed)
                for row in listings
            )
            verdict = self._machines[judge].judge(nodes[judge], names, tuple(seen))
            if verdict is Verdict.INVALID:
                sentence = f"an honest proposer's block of {names} is not valid for all"
                raise Violation("proposal", sentence)

    def _votes(
        self, place: int, facts: Sequence[Facts], freezes: Sequence[tuple[int, int]]
    ) -> tuple[tuple[int, int], ...]:
        """Return the Votes that the proposer may lack for what the FREEZEs list."""
        lexicon, here = self._table.lexicon, facts[place]
        listed = {name for _, number in freezes for name in lexicon.words[number].names}
        lacking = listed.difference(here.certified)
        heard = self._table.heard(place, [seen.said for seen in facts])
        return tuple(
            (seat, number)
            for seat, mask in heard
            for number, word in enumerate(lexicon.words)
            if mask >> number & 1
            and (word.kind, word.epoch) == (Kind.VOTE, here.epoch)
            and not lacking.isdisjoint(word.names)
        )
