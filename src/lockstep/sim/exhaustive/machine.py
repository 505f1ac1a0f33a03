"""All states of one seat's node, made once each by the real replica and looked up ever after.

A node is deterministic: the same state and the same event give the same state. So each pair is
stepped once, the result is found again by its fingerprint, and a global state is three numbers.
"""

from itertools import combinations
from typing import Final

from msgspec import Struct

from lockstep.errors import LockstepError, Rejected
from lockstep.primitives.params import WAITING_AGE_MS
from lockstep.primitives.votes import Vote
from lockstep.replica.effects import Effect, Persist
from lockstep.replica.events import BatchReceived, Event, FreezeReceived, VotesReceived
from lockstep.replica.height import Verdict
from lockstep.replica.proposing import make_candidate
from lockstep.sim.exhaustive.blocks import (
    Listing,
    Proposed,
    make_decided,
    make_proposal,
    read_block,
)
from lockstep.sim.exhaustive.fingerprint import Fingerprint, fingerprint
from lockstep.sim.exhaustive.node import Node, Setting
from lockstep.sim.exhaustive.scenario import BYZANTINE
from lockstep.sim.exhaustive.words import Kind
from lockstep.sim.violation import Violation

BROKEN: Final = -1
"""Stands for the state after a step that broke a promise."""
# A defect of the core may surface as any of these: a finding with a trace, not a crash of ours.
_DEFECTS: Final = (
    LockstepError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)

Act = tuple[object, ...]
"""What happened to a node: ("body", name), ("words", ((seat, number), ...)), ("block", names),
("crash", number of the effects that came about before it)."""


class Facts(Struct, frozen=True):
    """What others need to know of a node's state.

    Attributes:
        said: Words that ever left it.
        height, epoch: Of its chain.
        held: Payments whose body it holds.
        certified, final: Payments it holds a quorum for in its epoch.
    """

    said: int
    crashes: int
    height: int
    epoch: int
    chain: tuple[tuple[str, int], ...]
    held: tuple[str, ...]
    certified: tuple[str, ...]
    final: tuple[str, ...]


class Step(Struct, frozen=True):
    """One way to go on from a state of a node; `fault` says which promise it broke, if any."""

    act: Act
    after: int
    fault: str = ""


