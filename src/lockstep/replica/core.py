"""The parts of a replica and the list of effects of the step under way.

The paths (transactions, heights, closing, catch-up) are modules of functions over this object. It
decides nothing; it owns the containers, so that all of a replica's state is found in one place.
"""

from collections import deque
from typing import Any

from lockstep.consensus.finality import Progress, Reached, TransactionFinality
from lockstep.consensus.rivals import Conflict
from lockstep.crypto.keys import Signer, Verifier
from lockstep.errors import Misuse
from lockstep.ledger.blocks import is_closing_height
from lockstep.ledger.coins import CoinOverlay, CoinView
from lockstep.ledger.folding import CoinFolding
from lockstep.ledger.masternodes import committee_of_epoch
from lockstep.ledger.state import ChainState
from lockstep.mempool.pool import Pool
from lockstep.mempool.refusals import Refusals
from lockstep.primitives.block import Ballot, BallotKind, CommitCertificate, Proposal
from lockstep.primitives.committee import Committee, Member, make_member_id
from lockstep.primitives.evidence import Evidence, Subject
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.messages import Message, Status
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.primitives.votes import Freeze, Vote, VoteKind
from lockstep.replica.catchup import CatchUp
from lockstep.replica.early import EarlyMessages
from lockstep.replica.effects import (
    Broadcast,
    Effect,
    Notice,
    Notify,
    Penalise,
    Persist,
    Record,
    Send,
    SetTimer,
)
from lockstep.replica.events import Timer, TimerKind
from lockstep.replica.fetching import Fetches
from lockstep.replica.height import HeightState
from lockstep.replica.quotas import BatchQuotas
from lockstep.replica.silence import Silence
from lockstep.replica.witnessed import FirstWords


