"""A member whose three peers are played: a real replica over a real store, answered at once.

The peers say what honest members say, and nothing they say depends on how the member is driven:
they answer its question about its own words, its Votes by theirs, and its Confirms by theirs, all
signed beforehand. Blocks do not come, because nobody's clock runs: timers are not set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lockstep.bench.made_payments import PaymentMaker, make_genesis, make_key
from lockstep.crypto.keys import SodiumVerifier
from lockstep.node.backends import choose_backend
from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.committee import make_member_id
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import GetOwnWords, Message, OwnWords
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.primitives.votes import Entry, Vote, VoteKind, make_vote_digest
from lockstep.replica.effects import Effect, SetTimer
from lockstep.replica.events import (
    BatchReceived,
    Event,
    OwnWordsReceived,
    PeerConnected,
    Started,
    VotesReceived,
)
from lockstep.replica.ingress import prepare_batch
from lockstep.replica.replica import Replica
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store

MEMBERS: Final = 4
OWN: Final = 0


class PlayedNetwork:
    """Payments in batches of one size, and what the three peers say of each.

    Attributes:
        genesis: The chain's beginning.
        batches: Judged batches that spend the coins of genesis.
        payments: How many there are in all.
    """

    def __init__(self, *, batches: int, payments: int) -> None:
        """Make and sign `batches` batches of `payments` each, and all words of the peers."""
        self.payments = batches * payments
        self.genesis: Genesis = make_genesis([1] * MEMBERS, coins=batches * payments)
        maker = PaymentMaker(self.genesis)
        verifier = choose_backend("auto").verifier
        self.batches: list[VerifiedBatch] = [
            prepare_batch(
                maker.make_body(number * payments, payments),
                chain_id=self.genesis.chain_id,
                verifier=verifier,
            )
            for number in range(batches)
        ]
        bitmap = bitmap_bytes((1 << payments) - 1, payments)
        self._words: dict[tuple[bytes, VoteKind], list[Event]] = {
            (batch.batch_id, kind): [
                self._sign(peer, kind, Entry(batch.batch_id, bitmap)) for peer in _peers()
            ]
            for batch in self.batches
            for kind in VoteKind
        }

    def _sign(self, peer: int, kind: VoteKind, entry: Entry) -> Event:
        key = make_key("member", peer)
        digest = make_vote_digest(
            chain_id=self.genesis.chain_id, kind=kind, epoch=0, entries=(entry,)
        )
        voter = make_member_id(key.public_key)
        vote = Vote(kind, 0, voter, (entry,), key.sign(digest))
        return VotesReceived(_node_key(peer), (vote,))

    def open_store(self, directory: Path) -> Store:
        """Make the member's chain in a fresh directory and open it."""
        public_key = make_key("member", OWN).public_key
        directory.mkdir()
        Store.create(directory, self.genesis, voting_key=public_key)
        return Store.open(directory, self.genesis, voting_key=public_key)

    def make_member(self, store: Store, readers: Readers) -> "Member":
        """Return the member, built over its store as a node builds it."""
        return Member(
            Replica(
                genesis=self.genesis,
                state=store.load_state(),
                view=readers,
                signer=make_key("member", OWN),
                verifier=SodiumVerifier(),
                tip_certificate=None,
                has_amnesia=store.has_amnesia,
            )
        )

    def beginning(self) -> list[Event]:
        """Return what happens first: the start, and three peers that connect."""
        return [Started(), *(PeerConnected(_node_key(peer)) for peer in _peers())]

    def submit(self, number: int) -> Event:
        """Return the event by which the member's own people hand in a batch."""
        return BatchReceived(None, self.batches[number])

    def answers(self, message: Message) -> Sequence[Event]:
        """Return what the peers say to a broadcast."""
        if not isinstance(message, Vote):
            return ()
        return [
            word for entry in message.entries for word in self._words[entry.batch_id, message.kind]
        ]

    def answer_to(self, peer: bytes, message: Message) -> Event | None:
        """Return what a peer says to what it is sent: that it holds no words of the member."""
        if not isinstance(message, GetOwnWords):
            return None
        return OwnWordsReceived(peer, OwnWords(message.question, 0, 0, 0, 1, (), (), (), ()))


class Member:
    """The core of a node without a clock."""

    def __init__(self, replica: Replica) -> None:
        """Take the replica."""
        self._replica = replica

    def step(self, event: Event, *, time_ms: int) -> list[Effect]:
        """Handle one event; return the effects but those that ask for time."""
        effects = self._replica.step(event, time_ms=time_ms)
        return [effect for effect in effects if not isinstance(effect, SetTimer)]


def _peers() -> range:
    return range(OWN + 1, MEMBERS)


def _node_key(peer: int) -> bytes:
    return make_key("node", peer).public_key