class Machine:
    """The states of the node of one seat.

    Attributes:
        facts: Of each state, by number; 0 is the first.
        origin: The state and act by which each was first reached.
    """

    def __init__(self, setting: Setting, *, each: bool, crashes: int) -> None:
        """Make the first state; a node may crash `crashes` times.

        With `each` every Vote and Confirm is delivered by itself; else those that do not complete a
        quorum are delivered together with the one that does.
        """
        self.setting = setting
        self.facts: list[Facts] = []
        self.origin: list[tuple[int, Act]] = []
        self.steps = 0
        self._each = each
        self._crashes = crashes
        self._nodes: list[bytes] = []
        self._numbers: dict[Fingerprint, int] = {}
        self._done: dict[tuple[int, Act], tuple[Step, ...]] = {}
        self._quorums: dict[tuple[object, ...], tuple[Step, ...]] = {}
        self._proposals: dict[tuple[object, ...], Proposed | Violation | None] = {}
        self._verdicts: dict[tuple[object, ...], Verdict] = {}
        self._keep(Node(setting), 0, ("start",))

    def node(self, state: int) -> Node:
        """Return a node in this state, to be used once."""
        return Node.thaw(self.setting, self._nodes[state])

    def act(self, state: int, act: Act) -> tuple[Step, ...]:
        """Return what an act makes of a state: one step, and others if a crash cuts it short."""
        key = (state, act)
        found = self._done.get(key)
        if found is None:
            found = self._done[key] = self._act(state, act)
        return found

    def steps_of(self, state: int, heard: tuple[tuple[int, int], ...]) -> list[Step]:
        """Return all that can happen to a node by itself and by the words that others sent.

        `heard` has (seat, mask of words) of every other member.
        """
        facts, scenario = self.facts[state], self.setting.scenario
        found: list[Step] = []
        for name in scenario.names:
            if name not in facts.held:
                found.extend(self.act(state, ("body", name)))
        for kind in (Kind.VOTE, Kind.CONFIRM):
            done = facts.certified if kind is Kind.VOTE else facts.final
            for name in facts.held:
                if self._each or name not in done:
                    found.extend(self._hear(state, kind, name, heard))
        if facts.crashes < self._crashes:
            found.extend(self.act(state, ("crash",)))
        return [step for step in found if step.after != state]

    def judge(self, state: int, names: tuple[str, ...], listings: tuple[Listing, ...]) -> Verdict:
        """Return the node's verdict on a block that the Byzantine member proposes now."""
        facts = self.facts[state]
        closing = bool(listings)
        # A closing block is judged by the chain and itself: certificates do not matter.
        key = (
            facts.chain,
            facts.height,
            facts.held,
            () if closing else facts.certified,
            names,
            listings,
        )
        found = self._verdicts.get(key)
        if found is None:
            node = self.node(state)
            event = make_proposal(self.setting.scenario, node.core, names, listings)
            height = node.core.height
            node.step(event)
            self.steps += 1
            candidate = height.candidates.get(event.message.proposal.block_id)
            found = Verdict.INVALID if candidate is None else candidate.verdict
            self._verdicts[key] = found
        return found

    def propose(
        self,
        state: int,
        votes: tuple[tuple[int, int], ...],
        freezes: tuple[tuple[int, int], ...],
    ) -> Proposed | None:
        """Return the block the node would propose, None if it cannot make one.

        Before, it hears these Votes and FREEZEs, and time enough passes for what is not certified.

        Raises:
            Violation: If it finds its own block invalid.
        """
        key = (state, votes, freezes)
        if key not in self._proposals:
            self._proposals[key] = self._propose(state, votes, freezes)
        found = self._proposals[key]
        if isinstance(found, Violation):
            raise found
        return found

    def _propose(
        self,
        state: int,
        votes: tuple[tuple[int, int], ...],
        freezes: tuple[tuple[int, int], ...],
    ) -> Proposed | Violation | None:
        node, scenario, lexicon = self.node(state), self.setting.scenario, self.setting.lexicon
        self.steps += 1
        try:
            for batch in scenario.batches.values():
                node.step(BatchReceived(scenario.peers[BYZANTINE], batch))
            for seat, number in (*votes, *freezes):
                message = lexicon.message(seat, number)
                peer = scenario.peers[seat]
                event = (
                    VotesReceived(peer, (message,))
                    if isinstance(message, Vote)
                    else FreezeReceived(peer, message)
                )
                node.step(event, late_ms=2 * WAITING_AGE_MS)
            candidate = make_candidate(node.core)
        except _DEFECTS as fault:
            return Violation("proposal", _describe(fault))
        if candidate is None or candidate.assembled is None:
            return None
        return read_block(scenario, candidate.assembled)

    def _hear(
        self, state: int, kind: Kind, name: str, heard: tuple[tuple[int, int], ...]
    ) -> tuple[Step, ...]:
        """Return the steps by which words on a payment make a difference to the node."""
        words = self._words_on(state, kind, name, heard)
        key = (state, kind, name, words)
        found = self._quorums.get(key)
        if found is None:
            found = (
                self._each_of(state, words)
                if self._each
                else self._bundles(state, kind, name, words)
            )
            self._quorums[key] = found
        return found

    def _words_on(
        self, state: int, kind: Kind, name: str, heard: tuple[tuple[int, int], ...]
    ) -> tuple[tuple[int, int], ...]:
        """Return (seat, word) of what was sent about a payment; words of later epochs wait."""
        epoch = self.facts[state].epoch
        lexicon = self.setting.lexicon
        return tuple(
            (seat, number)
            for seat, mask in heard
            for number, word in enumerate(lexicon.words)
            if mask >> number & 1
            and word.kind is kind
            and word.epoch <= epoch
            and name in word.names
        )

    def _each_of(self, state: int, words: tuple[tuple[int, int], ...]) -> tuple[Step, ...]:
        return tuple(step for word in words for step in self.act(state, ("words", (word,))))

    def _bundles(
        self, state: int, kind: Kind, name: str, words: tuple[tuple[int, int], ...]
    ) -> tuple[Step, ...]:
        """Return the steps by which the least sets of words complete a quorum."""
        epoch = self.facts[state].epoch
        lexicon = self.setting.lexicon
        fresh = tuple(word for word in words if lexicon.words[word[1]].epoch == epoch)
        for pile in (fresh, words):
            if pile and self._completes(state, kind, name, pile):
                break
        else:
            return ()
        found: dict[tuple[int, str], Step] = {}
        least: list[set[tuple[int, int]]] = []
        for size in range(1, len(pile) + 1):
            for bundle in combinations(pile, size):
                if any(small <= set(bundle) for small in least):
                    continue
                if self._completes(state, kind, name, bundle):
                    least.append(set(bundle))
                    for step in self.act(state, ("words", bundle)):
                        found.setdefault((step.after, step.fault), step)
        return tuple(found.values())

    def _completes(
        self, state: int, kind: Kind, name: str, bundle: tuple[tuple[int, int], ...]
    ) -> bool:
        step = self.act(state, ("words", bundle))[0]
        if step.after == BROKEN:
            return True
        facts = self.facts[step.after]
        return name in (facts.certified if kind is Kind.VOTE else facts.final)

    def _act(self, state: int, act: Act) -> tuple[Step, ...]:
        node = self.node(state)
        self.steps += 1
        effects: list[Effect] = []
        try:
            if act == ("crash",):
                node.restart()
            else:
                for event in self._events(node, act):
                    node.carry_out(effects)
                    effects = node.step(event)
                node.carry_out(effects)
        except _DEFECTS as fault:
            return (Step(act, BROKEN, _describe(fault)),)
        steps = [Step(act, self._keep(node, state, act))]
        if act != ("crash",) and self.facts[state].crashes < self._crashes:
            steps.extend(self._cut_short(state, act, effects))
        return tuple(steps)

    def _cut_short(self, state: int, act: Act, effects: list[Effect]) -> list[Step]:
        """Return the steps in which a crash comes between two effects of the last event.

        Records that follow each other are one commit.
        """
        cuts = [
            cut
            for cut in range(1, len(effects))
            if not (isinstance(effects[cut - 1], Persist) and isinstance(effects[cut], Persist))
        ]
        steps: list[Step] = []
        for cut in cuts:
            node = self.node(state)
            self.steps += 1
            broken = (*act, "crash", cut)
            done: list[Effect] = []
            try:
                for event in self._events(node, act):
                    node.carry_out(done)
                    done = node.step(event)
                node.carry_out(done[:cut])
                node.restart()
            except _DEFECTS as fault:
                steps.append(Step(broken, BROKEN, _describe(fault)))
                continue
            steps.append(Step(broken, self._keep(node, state, broken)))
        return steps

    def _events(self, node: Node, act: Act) -> list[Event]:
        """Return the events that an act consists of, for the node as it is before it."""
        scenario, lexicon = self.setting.scenario, self.setting.lexicon
        match act:
            case ("body", str(name)):
                return [BatchReceived(scenario.peers[BYZANTINE], scenario.batches[name])]
            case ("block", *names):
                return [make_decided(scenario, node.core, [str(name) for name in names])]
            case ("words", tuple(words)):
                events: list[Event] = []
                for seat, number in words:
                    message = lexicon.message(seat, number)
                    if isinstance(message, Vote):
                        events.append(VotesReceived(scenario.peers[seat], (message,)))
                return events
        raise Violation("model", f"nobody knows the act {act}")

    def _keep(self, node: Node, before: int, act: Act) -> int:
        mark = fingerprint(node, has_partial=self._each, has_disk=node.crashes < self._crashes)
        number = self._numbers.get(mark)
        if number is None:
            number = self._numbers[mark] = len(self._nodes)
            self._nodes.append(node.freeze())
            self.facts.append(_facts(node))
            self.origin.append((before, act))
        return number


def _facts(node: Node) -> Facts:
    core, scenario = node.core, node.setting.scenario
    txids = {name: scenario.payments[name].txid for name in scenario.names}
    heights = {name: core.overlay.height_of(txid) for name, txid in txids.items()}
    return Facts(
        said=node.said,
        crashes=node.crashes,
        height=core.state.height,
        epoch=core.finality.epoch,
        chain=tuple((name, height) for name, height in heights.items() if height is not None),
        held=tuple(n for n in scenario.names if scenario.batches[n].batch_id in core.batches),
        certified=tuple(n for n in scenario.names if core.finality.is_certified(txids[n])),
        final=tuple(n for n in scenario.names if core.finality.is_final(txids[n])),
    )


def _describe(fault: Exception) -> str:
    if isinstance(fault, Violation | Rejected):
        return str(fault)
    return f"{type(fault).__name__}: {fault}"
