"""What must hold in every state of a model, recounted from what was said [F2, F4, T7].

Weights of members who ever said a word are added up here by plain loops; no tally of the core is
asked, but each is compared.
"""

from collections.abc import Sequence

from lockstep.sim.exhaustive.machine import Facts
from lockstep.sim.exhaustive.scenario import BYZANTINE, HONEST, Scenario
from lockstep.sim.exhaustive.words import Kind, Lexicon


class Promises:
    """The invariants, with the verdicts already found."""

    def __init__(
        self, scenario: Scenario, lexicon: Lexicon, closing_every: int, *, is_watched: bool
    ) -> None:
        """Judge states of this scenario; without `is_watched` by what came about alone."""
        self._is_watched = is_watched
        self._scenario = scenario
        self._lexicon = lexicon
        self._closing_every = closing_every
        self._quorums: dict[tuple[int, ...], frozenset[tuple[Kind, int, str]]] = {}
        self._verdicts: dict[tuple[object, ...], str] = {}

    def judge(self, blocks: tuple[tuple[str, ...], ...], facts: Sequence[Facts]) -> str:
        """Return which promise is broken, in a sentence, or nothing."""
        said = tuple(seen.said for seen in facts)
        key = (blocks, said, *((seen.epoch, seen.certified, seen.final) for seen in facts))
        found = self._verdicts.get(key)
        if found is None:
            found = self._verdicts[key] = self._judge(blocks, facts, self._reached(said))
        return found

    def _judge(
        self,
        blocks: tuple[tuple[str, ...], ...],
        facts: Sequence[Facts],
        reached: frozenset[tuple[Kind, int, str]],
    ) -> str:
        rivals = self._scenario.rivals
        for seen in facts if self._is_watched else ():
            for kind, names in ((Kind.VOTE, seen.certified), (Kind.CONFIRM, seen.final)):
                for name in names:
                    if (kind, seen.epoch, name) not in reached:
                        what = "certificate" if kind is Kind.VOTE else "final word"
                        return f"quorum: a node has a {what} on {name} that no quorum stands for"
        for kind, epoch, name in sorted(reached):
            for other in sorted(rivals[name]):
                if kind is Kind.VOTE and (kind, epoch, other) in reached:
                    return f"certificates: {name} and {other} are both certified in epoch {epoch}"
                if kind is Kind.CONFIRM and any(
                    (kind, later, other) in reached for later in range(len(blocks) + 1)
                ):
                    return f"finality: {name} and {other} are both final"
        return self._judge_chain(blocks, reached)

    def _judge_chain(
        self, blocks: tuple[tuple[str, ...], ...], reached: frozenset[tuple[Kind, int, str]]
    ) -> str:
        decided = {name: height for height, names in enumerate(blocks, 1) for name in names}
        for name in decided:
            if not self._scenario.rivals[name].isdisjoint(decided):
                return f"chain: {name} and a rival of it are both decided"
        for kind, epoch, name in sorted(reached):
            if kind is not Kind.CONFIRM:
                continue
            closing = (epoch + 1) * self._closing_every
            rival = next((other for other in decided if other in self._scenario.rivals[name]), None)
            if rival is not None:
                return (
                    f"finality: {name} is final in epoch {epoch}, and its rival {rival} is decided"
                )
            if closing <= len(blocks) and decided.get(name, closing + 1) > closing:
                return f"finality: {name}, final in epoch {epoch}, is not in the chain at its end"
        for height, names in enumerate(blocks, 1) if self._is_watched else ():
            if height % self._closing_every == 0:
                continue
            epoch = (height - 1) // self._closing_every
            for name in names:
                if (Kind.VOTE, epoch, name) not in reached:
                    return f"certified: {name} stands in an ordinary block without a certificate"
        return ""

    def _reached(self, said: tuple[int, ...]) -> frozenset[tuple[Kind, int, str]]:
        """Return every (kind, epoch, name) that members of quorum weight can be shown to have said.

        The Byzantine member is taken to have said everything.
        """
        found = self._quorums.get(said)
        if found is None:
            weights = self._scenario.weights
            behind: dict[tuple[Kind, int, str], int] = {}
            for place in range(HONEST):
                words = {
                    (word.kind, word.epoch, name)
                    for word in self._lexicon.words_in(said[place])
                    for name in word.names
                    if word.kind is not Kind.FREEZE
                }
                for word in words:
                    behind[word] = behind.get(word, weights[BYZANTINE]) + weights[place]
            total = sum(weights)
            found = self._quorums[said] = frozenset(
                word for word, weight in behind.items() if 3 * weight > 2 * total
            )
        return found
