"""Accusations that are false: honest words as halves, forged halves, halves that agree [N4]."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from lockstep.primitives.block import Ballot
from lockstep.primitives.evidence import (
    ConflictingBallots,
    ConflictingFreezes,
    Evidence,
    SignedDigest,
    SignedValue,
    make_conflicting_ballots,
    make_conflicting_freezes,
)
from lockstep.primitives.messages import EvidenceFound, Message
from lockstep.primitives.votes import Freeze
from lockstep.replica.core import Core
from lockstep.sim.masks.mask import Mask, Stage, is_word_of

REMEMBERED_MAX: Final = 200


class FalseEvidence(Mask):
    """Accuses honest members with what it heard of them, and passes its own sins on spoilt."""

    name = "false_evidence"

    def __init__(self, stage: Stage) -> None:
        """Have heard nobody yet."""
        super().__init__(stage)
        self._ballots: deque[Ballot] = deque(maxlen=REMEMBERED_MAX)
        self._freezes: deque[Freeze] = deque(maxlen=REMEMBERED_MAX)

    def on_arriving(self, peer: int, message: Message) -> bool:
        """Remember the words of others."""
        if isinstance(message, Ballot):
            self._ballots.append(message)
        elif isinstance(message, Freeze):
            self._freezes.append(message)
        return True

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Spoil the true evidence that its core passes on."""
        if not isinstance(message, EvidenceFound):
            return (message,)
        self.did()
        epoch = message.evidence.epoch + self.stage.dice.choice((-1, 1))
        return (EvidenceFound(replace(message.evidence, epoch=max(0, epoch))),)

    def on_tick(self) -> None:
        """Accuse an honest member."""
        core = self.stage.core
        if core is None or not self._ballots:
            return
        evidence = self._accusation(core)
        self.did()
        self.stage.say(self.stage.dice.choice(self.stage.peers()), EvidenceFound(evidence))

    def _accusation(self, core: Core) -> Evidence:
        dice, every = self.stage.dice, core.genesis.closing_every
        ballot = dice.choice(self._ballots)
        epoch = (ballot.height - 1) // every
        if self._freezes and not dice.randrange(3):
            return self._freeze_accusation(dice.choice(self._freezes))
        others = [b for b in self._ballots if b.voter == ballot.voter and b is not ballot]
        match dice.randrange(4):
            case 0 if others:
                # Two true words that stand in different places.
                return make_conflicting_ballots(ballot, dice.choice(others), epoch=epoch)
            case 1:
                # The same word twice.
                return make_conflicting_ballots(ballot, ballot, epoch=epoch)
            case 2:
                # Another member's word as the second half.
                stranger = dice.choice(self._ballots)
                return make_conflicting_ballots(
                    ballot, replace(stranger, voter=ballot.voter), epoch=epoch
                )
            case _:
                # A word that nobody signed.
                forged = SignedValue(dice.randbytes(32), ballot.time_ms, dice.randbytes(64))
                true = SignedValue(ballot.block_id, ballot.time_ms, ballot.signature)
                place = (ballot.kind, ballot.height, ballot.round)
                return ConflictingBallots(ballot.voter, epoch, *place, true, forged)

    def _freeze_accusation(self, freeze: Freeze) -> Evidence:
        """Put a true FREEZE beside a forged one, or beside one that the liar signed itself."""
        dice = self.stage.dice
        own = self.stage.voice.freeze(freeze.epoch, (), (dice.randbytes(32),))
        true = SignedDigest(freeze.digest, freeze.signature)
        if is_word_of(self.stage.voice.member_id, freeze) or dice.random() < 0.5:
            forged = SignedDigest(dice.randbytes(32), dice.randbytes(64))
            return ConflictingFreezes(freeze.voter, freeze.epoch, true, forged)
        second = SignedDigest(own.digest, own.signature)
        return make_conflicting_freezes(
            member=freeze.voter, epoch=freeze.epoch, words=(true, second)
        )
