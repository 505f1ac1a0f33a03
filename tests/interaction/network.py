"""A cluster on strings: messages are lost or held on order, nodes crash at a chosen record."""

from collections.abc import Callable
from copy import deepcopy

from lockstep.errors import Fatal
from lockstep.primitives.block import Ballot
from lockstep.primitives.messages import (
    BatchBody,
    BlockPage,
    EvidenceFound,
    GetBatches,
    GetBlock,
    GetOwnWords,
    GetVotes,
    Message,
    OwnWords,
    ProposalMessage,
    Status,
)
from lockstep.primitives.votes import Freeze, Vote
from lockstep.replica.effects import (
    BatchHeld,
    BlockDecided,
    Effect,
    EvidenceHeld,
    OwnConfirm,
    OwnFreeze,
    OwnVote,
    Persist,
    QuorumConfirmed,
    Record,
    RoundSigned,
)
from lockstep.replica.events import Event, PeerConnected
from lockstep.sim.disk import Disk
from unit.replica.cluster import Cluster, Node
from unit.replica.watch import Watch

SHAPES: dict[type, str] = {
    BatchBody: "batch",
    Freeze: "freeze",
    ProposalMessage: "proposal",
    Status: "status",
    GetBatches: "request",
    GetVotes: "request",
    GetBlock: "request",
    BlockPage: "page",
    EvidenceFound: "evidence",
    GetOwnWords: "question",
    OwnWords: "answer",
}


RECORDS: dict[type, str] = {
    BatchHeld: "batch",
    OwnVote: "vote",
    OwnConfirm: "confirm",
    QuorumConfirmed: "final",
    BlockDecided: "decision",
    OwnFreeze: "freeze",
    EvidenceHeld: "evidence",
}


def shape_of(message: Message) -> str:
    """Return what a script calls this kind of message."""
    if isinstance(message, Vote | Ballot):
        return message.kind.name.lower()
    return SHAPES.get(type(message), "other")


def word_of(record: Record) -> str:
    """Return what a script calls a record: mostly the word that may be said once it is synced."""
    if not isinstance(record, RoundSigned):
        return RECORDS.get(type(record), "other")
    if record.ballot is not None:
        return record.ballot.kind.name.lower()
    return "proposal" if record.proposal is not None else "block"


class Pattern:
    """Which messages a command speaks of: a shape or `all`, senders and receivers."""

    def __init__(self, shape: str, senders: list[int] | None, receivers: list[int] | None) -> None:
        self._shape = shape
        self._senders = senders
        self._receivers = receivers

    def fits(self, sender: int, receiver: int, message: Message) -> bool:
        return (
            self._shape in ("all", shape_of(message))
            and (self._senders is None or sender in self._senders)
            and (self._receivers is None or receiver in self._receivers)
        )


class Network(Cluster):
    """Real nodes and puppets: members that say only what the script says for them.

    Unless `asking`, what a node asks on its start is answered at once and in silence [D3].

    Attributes:
        on_effect: Called after each effect that was carried out.
        on_end: Called when a node ends by itself, with a sentence.
    """

    def __init__(
        self,
        weights: tuple[int, ...],
        *,
        closing_every: int,
        puppets: list[int],
        asking: bool = False,
    ) -> None:
        self.on_effect: Callable[[Node, Effect], object] | None = None
        self.on_end: Callable[[Node, str], object] | None = None
        self._held: list[tuple[int, int, Message]] = []
        self._ends: dict[int, tuple[str, str]] = {}
        self._watch_before: Watch | None = None
        self._backups: dict[int, Disk] = {}
        super().__init__(
            weights,
            closing_every=closing_every,
            delay_max_ms=1,
            absent=puppets,
            instant_answers=not asking,
        )
        for node in self.up():
            for puppet in puppets:
                self.step(node.index, PeerConnected(self.peers[puppet]))

    def lose(self, pattern: Pattern) -> None:
        """Lose messages that fit from now on."""
        self.gates.append(lambda s, r, m: not pattern.fits(s, r, m))

    def hold(self, pattern: Pattern) -> None:
        """Keep messages that fit until they are released."""

        def gate(sender: int, receiver: int, message: Message) -> bool:
            if pattern.fits(sender, receiver, message):
                self._held.append((sender, receiver, message))
                return False
            return True

        self.gates.append(gate)

    def release(self, *, backwards: bool, twice: bool) -> None:
        """Send on what was held, and let everything pass from now on."""
        self.gates.clear()
        held, self._held = self._held, []
        for sender, receiver, message in reversed(held) if backwards else held:
            for _ in range(2 if twice else 1):
                self.transmit(sender, receiver, message)

    def crash_at(self, index: int, *, when: str, word: str) -> None:
        """Crash the node `before` or `after` its next record of this kind is synced."""
        self._ends[index] = (when, word)

    def back_up(self, index: int) -> None:
        """Make a copy of a node's disk."""
        self._backups[index] = self.nodes[index].disk.copy()

    def restore(self, index: int) -> None:
        """Put the copy of its disk back into a node that is down."""
        assert self.nodes[index].replica is None
        self.nodes[index].disk = self._backups[index].copy()

    def wipe(self, index: int) -> None:
        """Leave nothing on the disk of a node that is down but its key."""
        assert self.nodes[index].replica is None
        self.nodes[index].disk = Disk(self.genesis, is_intact=False)

    def step(self, index: int, event: Event) -> list[Effect]:
        """Let a node take an event; one that finds an invariant gone stops."""
        if index in self._ends:
            self._watch_before = deepcopy(self.watch)
        try:
            return super().step(index, event)
        except Fatal as fault:
            self._end(self.nodes[index], f"STOPS: {fault.code}")
            return []

    def _do(self, node: Node, effect: Effect) -> None:
        when, word = self._ends.get(node.index, ("", ""))
        if isinstance(effect, Persist) and word_of(effect.record) == word:
            del self._ends[node.index]
            if when == "after":
                super()._do(node, effect)
            elif self._watch_before is not None:
                # What is lost before it is synced is never said: another word may take its place.
                self.watch = self._watch_before
            self._end(node, f"CRASHES {when} its {word} is synced")
            return
        super()._do(node, effect)
        if self.on_effect is not None:
            self.on_effect(node, effect)

    def _end(self, node: Node, sentence: str) -> None:
        if self.on_end is not None:
            self.on_end(node, sentence)
        self.crash(node.index)
