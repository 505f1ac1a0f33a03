"""Claim: memory is stable, whatever is said.

One of four members is a liar. It floods a member with words that nobody will ever need, of four
kinds in turn: Votes on batches that do not exist, Votes of the next epoch, ballots of rounds far
ahead, and ballots of the next height. After a warm-up every sample feeds 1,000 more, in new words
each time; and then a payment, which the honest three make final in spite of it.

The naive variant keeps what it is told, as the predecessor did: votes in a map by epoch, batch and
voter, ballots in a map by height and round, for whoever may need them later. It counts quorums and
promises what the honest ask for, and forgets nothing before its time.

Ours is the whole `Replica`, with its bounds: the tallies, the votes on unknown batches, the early
messages, the rounds ahead, the batches to ask for.

Measured: how much more memory is held after 10,000 messages more, as a share of what was held after
the warm-up; by `tracemalloc`, between collections of garbage, without what the payments hold.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from typing import Final, Protocol

from lockstep.bench.claims.contest import Claim, Contest, Rule, Sample
from lockstep.bench.claims.played_network import PlayedNetwork
from lockstep.errors import Misuse
from lockstep.ledger.state import initial_state
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.block import Ballot, BallotKind
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import genesis_committee
from lockstep.primitives.messages import GetOwnWords
from lockstep.primitives.votes import Entry, Vote, VoteKind
from lockstep.replica.effects import Broadcast, Effect, Notify, Send, SetTimer, TransactionsFinal
from lockstep.replica.events import (
    BallotsReceived,
    BatchReceived,
    Event,
    Timer,
    TimerFired,
    TimerKind,
    VotesReceived,
)
from lockstep.sim.disk import Disk

SHARE_MAX: Final = 0.01
WARM_UP: Final = 12_000
"""Messages before anything counts; every bound is full after 8,000, a quarter of each kind."""
PER: Final = 10_000
"""Messages that the growth is told for."""
HEARD_A_TICK: Final = 100
TICK_MS: Final = 200
"""So much time passes for the replica with so many messages; what it fetches is given up by it."""
BATCHES: Final = 64
"""Payments there are, one a sample; with more samples they are handed in again."""


class Listener(Protocol):
    """A member that is talked to."""

    def take(self, event: Event) -> list[bytes]:
        """Hear an event; return the payments that are final by it."""
        ...


class OurMember:
    """The replica; its disk forgets, and time passes for it by the messages it hears."""

    def __init__(self, network: PlayedNetwork) -> None:
        """Start it and let it hear that it may vote."""
        self._network = network
        self._replica = network.make_replica(
            initial_state(network.genesis), Disk(network.genesis), has_amnesia=False
        )
        self._time_ms = network.genesis.time_ms
        self._heard = 0
        self._fetch_timer: Timer | None = None
        for event in network.beginning():
            self.take(event)

    def take(self, event: Event) -> list[bytes]:
        """Step, and step again with what the honest peers answer."""
        final: list[bytes] = []
        waiting = [event]
        self._heard += 1
        if self._heard % HEARD_A_TICK == 0 and self._fetch_timer is not None:
            waiting.append(TimerFired(self._fetch_timer))
            self._time_ms += TICK_MS
            self._fetch_timer = None
        while waiting:
            for effect in self._replica.step(waiting.pop(0), time_ms=self._time_ms):
                waiting += self._carry_out(effect, final)
        return final

    def _carry_out(self, effect: Effect, final: list[bytes]) -> Iterable[Event]:
        match effect:
            case Broadcast(message=message):
                return self._network.answers(message)
            case Send(peer=peer, message=GetOwnWords() as message):
                answer = self._network.answer_to(peer, message)
                return () if answer is None else (answer,)
            case SetTimer(timer=timer) if timer.kind is TimerKind.FETCH:
                self._fetch_timer = timer
            case Notify(notice=TransactionsFinal(txids=txids)):
                final += txids
            case _:
                pass
        return ()


class Hoarder:
    """The naive member: maps of all that was said."""

    def __init__(self, network: PlayedNetwork) -> None:
        """Begin with nothing heard."""
        self._network = network
        self._committee: Committee = genesis_committee(network.genesis)
        self._votes: dict[tuple[int, bytes, VoteKind], dict[bytes, Vote]] = {}
        self._ballots: dict[tuple[int, int], dict[bytes, list[Ballot]]] = {}
        self._batches: dict[bytes, tuple[bytes, ...]] = {}
        self._final: set[bytes] = set()

    def take(self, event: Event) -> list[bytes]:
        """Keep what is said; ask for and count quorums of payments."""
        match event:
            case BatchReceived(batch=batch):
                self._batches[batch.batch_id] = batch.txids
                return self._speak(batch.batch_id, VoteKind.VOTE)
            case VotesReceived(votes=votes):
                return [txid for vote in votes for txid in self._count(vote)]
            case BallotsReceived(ballots=ballots):
                for ballot in ballots:
                    place = self._ballots.setdefault((ballot.height, ballot.round), {})
                    place.setdefault(ballot.voter, []).append(ballot)
        return []

    def _speak(self, batch_id: bytes, kind: VoteKind) -> list[bytes]:
        """Say our own word and hear what the others answer."""
        bitmap = bitmap_bytes(1, len(self._batches[batch_id]))
        own = self._network.own_word(kind, Entry(batch_id, bitmap))
        final = self._count(own)
        for event in self._network.answers(own):
            final += self.take(event)
        return final

    def _count(self, vote: Vote) -> list[bytes]:
        final: list[bytes] = []
        for entry in vote.entries:
            held = self._votes.setdefault((vote.epoch, entry.batch_id, vote.kind), {})
            held[vote.voter] = vote
            if entry.batch_id not in self._batches or vote.epoch:
                continue
            if self._committee.weight_of_ids(held) < self._committee.quorum:
                continue
            if vote.kind is VoteKind.CONFIRM and entry.batch_id not in self._final:
                self._final.add(entry.batch_id)
                final += self._batches[entry.batch_id]
            own = self._network.own_id
            confirms = self._votes.get((vote.epoch, entry.batch_id, VoteKind.CONFIRM), {})
            if vote.kind is VoteKind.VOTE and own not in confirms:
                final += self._speak(entry.batch_id, VoteKind.CONFIRM)
        return final


class Liar:
    """Says things nobody needs, never the same twice."""

    def __init__(self, network: PlayedNetwork) -> None:
        """Be the last member."""
        self._peer, self._id = network.last_peer

    def say(self, number: int) -> Event:
        """Return lie `number`."""
        word = sha256(b"lie %d" % number).digest()
        kind = VoteKind.VOTE if number & 4 else VoteKind.CONFIRM
        entry = Entry(word, b"\x01")
        match number % 4:
            case 0:
                return VotesReceived(self._peer, (Vote(kind, 0, self._id, (entry,), word * 2),))
            case 1:
                return VotesReceived(self._peer, (Vote(kind, 1, self._id, (entry,), word * 2),))
            case 2:
                round_number = 2 + number
                ballot = Ballot(BallotKind.PREVOTE, 1, round_number, word, 0, self._id, word * 2)
                return BallotsReceived(self._peer, (ballot,))
            case _:
                ballot = Ballot(BallotKind.PREVOTE, 2, number, word, 0, self._id, word * 2)
                return BallotsReceived(self._peer, (ballot,))


class Flooded:
    """A member, what it was told, and what it held after the warm-up."""

    def __init__(self, network: PlayedNetwork, make: Callable[[PlayedNetwork], Listener]) -> None:
        """Warm it up."""
        before = _held_bytes()
        self._network = network
        self._member = make(network)
        self._liar = Liar(network)
        self._said = 0
        self._paid = 0
        self.flood(WARM_UP)
        self._held = _held_bytes() - before

    def flood(self, messages: int) -> None:
        """Tell the member so many lies."""
        for number in range(self._said, self._said + messages):
            if self._member.take(self._liar.say(number)):
                raise Misuse("a lie made a payment final")
        self._said += messages

    def sample(self, messages: int) -> Sample:
        """Flood the member and measure how it grew; then have a payment made final."""
        before = _held_bytes()
        wall, cpu = time.perf_counter(), time.process_time()
        self.flood(messages)
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
        grown = (_held_bytes() - before) * PER / messages
        final = self._member.take(self._network.submit(self._paid % BATCHES))
        self._paid += 1
        return Sample(messages, cpu_s, wall_s, final, value=grown / self._held)


def _held_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def prepare(size: int) -> Contest:
    """Make a contest in which each sample is a flood of `size` messages."""
    network = PlayedNetwork(batches=BATCHES, payments=1, answering=2)
    tracemalloc.start()
    naive, ours = Flooded(network, Hoarder), Flooded(network, OurMember)
    return Contest(
        naive=partial(naive.sample, size), ours=partial(ours.sample, size), close=tracemalloc.stop
    )


CLAIM: Final = Claim(
    name="memory",
    claimed=SHARE_MAX,
    unit="growth by 10,000 messages more, as a share of what is held",
    what="a member told 10,000 things more that nobody needs, by one liar of four: all kept, "
    "against the bounds of the replica",
    why_missed="",
    size=1_000,
    prepare=prepare,
    rule=Rule.SHARE,
)
