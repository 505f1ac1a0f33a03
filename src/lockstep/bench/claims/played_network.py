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
from lockstep.ledger.coins import CoinView
from lockstep.ledger.state import ChainState
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

    def __init__(self, *, batches: int, payments: int, answering: int = MEMBERS - 1) -> None:
        """Make and sign `batches` batches of `payments` each, and what `answering` peers say."""
        self._key = make_key("member", OWN)
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
                VotesReceived(
                    _node_key(peer), (self._sign(peer, kind, Entry(batch.batch_id, bitmap)),)
                )
                for peer in _peers()[:answering]
            ]
            for batch in self.batches
            for kind in VoteKind
        }

    @property
    def own_id(self) -> bytes:
        """Return the member's id."""
        return make_member_id(self._key.public_key)

    @property
    def last_peer(self) -> tuple[bytes, bytes]:
        """Return node key and member id of the last peer."""
        return _node_key(MEMBERS - 1), make_member_id(make_key("member", MEMBERS - 1).public_key)

    def _sign(self, member: int, kind: VoteKind, entry: Entry) -> Vote:
        key = make_key("member", member)
        chain_id = self.genesis.chain_id
        digest = make_vote_digest(chain_id=chain_id, kind=kind, epoch=0, entries=(entry,))
        return Vote(kind, 0, make_member_id(key.public_key), (entry,), key.sign(digest))

    def open_store(self, directory: Path) -> Store:
        """Make the member's chain in a fresh directory and open it."""
        public_key = self._key.public_key
        directory.mkdir()
        Store.create(directory, self.genesis, voting_key=public_key)
        return Store.open(directory, self.genesis, voting_key=public_key)

    def make_replica(self, state: ChainState, view: CoinView, *, has_amnesia: bool) -> Replica:
        """Return the member's core over a chain and its coins, as a node builds it."""
        return Replica(
            genesis=self.genesis,
            state=state,
            view=view,
            signer=self._key,
            verifier=SodiumVerifier(),
            tip_certificate=None,
            has_amnesia=has_amnesia,
        )

    def own_word(self, kind: VoteKind, entry: Entry) -> Vote:
        """Return the member's own Vote or Confirm."""
        return self._sign(OWN, kind, entry)

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


class Timeless:
    """The core of a node whose clock stands still."""

    def __init__(self, replica: Replica) -> None:
        """Take the replica."""
        self._replica = replica

    def step(self, event: Event, *, time_ms: int, is_gathering: bool = False) -> list[Effect]:
        """Handle one event; return the effects but those that ask for time."""
        effects = self._replica.step(event, time_ms=time_ms, is_gathering=is_gathering)
        return [effect for effect in effects if not isinstance(effect, SetTimer)]

    def speak(self, *, time_ms: int) -> list[Effect]:
        """Say what was promised while gathering."""
        return self._replica.speak(time_ms=time_ms)


def _peers() -> range:
    return range(OWN + 1, MEMBERS)


def _node_key(peer: int) -> bytes:
    return make_key("node", peer).public_key
