"""The words of one key: those we hold of a member's, and those of ours the journal lacks [D3]."""

from collections.abc import Iterable

from lockstep.primitives import codec
from lockstep.primitives.bitmap import MalformedBitmap, iterate_bits, parse_bitmap
from lockstep.primitives.block import Ballot, Proposal
from lockstep.primitives.messages import (
    OWN_WORDS_A_PAGE_MAX,
    OWN_WORDS_PAGES_MAX,
    GetOwnWords,
    OwnWords,
)
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica.core import Core
from lockstep.replica.events import (
    BallotsReceived,
    Event,
    FreezeReceived,
    OwnWordsReceived,
    ProposalReceived,
    VotesReceived,
)

Word = Vote | Freeze | Proposal | Ballot
Lacking = tuple[int, str]
"""The epoch of a word of our key that the journal lacks, and what it is."""

ANSWER_PAUSE_MS = 100
"""A peer that asks again sooner is not answered: an answer may be large."""


def answer(core: Core, peer: bytes, request: GetOwnWords) -> None:
    """Tell a member what we hold of its key, whether or not we may sign ourselves [D3].

    All nodes may have started at once, so nobody waits with this for its own answers.
    """
    member = core.member_of_node(peer)
    last_ms = core.served.get(peer)
    if member is None or (last_ms is not None and 0 <= core.time_ms - last_ms < ANSWER_PAUSE_MS):
        return
    core.served[peer] = core.time_ms
    for page in _pages(core, _collect(core, member.member_id), request.question):
        core.send(peer, page)


def find_lacking(core: Core, event: Event) -> Lacking | None:
    """Return a word of our key in the event that the journal lacks, None where there is none.

    Words are compared by what they say: Votes may be regrouped, and a signature over the same says
    no more. Of ballots the time counts as well, because what was sent is repeated byte for byte
    [D2]: another time is another life's.
    """
    match event:
        case VotesReceived(votes=votes):
            return _first(core, votes)
        case FreezeReceived(freeze=freeze):
            return _first(core, (freeze,))
        case BallotsReceived(ballots=ballots):
            return _first(core, ballots)
        case ProposalReceived(message=message):
            return _first(core, (message.proposal, *message.polc))
        case OwnWordsReceived(words=words):
            return _first(core, (*words.votes, *words.freezes, *words.proposals, *words.ballots))
        case _:
            return None


def _first(core: Core, words: Iterable[Word]) -> Lacking | None:
    found: Lacking | None = None
    for word in words:
        match word:
            case Vote(voter=core.own_id):
                found = _lacks_vote(core, word)
            case Freeze(voter=core.own_id):
                found = _lacks_freeze(core, word)
            case Proposal(proposer=core.own_id) | Ballot(voter=core.own_id):
                found = _lacks_of_height(core, word)
            case _:
                continue
        if found is not None:
            break
    return found


def _lacks_vote(core: Core, vote: Vote) -> Lacking | None:
    """A batch that is not held is lacking too: its body is durable before the Vote [2.6]."""
    if vote.epoch < core.state.epoch:
        return None
    is_known = vote.epoch == core.state.epoch and all(
        _has_said(core, vote.kind, entry.batch_id, entry.bitmap) for entry in vote.entries
    )
    return None if is_known else (vote.epoch, f"a {vote.kind.name.lower()} of epoch {vote.epoch}")


def _has_said(core: Core, kind: VoteKind, batch_id: bytes, bitmap: bytes) -> bool:
    tally = core.finality.batches.get(batch_id)
    if tally is None:
        return False
    try:
        bits = parse_bitmap(bitmap, len(tally.txids))
    except MalformedBitmap:
        return False
    if not bits & tally.alias_bits:
        return not bits & ~(tally.own_voted if kind is VoteKind.VOTE else tally.own_confirmed)
    for position in iterate_bits(bits):
        home, place = core.finality.place_of(tally.txids[position])
        said = home.own_voted if kind is VoteKind.VOTE else home.own_confirmed
        if not said >> place & 1:
            return False
    return True


def _lacks_freeze(core: Core, freeze: Freeze) -> Lacking | None:
    if freeze.epoch < core.state.epoch:
        return None
    own = core.own_freeze
    is_known = own is not None and (own.epoch, own.digest) == (freeze.epoch, freeze.digest)
    return None if is_known else (freeze.epoch, f"a FREEZE of epoch {freeze.epoch}")


def _lacks_of_height(core: Core, word: Proposal | Ballot) -> Lacking | None:
    height = core.height
    if word.height < height.height:
        return None
    if isinstance(word, Proposal):
        name = "proposal"
        known: Proposal | Ballot | None = height.own_proposals.get(word.round)
    else:
        name = word.kind.name.lower()
        known = height.own_ballots.get((word.round, word.kind))
    if word.height == height.height and known == word:
        return None
    epoch = (word.height - 1) // core.genesis.closing_every
    return epoch, f"a {name} of height {word.height}, round {word.round}"


def _collect(core: Core, member_id: bytes) -> list[Word]:
    """Return all words held of a member, of our epoch and undecided height or later."""
    words: dict[bytes, Word] = {}
    votes = [*core.finality.messages_of(member_id), *core.early.kept_votes()]
    words.update((vote.signature, vote) for vote in votes if vote.voter == member_id)
    freezes = [copy.freeze for copy in core.height.freezes.get(member_id, ())]
    ballots: list[Ballot] = []
    proposals = [p for c in core.height.candidates.values() for p in c.proposals]
    if core.height.driver is not None:
        ballots.extend(core.height.driver.votes.votes_of(member_id))
        proposals.extend(core.height.driver.proposals_of(member_id))
    for event in core.early.kept_events():
        match event:
            case FreezeReceived(freeze=freeze):
                freezes.append(freeze)
            case BallotsReceived(ballots=early):
                ballots.extend(early)
            case ProposalReceived(message=message):
                proposals.append(message.proposal)
                ballots.extend(message.polc)
    for freeze in freezes:
        if freeze.voter == member_id:
            # The list is not what is signed, and may be another's invention.
            bare = Freeze(freeze.epoch, freeze.voter, (), freeze.digest, freeze.signature)
            words[freeze.signature] = bare
    words.update((ballot.signature, ballot) for ballot in ballots if ballot.voter == member_id)
    words.update((p.signature, p) for p in proposals if p.proposer == member_id)
    return list(words.values())


def _pages(core: Core, words: list[Word], question: int) -> list[OwnWords]:
    """Return the words as pages; there is always one, for an empty answer is one."""
    groups: list[list[Word]] = [[]]
    size_bytes = 0
    for word in words:
        word_bytes = len(codec.encode(word))
        is_full = size_bytes + word_bytes > PAGE_BYTES_MAX
        if groups[-1] and (is_full or len(groups[-1]) >= OWN_WORDS_A_PAGE_MAX):
            groups.append([])
            size_bytes = 0
        groups[-1].append(word)
        size_bytes += word_bytes
    del groups[OWN_WORDS_PAGES_MAX:]
    return [
        OwnWords(
            question=question,
            height=core.state.height,
            epoch=core.state.epoch,
            page=number,
            pages=len(groups),
            votes=tuple(word for word in group if isinstance(word, Vote)),
            freezes=tuple(word for word in group if isinstance(word, Freeze)),
            proposals=tuple(word for word in group if isinstance(word, Proposal)),
            ballots=tuple(word for word in group if isinstance(word, Ballot)),
        )
        for number, group in enumerate(groups)
    ]
