"""What members say in a model: Votes, Confirms and FREEZEs by name, and the real messages of them.

A word is a message without its sender, so that words of honest members, which a node sees under
the seats it knows, and words of the Byzantine one are named alike. Sets of words are bit masks.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from msgspec import Struct

from lockstep.errors import Misuse
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.messages import Message
from lockstep.primitives.votes import (
    Entry,
    Freeze,
    Vote,
    VoteKind,
    make_freeze_digest,
    make_freeze_list_digest,
    make_vote_digest,
)
from lockstep.sim.exhaustive.scenario import SEATS, VERIFIER, Scenario
from lockstep.sim.violation import Violation


class Kind(IntEnum):
    """What a word is."""

    VOTE = 1
    CONFIRM = 2
    FREEZE = 3


class Word(Struct, frozen=True):
    """A message without its sender: kind, epoch and the payments it names."""

    kind: Kind
    epoch: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        """Say it as a step of a trace does."""
        names = " and ".join(self.names) or "nothing"
        return f"{self.kind.name.capitalize()} of {names} (epoch {self.epoch})"


_BIT: Final = bitmap_bytes(1, 1)


class Lexicon:
    """All words of a model, numbered as they come, and the messages that members make of them."""

    def __init__(self, scenario: Scenario) -> None:
        """Begin with no word known."""
        self.words: list[Word] = []
        self._scenario = scenario
        self._numbers: dict[Word, int] = {}
        self._messages: dict[tuple[int, int], Vote | Freeze] = {}

    def number(self, word: Word) -> int:
        """Return the bit that stands for a word."""
        found = self._numbers.get(word)
        if found is None:
            found = self._numbers[word] = len(self.words)
            self.words.append(word)
        return found

    def mask(self, words: Iterable[Word]) -> int:
        """Return the mask of some words."""
        found = 0
        for word in words:
            found |= 1 << self.number(word)
        return found

    def words_in(self, mask: int) -> list[Word]:
        """Return the words of a mask."""
        return [word for number, word in enumerate(self.words) if mask >> number & 1]

    def message(self, seat: int, number: int) -> Vote | Freeze:
        """Return the message by which the member of this seat says a word."""
        key = (seat, number)
        found = self._messages.get(key)
        if found is None:
            found = self._messages[key] = self._make(seat, self.words[number])
        return found

    def read(self, seat: int, message: Message) -> int | None:
        """Return the number of the word that a member's own message is; None for any other.

        Raises:
            Violation: If its signature is not the member's.
        """
        scenario = self._scenario
        member = scenario.members[seat]
        if not isinstance(message, Vote | Freeze) or message.voter != member.member_id:
            return None
        names = tuple(
            sorted(name for entry in message.entries for name in scenario.names_of[entry.batch_id])
        )
        if isinstance(message, Vote):
            word = Word(Kind(message.kind), message.epoch, names)
            digest = make_vote_digest(
                chain_id=scenario.chain_id,
                kind=message.kind,
                epoch=message.epoch,
                entries=message.entries,
            )
        else:
            word = Word(Kind.FREEZE, message.epoch, names)
            digest = make_freeze_digest(
                chain_id=scenario.chain_id, epoch=message.epoch, digest=message.digest
            )
            listed = make_freeze_list_digest(scenario.payments[name].txid for name in names)
            if listed != message.digest:
                raise Violation("FREEZE list", f"{word} hashes to another list")
        if not all(VERIFIER.verify_many([(member.voting_key, digest, message.signature)])):
            raise Violation("signature", f"{word} is not signed by who says it")
        return self.number(word)

    def _make(self, seat: int, word: Word) -> Vote | Freeze:
        scenario = self._scenario
        member, signer = scenario.members[seat], scenario.signers[seat]
        rows = tuple(Entry(scenario.batches[name].batch_id, _BIT) for name in word.names)
        if word.kind is Kind.FREEZE:
            return make_freeze(scenario, seat, word.epoch, word.names)
        kind = VoteKind(word.kind)
        digest = make_vote_digest(
            chain_id=scenario.chain_id, kind=kind, epoch=word.epoch, entries=rows
        )
        return Vote(kind, word.epoch, member.member_id, rows, signer.sign(digest))


def make_freeze(scenario: Scenario, seat: int, epoch: int, names: tuple[str, ...]) -> Freeze:
    """Return the FREEZE of a member with this list."""
    if not 0 <= seat < SEATS:
        raise Misuse("there is no such seat")
    digest = make_freeze_list_digest(scenario.payments[name].txid for name in names)
    signed = make_freeze_digest(chain_id=scenario.chain_id, epoch=epoch, digest=digest)
    rows = tuple(Entry(scenario.batches[name].batch_id, _BIT) for name in names)
    signature = scenario.signers[seat].sign(signed)
    return Freeze(epoch, scenario.members[seat].member_id, rows, digest, signature)
