"""One honest member of a model: a real replica with its disk, copied at every fork of the road."""

from collections.abc import Iterable, Sequence
from typing import Final, Self

from lockstep.primitives.messages import OwnWords
from lockstep.primitives.votes import VoteKind
from lockstep.replica.core import Core
from lockstep.replica.effects import (
    Alarm,
    BlockDecided,
    Broadcast,
    Effect,
    Notify,
    Penalise,
    Persist,
    Record,
    Send,
    TransactionsFinal,
)
from lockstep.replica.events import Event, OwnWordsReceived, Persisted, Started
from lockstep.replica.replica import Replica
from lockstep.sim.disk import Disk
from lockstep.sim.exhaustive.copying import Copier
from lockstep.sim.exhaustive.scenario import BYZANTINE, GENESIS_TIME_MS, VERIFIER, Scenario
from lockstep.sim.exhaustive.words import Kind, Lexicon, Word
from lockstep.sim.violation import Violation

_EQUIVOCATION: Final = "consensus.equivocation"


class OpenReplica(Replica):
    """A replica whose insides can be looked at."""

    @property
    def core(self) -> Core:
        """Return its core, to be read only."""
        return self._core


class Setting:
    """What all nodes of one seat share, and what copies of a node need not copy.

    Attributes:
        is_outvoted: Whether the Byzantine member has a third or more, so that alarms are due.
        is_exact: Whether a state says of every member whether it was counted.
        is_watched: Whether each word is held against the node's earlier ones; if not, only what
            becomes of a broken promise can show it.
    """

    def __init__(
        self,
        scenario: Scenario,
        lexicon: Lexicon,
        seat: int,
        *,
        is_outvoted: bool,
        is_exact: bool,
        is_watched: bool,
    ) -> None:
        """Set the stage for the honest member of this seat."""
        self.scenario = scenario
        self.lexicon = lexicon
        self.seat = seat
        self.is_outvoted = is_outvoted
        self.is_exact = is_exact
        self.is_watched = is_watched
        self.copier = Copier()


