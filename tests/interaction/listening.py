"""What is heard of a network: notices to people always, words between nodes where asked for."""

from collections.abc import Iterator

from interaction.names import Names, describe_evidence
from interaction.network import Network
from lockstep.primitives.block import Ballot, Proposal
from lockstep.primitives.messages import (
    EvidenceFound,
    GetBatches,
    GetBlock,
    GetOwnWords,
    GetVotes,
    Message,
    OwnWords,
    ProposalMessage,
)
from lockstep.primitives.votes import Freeze, Vote
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    Broadcast,
    Effect,
    Notice,
    Send,
    SetTimer,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
    VotingChanged,
)
from lockstep.replica.events import TimerKind
from unit.replica.cluster import Node

ROUND_TIMERS = (TimerKind.PROPOSE, TimerKind.PREVOTE, TimerKind.PRECOMMIT)
KINDS = ("rounds", "payments", "requests", "repeats", "questions", "evidence")


Word = Vote | Freeze | Ballot | Proposal


def kind_of(word: Word) -> str:
    """Return the kind of words that a script listens to."""
    return "rounds" if isinstance(word, Ballot | Proposal) else "payments"


class Listener:
    """Writes down lines (time, node, text); equal texts of one moment become one line.

    A word is told when it leaves its node for the first time; after a restart, or with `repeats`,
    it is told as said `again`.
    """

    def __init__(self, network: Network, names: Names) -> None:
        self.kinds: list[str] = []
        self.nodes: list[int] = []
        self._network = network
        self._names = names
        self._lines: list[tuple[int | None, int, str]] = []
        self._ever: set[bytes] = set()
        self._said: set[tuple[int, int, bytes]] = set()
        self._blamed = [0] * len(network.nodes)
        network.on_notice = self._on_notice
        network.on_effect = self._on_effect
        network.on_end = lambda node, sentence: self.write(node.index, sentence)

    def write(self, node: int, text: str, *, timed: bool = True) -> None:
        """Write a line on this node down."""
        self._lines.append((self._network.now if timed else None, node, text))

    def take(self) -> Iterator[str]:
        """Return what was heard since the last time, equal texts of one moment in one line."""
        self._hear_blame()
        groups: dict[tuple[int | None, str, int], list[int]] = {}
        for time, node, text in self._lines:
            number = 0
            while node in groups.get((time, text, number), ()):
                number += 1
            groups.setdefault((time, text, number), []).append(node)
        self._lines = []
        for (time, text, _), nodes in groups.items():
            who = ",".join(map(str, sorted(nodes)))
            yield f"{'' if time is None else time:>6}  {who:7}  {text}"

    def _hear_blame(self) -> None:
        """Write down whom a node blamed for what since the last look."""
        for node in self._network.nodes:
            for peer, code in node.penalties[self._blamed[node.index] :]:
                self.write(node.index, f"blames {self._network.peers.index(peer)}: {code}")
            self._blamed[node.index] = len(node.penalties)

    def _on_notice(self, node: Node, notice: Notice) -> None:
        for text in self._describe_notice(notice):
            self.write(node.index, text)

    def _on_effect(self, node: Node, effect: Effect) -> None:
        match effect:
            case Broadcast(message=EvidenceFound(evidence=evidence)):
                if self._hears("evidence", node):
                    against = self._network.ids.index(evidence.member)
                    self.write(node.index, f"accuses {against} of {describe_evidence(evidence)}")
            case Broadcast(message=message):
                self._on_message(node, message)
            case Send(peer=peer, message=GetBatches() | GetVotes() | GetBlock() as request):
                if self._hears("requests", node):
                    self.write(node.index, self._describe_request(peer, request))
            case Send(peer=peer, message=GetOwnWords() | OwnWords() as question):
                if self._hears("questions", node):
                    self.write(node.index, self._describe_question(peer, question))
            case Send(message=message):
                self._on_message(node, message)
            case SetTimer(timer=timer, delay_ms=delay_ms) if timer.kind in ROUND_TIMERS:
                if self._hears("rounds", node):
                    place = f"{timer.height}/{timer.round}"
                    text = f"waits {delay_ms} ms in {place} ({timer.kind.name.lower()})"
                    self.write(node.index, text)
            case _:
                pass

    def _hears(self, kind: str, node: Node) -> bool:
        return kind in self.kinds and (not self.nodes or node.index in self.nodes)

    def _on_message(self, node: Node, message: Message) -> None:
        word = message.proposal if isinstance(message, ProposalMessage) else message
        if isinstance(message, ProposalMessage):
            self._names.note_block(message.block)
        if not isinstance(word, Vote | Freeze | Ballot | Proposal):
            return
        author = word.proposer if isinstance(word, Proposal) else word.voter
        if author != self._network.ids[node.index]:
            self._hear_relay(node, author, word)
            return
        key = (node.index, node.life, word.signature)
        again = "again " if word.signature in self._ever else ""
        is_repeat = key in self._said
        self._said.add(key)
        self._ever.add(word.signature)
        if self._hears(kind_of(word), node) and (not is_repeat or "repeats" in self.kinds):
            polc = len(message.polc) if isinstance(message, ProposalMessage) else 0
            self.write(node.index, again + self._describe_word(word, polc))

    def _hear_relay(self, node: Node, author: bytes, word: Word) -> None:
        """Write down that a node says again what another member said [T10]."""
        if "repeats" in self.kinds and self._hears(kind_of(word), node):
            said = self._describe_word(word, 0)
            self.write(node.index, f"passes on: {self._network.ids.index(author)} {said}")

    def _describe_word(self, word: Word, polc: int) -> str:
        names = self._names
        match word:
            case Vote(kind=kind, entries=entries):
                return f"{kind.name.lower()}s {names.entries(entries)}"
            case Freeze(entries=entries):
                return f"freezes with {names.entries(entries)}"
            case Ballot(kind=kind, height=height, round=round_number, block_id=block_id):
                block = names.block(block_id, height)
                return f"{kind.name.lower()}s {block} in {height}/{round_number}"
            case Proposal(height=height, round=round_number, block_id=block_id):
                text = f"proposes {names.block(block_id, height)} in {height}/{round_number}"
                if word.valid_round >= 0:
                    text += f", valid in round {word.valid_round} by {polc} prevotes"
                return text

    def _describe_request(self, peer: bytes, request: GetBatches | GetVotes | GetBlock) -> str:
        asked = f"asks {self._network.peers.index(peer)} for"
        match request:
            case GetBatches(batch_ids=batch_ids):
                return f"{asked} batch {' '.join(map(self._names.batch, batch_ids))}"
            case GetVotes(batch_ids=batch_ids):
                return f"{asked} votes on {' '.join(map(self._names.batch, batch_ids))}"
            case GetBlock(height=height):
                return f"{asked} block {height}"

    def _describe_question(self, peer: bytes, message: GetOwnWords | OwnWords) -> str:
        """What a node asks on its start, and what it is answered [D3]."""
        other = self._network.peers.index(peer)
        if isinstance(message, GetOwnWords):
            return f"asks {other} what its key has signed"
        words: list[Word] = [*message.votes, *message.freezes]
        words += [*message.proposals, *message.ballots]
        said = ", ".join(self._describe_word(word, 0) for word in words) or "nothing"
        return f"tells {other}: {said}"

    def _describe_notice(self, notice: Notice) -> Iterator[str]:
        names = self._names
        match notice:
            case TransactionsAccepted(txids=txids):
                yield f"accepted {names.sorted(txids)}"
            case TransactionsRefused(refusals=refusals):
                yield from (f"refused {names.payment(txid)}: {code}" for txid, code, _ in refusals)
            case TransactionsFinal(txids=txids, weight=weight):
                yield f"final {names.sorted(txids)} by weight {weight}"
            case TransactionsDropped(txids=txids, code=code):
                yield f"dropped {names.sorted(txids)}: {code}"
            case BlockAdded(height=height, closing=closing, txids=txids):
                kind = "closing block" if closing else "block"
                rest = f" in round {notice.round}" if notice.round else ""
                rest += " by sync" if notice.by_sync else ""
                yield f"{kind} {height} {names.sorted(txids)}".rstrip() + rest
            case VotingChanged(is_voting=is_voting):
                yield "may sign" if is_voting else "may not sign"
            case Alarm(code=code):
                yield f"ALARM {code}"
