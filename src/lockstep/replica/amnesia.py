"""Amnesia: nothing is signed before it is known what the key has signed [D3].

On every start a member asks the others for its own words of the epoch, and is silent until answers
of quorum weight have come, itself included. If one of them, or the chain, or any message that
passes by, shows a word of its key that the journal lacks, the journal is not the key's: the node is
silent until an epoch that provably began later, and asks again before it signs in that.

Which epoch that is. Let members of quorum weight, this node among them, be in epoch c after the
question. For epoch c+2 to have begun before, a quorum would have had to be at the end of c+1; the
two quorums share an honest member, unless those who lie and this node together weigh a third or
more. So whatever an earlier life signed, it signed in c+1 or below, and c+2 is safe.
"""

from typing import Final

from lockstep.errors import Rejected
from lockstep.primitives.block import Ballot, BallotKind, CommitCertificate
from lockstep.primitives.messages import GetOwnWords
from lockstep.primitives.params import RESEND_MS
from lockstep.replica.core import Core
from lockstep.replica.effects import Alarm, AmnesiaEnded, AmnesiaNoted, VotingChanged
from lockstep.replica.events import Event, OwnWordsReceived, TimerKind
from lockstep.replica.ownwords import find_lacking

FOUND: Final = "amnesia.found"


class ForeignWords(Rejected):
    """An answer to our question holds words of another key."""

    code = "amnesia.foreign"


def begin(core: Core) -> None:
    """Ask on the start of the replica, if this node has a vote [D3]."""
    open_question(core)


def open_question(core: Core) -> None:
    """Ask all members anew, unless the silence lasts for longer than this epoch anyway."""
    silence = core.silence
    is_over = silence.last_epoch is None or core.state.epoch > silence.last_epoch
    silence.is_asking = False
    if not is_over or not core.is_member:
        return
    silence.ask(core.time_ms)
    repeat_question(core)


def repeat_question(core: Core) -> None:
    """Ask those members whose answer does not count yet, now and again after a pause."""
    silence = core.silence
    if not silence.is_asking:
        return
    counted = silence.counted(core.state.epoch, core.state.height)
    for member in core.committee.members:
        if member.member_id not in counted:
            ask(core, member.node_key)
    core.set_timer(TimerKind.QUESTION, RESEND_MS)


def ask(core: Core, peer: bytes) -> None:
    """Ask one peer, if it is connected and a member and we wait for answers."""
    silence = core.silence
    if silence.is_asking and peer in core.peers and core.member_of_node(peer) is not None:
        core.send(peer, GetOwnWords(silence.question))


def on_words(core: Core, event: OwnWordsReceived) -> None:
    """Count a page of an answer; what it shows was heard like any other word of our key.

    Raises:
        ForeignWords: If it holds words of another key.
        ContradictoryPages: If it does not fit the answer's other pages.
    """
    words, silence = event.words, core.silence
    member = core.member_of_node(event.peer)
    if not silence.is_asking or words.question != silence.question or member is None:
        return
    signers = [vote.voter for vote in words.votes]
    signers += [freeze.voter for freeze in words.freezes]
    signers += [proposal.proposer for proposal in words.proposals]
    signers += [ballot.voter for ballot in words.ballots]
    if any(signer != core.own_id for signer in signers):
        raise ForeignWords("an answer on what our key has signed holds words of another key")
    silence.take(member.member_id, words)


def hear(core: Core, event: Event) -> None:
    """See whether a message that came shows a word of our key that the journal lacks [D3]."""
    if core.own_id is None:
        return
    lacking = find_lacking(core, event)
    if lacking is not None:
        note(core, *lacking)


def check_certificates(
    core: Core, certificate: CommitCertificate, previous: CommitCertificate | None
) -> None:
    """See whether a decided block shows a precommit of our key that the journal lacks [D3].

    Called before the block is applied. A precommit of a height that was decided when this life
    began proves nothing: the journal drops the rounds of a height with its decision.
    """
    if core.own_id is None:
        return
    _check_certificate(core, certificate, core.height.own_ballots)
    if previous is not None and core.ballots_below is not None:
        _check_certificate(core, previous, core.ballots_below)


def _check_certificate(
    core: Core, certificate: CommitCertificate, known: dict[tuple[int, BallotKind], Ballot]
) -> None:
    ballot = known.get((certificate.round, BallotKind.PRECOMMIT))
    said = None if ballot is None else (ballot.block_id, ballot.time_ms)
    if any(
        signature.voter == core.own_id and said != (certificate.block_id, signature.time_ms)
        for signature in certificate.signatures
    ):
        epoch = (certificate.height - 1) // core.genesis.closing_every
        note(core, epoch, f"a precommit of height {certificate.height} in the chain")


def note(core: Core, epoch: int, word: str) -> None:
    """Fall silent: the journal lacks a word of our key, which is of this epoch [D3]."""
    silence = core.silence
    if silence.has_amnesia and (silence.last_epoch is None or epoch <= silence.last_epoch):
        silence.shown_epoch = max(silence.shown_epoch, epoch)
        return
    was_asking = silence.is_asking
    silence.recall(None)
    silence.shown_epoch = epoch
    silence.is_lifted = False
    core.persist(AmnesiaNoted(None))
    core.notify(
        Alarm(
            FOUND,
            f"the voting key of this node has signed {word} that its journal lacks; it signs "
            "nothing until a later epoch. See that no second machine runs with this key",
        )
    )
    if not was_asking:
        open_question(core)


def enter_epoch(core: Core) -> None:
    """Ask about the epoch that has begun, if this node may sign in it and does not know yet."""
    silence = core.silence
    if silence.is_lifted or not core.is_member:
        return
    if not silence.is_asking:
        open_question(core)
    else:
        repeat_question(core)


def settle(core: Core) -> bool:
    """End the wait if answers of quorum weight have come; tell whether the node may now sign."""
    silence = core.silence
    if not silence.is_asking or core.own_id is None:
        return False
    epoch = core.state.epoch
    if core.committee.weight_of_ids(known_by(core)) < core.committee.quorum:
        return False
    silence.is_asking = False
    if silence.has_amnesia and silence.last_epoch is None:
        last = silence.last_epoch = max(epoch + 1, silence.shown_epoch)
        core.persist(AmnesiaNoted(last))
        sentence = f"this node signs nothing before epoch {last + 1}; leave it running"
        core.notify(VotingChanged(is_voting=False, sentence=sentence))
        return False
    if silence.has_amnesia:
        silence.forget()
        core.persist(AmnesiaEnded())
    silence.is_lifted = True
    sentence = f"the others know nothing of this key that the journal lacks in epoch {epoch}"
    core.notify(VotingChanged(is_voting=True, sentence=sentence))
    return True


def known_by(core: Core) -> list[bytes]:
    """Return the members whose knowledge of our key is in our hands, ourselves included."""
    counted = core.silence.counted(core.state.epoch, core.state.height)
    return [*counted, *(() if core.own_id is None else (core.own_id,))]