class Core:
    """All state of one replica.

    Attributes:
        own_id: Member id derived from the voting key, None for a node that only follows.
        batches: Batches held with their bodies, in the order they came [B3].
        outlived: What ended with the epoch before and nobody looks at, to be freed bit by bit.
        fold_slice: How many changes of coins a slice folds, where that is more than the least.
        reached: Quorums counted in this step and not yet acted on.
        unconfirmed: Certified transactions that wait to be confirmed, for a parent or for a copy
            with good witnesses [F3].
        spoilt: Payments counted where a copy has a bad witness, with the place of a good one.
        unsaid: Promises of this epoch without a message yet: bits by batch id, of each kind.
        unsaid_certificate: Votes to be journalled with the next Confirm.
        durable: Signatures of the votes already in the journal of this epoch.
        peers: Connected peers and what they last said of their chain.
        resumed: Messages of the height that the journal held, to be fed to the restored driver.
        evidence: Pieces against members that are not in the chain yet, by member and epoch [N4].
        first_words: What members said first, to hold second words against.
        conflicts: Members found to speak for two rivals in this step.
        silence: Whether this node may sign yet, and what it still has to hear for it [D3].
        ballots_below: Our ballots of the height below, None where the journal holds them no more.
        served: When each peer was last told what we hold of its key [D3].
        recovering: True while the journal is replayed; effects are dropped then [D2].
    """

    def __init__(
        self,
        *,
        genesis: Genesis,
        state: ChainState,
        view: CoinView,
        signer: Signer | None,
        verifier: Verifier,
        tip_certificate: CommitCertificate | None,
        has_amnesia: bool,
    ) -> None:
        """Build the replica's parts for the chain's state; nothing is started."""
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.genesis_txid = genesis_outpoint(self.chain_id, 0)[:32]
        self.signer = signer
        self.verifier = verifier
        self.own_id = None if signer is None else make_member_id(signer.public_key)
        self.state = state
        self.tip_certificate = tip_certificate
        self.overlay = CoinOverlay(view)
        self.folding = CoinFolding(state)
        self.pool = Pool()
        self.refusals = Refusals()
        self.batches: dict[bytes, VerifiedBatch] = {}
        self.finality = TransactionFinality(state.epoch, self.committee)
        self.height = HeightState(state.height + 1)
        self.fetches = Fetches()
        self.quotas = BatchQuotas()
        self.early = EarlyMessages()
        self.catchup = CatchUp()
        self.peers: dict[bytes, Status | None] = {}
        self.outlived: deque[VerifiedBatch | dict[Any, Any]] = deque()
        self.fold_slice = 0
        self.reached: deque[Reached] = deque()
        self.evidence: dict[Subject, Evidence] = {}
        self.first_words = FirstWords()
        self.conflicts: deque[Conflict] = deque()
        self.unconfirmed: dict[bytes, None] = {}
        self.spoilt: dict[bytes, tuple[bytes, int] | None] = {}
        self.unsaid: dict[VoteKind, dict[bytes, int]] = {kind: {} for kind in VoteKind}
        self.unsaid_certificate: list[Vote] = []
        self.durable: dict[bytes, None] = {}
        self.silence = Silence(has_amnesia=has_amnesia)
        self.ballots_below: dict[tuple[int, BallotKind], Ballot] | None = None
        self.served: dict[bytes, int] = {}
        self.time_ms = 0
        self.started = False
        self.resumed: list[Proposal | Ballot | tuple[Ballot, ...]] = []
        self.recovering = False
        self.effects: list[Effect] = []

    @property
    def committee(self) -> Committee:
        """Return Set(e) of the current epoch [M1]."""
        return committee_of_epoch(self.genesis, self.state.epoch)

    @property
    def previous_committee(self) -> Committee | None:
        """Return the set that signed the tip, None at genesis [T2]."""
        if self.state.height == 0:
            return None
        return self.committee_of_height(self.state.height)

    @property
    def is_member(self) -> bool:
        """Tell whether this node's key is in the current set."""
        return self.own_id is not None and self.own_id in self.committee

    @property
    def is_voting(self) -> bool:
        """Tell whether this node is a member of the current set and may sign [D3]."""
        return self.silence.is_lifted and self.is_member

    @property
    def own_freeze(self) -> Freeze | None:
        """Return our FREEZE of this epoch, None where we have not made it [T5]."""
        copies = self.height.freezes.get(self.own_id or b"", ())
        return next((copy.freeze for copy in copies if copy.source is None), None)

    @property
    def closing_height(self) -> int:
        """Return the height that ends the current epoch [M4]."""
        return (self.state.epoch + 1) * self.genesis.closing_every

    @property
    def settled_sum(self) -> bytes | None:
        """Return the sum of coins that the next block commits to; only a closing one does [S1]."""
        if not is_closing_height(self.state.height + 1, self.genesis.closing_every):
            return None
        return self.folding.settled()

    def member_of_node(self, node_key: bytes) -> Member | None:
        """Return the member of the current set whose node this is, None for a follower."""
        return next((m for m in self.committee.members if m.node_key == node_key), None)

    def committee_of_height(self, height: int) -> Committee:
        """Return the set that signs this height [M4]."""
        return committee_of_epoch(self.genesis, (height - 1) // self.genesis.closing_every)

    def sign(self, digest: bytes) -> bytes:
        """Sign 32 bytes with the voting key.

        Raises:
            Misuse: If this node has no voting key.
        """
        if self.signer is None:
            raise Misuse("a node without a voting key signs nothing")
        return self.signer.sign(digest)

    def note(self, progress: Progress) -> None:
        """Queue the quorums that a count brought, to be acted on before the step ends."""
        self.reached.extend(progress.reached)
        self.conflicts.extend(progress.conflicts)

    def note_copies(self, batch: VerifiedBatch) -> None:
        """Remember which payments are counted by a spoilt copy, and where good ones stand [B5]."""
        for position in batch.faults:
            tally, place = self.finality.place_of(batch.txids[position])
            if (tally.batch_id, place) == (batch.batch_id, position):
                self.spoilt.setdefault(batch.txids[position], None)
        for position, txid in enumerate(batch.txids) if self.spoilt else ():
            if txid in self.spoilt and batch.transactions[position] is not None:
                self.spoilt[txid] = (batch.batch_id, position)

    def take_undurable(self, votes: list[Vote]) -> tuple[Vote, ...]:
        """Return those votes the journal lacks, each once, and take them as journalled."""
        fresh = {v.signature: v for v in votes if v.signature not in self.durable}
        self.durable.update(dict.fromkeys(fresh))
        return tuple(fresh.values())

    def persist(self, record: Record) -> None:
        """Ask for the record to be synced before anything of this step is sent."""
        self._add(Persist(record))

    def broadcast(self, message: Message, *, is_free: bool = False) -> None:
        """Ask for the message to be sent to every peer, at once where it is free."""
        self._add(Broadcast(message, is_free))

    def send(self, peer: bytes, message: Message) -> None:
        """Ask for the message to be sent to one peer."""
        self._add(Send(peer, message))

    def set_timer(
        self, kind: TimerKind, delay_ms: int, *, height: int = 0, round_number: int = 0
    ) -> None:
        """Ask for TimerFired after the delay."""
        self._add(SetTimer(Timer(kind, height, round_number), delay_ms))

    def penalise(self, peer: bytes | None, code: str) -> None:
        """Report a peer that did what no honest one does."""
        if peer is not None:
            self._add(Penalise(peer, code))

    def notify(self, notice: Notice) -> None:
        """Tell our own listeners."""
        self._add(Notify(notice))

    def add(self, effect: Effect) -> None:
        """Ask for any other effect."""
        self._add(effect)

    def _add(self, effect: Effect) -> None:
        if not self.recovering:
            self.effects.append(effect)