class Node:
    """A node at one moment of one history.

    Attributes:
        said: Words that ever left it, a mask over the lexicon.
        crashes: How often it has crashed.
    """

    __slots__ = ("crashes", "disk", "replica", "said", "setting")

    def __init__(self, setting: Setting) -> None:
        """Initialise the node's disk and start it."""
        self.setting = setting
        self.disk = Disk(setting.scenario.genesis)
        self.said = 0
        self.crashes = 0
        self.replica = self._boot()
        self._begin()

    @property
    def core(self) -> Core:
        """Return the core, to be read only."""
        return self.replica.core

    def freeze(self) -> bytes:
        """Return what a copy of the node as it is now can be made of."""
        return self.setting.copier.write((self.disk, self.replica, self.said, self.crashes))

    @classmethod
    def thaw(cls, setting: Setting, frozen: bytes) -> Self:
        """Return a node that goes its own way from where it was frozen."""
        node = object.__new__(cls)
        node.setting = setting
        node.disk, node.replica, node.said, node.crashes = setting.copier.read(frozen)
        return node

    def take(self, event: Event, *, late_ms: int = 0) -> None:
        """Let an event happen and carry out all that the replica asks for.

        Raises:
            Violation: If what it asks for breaks a promise.
        """
        self.carry_out(self.step(event, late_ms=late_ms))

    def step(self, event: Event, *, late_ms: int = 0) -> list[Effect]:
        """Let an event happen, and return what the replica asks for."""
        return self.replica.step(event, time_ms=GENESIS_TIME_MS + late_ms)

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the replica asks for, in its order; timers never fire in a model.

        Raises:
            Violation: If what it asks for breaks a promise.
        """
        records: list[Record] = []
        for effect in effects:
            if isinstance(effect, Persist):
                records.append(effect.record)
                continue
            if records:
                self._commit(records)
                records = []
            self._do(effect)
        if records:
            self._commit(records)

    def restart(self) -> None:
        """Crash, and come back from the disk.

        Raises:
            Violation: If it has forgotten what it called final.
        """
        core = self.core
        final = [txid for txid in self.setting.scenario.name_of if core.finality.is_final(txid)]
        # A crash ends every right to look at the old replica's overlay: the disk alone lasts.
        self.crashes += 1
        self.replica = self._boot()
        self._begin()
        for txid in final:
            if not self.core.finality.is_final(txid) and self.disk.height_of(txid) is None:
                name = self.setting.scenario.name_of[txid]
                raise Violation("finality", f"a node that came back forgot that {name} is final")

    def confirmed(self, epoch: int) -> set[str]:
        """Return the names it ever confirmed in an epoch."""
        words = self.setting.lexicon.words_in(self.said)
        return {
            name
            for word in words
            if word.kind is Kind.CONFIRM and word.epoch == epoch
            for name in word.names
        }

    def _boot(self) -> OpenReplica:
        disk, setting = self.disk, self.setting
        tip = disk.tip
        replica = OpenReplica(
            genesis=setting.scenario.genesis,
            state=disk.state,
            view=disk,
            signer=setting.scenario.signers[setting.seat],
            verifier=VERIFIER,
            tip_certificate=None if tip is None else tip.certificate,
            has_amnesia=disk.has_amnesia,
        )
        replica.recover(disk.journal(), tip, disk.deltas())
        return replica

    def _begin(self) -> None:
        """Start the replica; the others answer that they hold no word of its key [D3].

        What they say could only keep it silent for longer, so this is the worst they can do.
        """
        self.take(Started())
        state, question = self.core.state, self.core.silence.question
        words = OwnWords(question, state.height, state.epoch, 0, 1, (), (), (), ())
        for seat, peer in enumerate(self.setting.scenario.peers):
            if seat != self.setting.seat:
                self.take(OwnWordsReceived(peer, words))

    def _commit(self, records: Iterable[Record]) -> None:
        rows = list(records)
        self.disk.commit(rows)
        for record in rows:
            if isinstance(record, BlockDecided):
                self.step(Persisted(record.delta.height))

    def _do(self, effect: Effect) -> None:
        match effect:
            case Broadcast(message=message) | Send(message=message):
                number = self.setting.lexicon.read(self.setting.seat, message)
                if number is not None and not self.said >> number & 1:
                    if self.setting.is_watched:
                        self._check_word(self.setting.lexicon.words[number])
                    self.said |= 1 << number
            case Penalise(peer=peer, code=code):
                if peer != self.setting.scenario.peers[BYZANTINE]:
                    raise Violation("false blame", f"an honest member is blamed for {code}")
            case Notify(notice=TransactionsFinal() as notice):
                self._check_final(notice)
            case Notify(notice=Alarm(code=code, sentence=sentence)):
                self._check_alarm(code, sentence)
            case _:
                pass

    def _check_alarm(self, code: str, sentence: str) -> None:
        """Allow that the Byzantine member is found out, and nothing else.

        Where states are told apart by quorums alone, the node of a state may have counted members
        who are others than in the history at hand: then accusations mean nothing.
        """
        setting = self.setting
        if setting.is_outvoted:
            return
        if code == _EQUIVOCATION:
            culprit = setting.scenario.members[BYZANTINE].member_id.hex()
            if not setting.is_exact or culprit in sentence:
                return
        for txid, name in setting.scenario.name_of.items():
            sentence = sentence.replace(txid.hex(), name)
        raise Violation("alarm", f"{code}: {sentence}")

    def _check_word(self, word: Word) -> None:
        """Look whether a word contradicts what was said before it [F1, F3, T5, N4]."""
        scenario, lexicon = self.setting.scenario, self.setting.lexicon
        for other in lexicon.words_in(self.said):
            if other.epoch != word.epoch:
                continue
            if other.kind is Kind.FREEZE:
                raise Violation("frozen", f"it says {word} after its {other}")
            if other.kind is word.kind and any(
                not scenario.direct_rivals[name].isdisjoint(other.names) for name in word.names
            ):
                raise Violation("one promise", f"it says {word} after its {other}")
        if any(not scenario.direct_rivals[name].isdisjoint(word.names) for name in word.names):
            raise Violation("one promise", f"it says {word}")
        if word.kind is Kind.FREEZE:
            due = {
                name
                for name in self.confirmed(word.epoch)
                if self.core.overlay.height_of(scenario.payments[name].txid) is None
            }
            if due != set(word.names):
                raise Violation("FREEZE list", f"it says {word} where {sorted(due)} are due")

    def _check_final(self, notice: TransactionsFinal) -> None:
        """Recount the Confirms behind what is called final, by weight of members [F4]."""
        scenario = self.setting.scenario
        for txid in notice.txids:
            name = scenario.name_of[txid]
            batch_id = scenario.batches[name].batch_id
            seats = {
                scenario.seat_of[confirm.voter]
                for confirm in notice.confirms
                if confirm.kind is VoteKind.CONFIRM
                and confirm.epoch == notice.epoch
                and any(entry.batch_id == batch_id for entry in confirm.entries)
            }
            weight = sum(scenario.weights[seat] for seat in seats)
            if 3 * weight <= 2 * sum(scenario.weights):
                sentence = f"{name} is called final on Confirms of weight {weight}"
                raise Violation("quorum", sentence)
