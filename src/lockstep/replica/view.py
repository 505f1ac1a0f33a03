"""A read-only view of the replica, for RPC, metrics and the ingress; answers at once.

To be asked on the replica's own thread, between steps. It changes nothing and keeps nothing.
"""

from collections.abc import Collection, Sequence

from lockstep.consensus.tally import BatchTally
from lockstep.ledger.blocks import is_closing_height, kind_index
from lockstep.ledger.coins import Coin
from lockstep.ledger.masternodes import committee_of_epoch
from lockstep.ledger.state import ChainState
from lockstep.mempool.pool import Entry
from lockstep.primitives.block import BallotKind, CommitCertificate
from lockstep.primitives.committee import Committee
from lockstep.primitives.evidence import Subject
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.ids import make_outpoint, outpoint_index
from lockstep.primitives.transaction import Transaction, VerifiedTransaction
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.amnesia import known_by
from lockstep.replica.answers import (
    CoinAnswer,
    CoinState,
    ConsensusAnswer,
    PaymentState,
    PendingPayment,
    PoolAnswer,
    RefusedPayment,
    VotingAnswer,
    VotingState,
)
from lockstep.replica.core import Core
from lockstep.replica.syncing import is_outvoted

_SPENT_STATES = {
    PaymentState.WAITING: CoinState.UNSPENT,
    PaymentState.VOTED: CoinState.LOCKED,
    PaymentState.CERTIFIED: CoinState.SPENT_PENDING,
    PaymentState.FINAL: CoinState.SPENT_FINALIZED,
}


class ReplicaView:
    """Answers from the replica's state as it is now."""

    def __init__(self, core: Core) -> None:
        """Look at this core."""
        self._core = core

    @property
    def state(self) -> ChainState:
        """Return the chain's state above the tip."""
        return self._core.state

    @property
    def genesis(self) -> Genesis:
        """Return the chain's genesis."""
        return self._core.genesis

    @property
    def chain_id(self) -> bytes:
        """Return the chain's id."""
        return self._core.chain_id

    @property
    def own_id(self) -> bytes | None:
        """Return this node's member id, None where it has no voting key."""
        return self._core.own_id

    @property
    def tip_certificate(self) -> CommitCertificate | None:
        """Return the certificate of the tip, None at genesis."""
        return self._core.tip_certificate

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return the committee of an epoch up to the next one, None beyond."""
        if epoch > self._core.state.epoch + 1:
            return None
        return committee_of_epoch(self._core.genesis, epoch)

    def committee_for_height(self, height: int) -> Committee | None:
        """Return the committee that signs a height up to the end of the next epoch, else None."""
        if height < 1:
            return None
        return self.committee_for_epoch((height - 1) // self._core.genesis.closing_every)

    def pending_evidence(self) -> list[Subject]:
        """Return whom evidence is held against that the chain has not, with the epochs [N4]."""
        return list(self._core.evidence)

    def has_batch(self, batch_id: bytes) -> bool:
        """Tell whether the batch is held."""
        return batch_id in self._core.batches

    def is_wanted_height(self, height: int) -> bool:
        """Tell whether a decided block of this height would be of use; safe from any thread."""
        return height > self._core.state.height and not self._core.catchup.holds(height)

    def find_verified(self, txid: bytes) -> VerifiedTransaction | None:
        """Return a held payment, whose witnesses were found good; safe from any thread."""
        entry = self._core.pool.get(txid)
        return None if entry is None else entry.verified

    def consensus(self) -> ConsensusAnswer:
        """Return where this node stands in the agreement on the next block."""
        core, height = self._core, self._core.height.height
        committee, driver = core.committee, core.height.driver
        round_number = max(0, driver.state.round) if driver is not None else 0
        index = kind_index(height, core.genesis.closing_every)
        weights = dict.fromkeys(BallotKind, 0)
        for member in committee.members if driver is not None else ():
            for ballot in driver.votes.votes_of(member.member_id) if driver is not None else ():
                if ballot.round == round_number:
                    weights[ballot.kind] += member.weight
        return ConsensusAnswer(
            height=height,
            round=round_number,
            step="unstarted" if driver is None else driver.state.phase.name.lower(),
            epoch=core.state.epoch,
            frozen=core.finality.frozen,
            closing=is_closing_height(height, core.genesis.closing_every),
            members=len(committee),
            total_weight=committee.total_weight,
            quorum=committee.quorum,
            set_hash=committee.set_hash,
            own_id=core.own_id,
            proposer=committee.proposer(index, round_number).member_id,
            prevote_weight=weights[BallotKind.PREVOTE],
            precommit_weight=weights[BallotKind.PRECOMMIT],
            freezes=len(core.height.freezes),
            locked_round=-1 if driver is None else driver.state.locked_round,
            valid_round=-1 if driver is None else driver.state.valid_round,
            catching_up=is_outvoted(core),
        )

    def voting(self) -> VotingAnswer:
        """Return whether this node signs, or what its silence waits for [D3]."""
        core, silence = self._core, self._core.silence
        state = VotingState.FOLLOWING
        if core.is_member:
            state = VotingState.VOTING if silence.is_lifted else VotingState.ASKING
        if silence.has_amnesia and core.own_id is not None:
            state = VotingState.AMNESIA
        last = silence.last_epoch
        return VotingAnswer(
            state=state,
            known_weight=core.committee.weight_of_ids(known_by(core)),
            quorum=core.committee.quorum,
            first_epoch=None if last is None else last + 1,
        )

    def pool(self) -> PoolAnswer:
        """Return the counts of the pool."""
        core = self._core
        return PoolAnswer(
            waiting=core.pool.waiting_count,
            waiting_bytes=core.pool.waiting_bytes,
            voted=core.pool.voted_count,
            voted_bytes=core.pool.voted_bytes,
            final=sum(
                (tally.final & ~(tally.included | tally.dead)).bit_count()
                for tally in core.finality.batches.values()
            ),
            refused=len(core.refusals),
            transactions_max=core.pool.transactions_max,
            bytes_max=core.pool.bytes_max,
        )

    def pending(self, txid: bytes) -> PendingPayment | None:
        """Return a payment that is held and not in the chain, or None."""
        entry = self._core.pool.get(txid)
        return None if entry is None else self._describe(entry)

    def holds_any(self, txids: Collection[bytes]) -> bool:
        """Tell whether any of these payments is held and not in the chain."""
        return not self._core.pool.is_foreign_to(txids, ())

    def pending_page(self, cursor: bytes | None, limit: int) -> list[PendingPayment]:
        """Return up to `limit` held payments in order of txid, those after `cursor`."""
        return [self._describe(entry) for entry in self._core.pool.page(cursor, limit)]

    def may_complete(
        self, kind: VoteKind, epoch: int, batch_id: bytes, voters: Collection[bytes]
    ) -> bool:
        """Tell whether words of these members may complete a quorum for payments of a batch.

        They may wait where this says no: with what is counted and this node's own word, said or
        not, they come to no quorum, or there is nothing left that needs one.
        """
        core = self._core
        if epoch != core.finality.epoch:
            return True
        own = () if core.own_id is None else (core.own_id,)
        return core.finality.may_complete(kind, batch_id, (*voters, *own))

    def is_final(self, txid: bytes) -> bool:
        """Tell whether the payment is final, by Confirms or by a decided block [F4]."""
        return self._core.finality.is_final(txid) or self.height_of(txid) is not None

    def confirms_of(self, txid: bytes) -> tuple[Vote, ...]:
        """Return the Confirms counted for a payment in this epoch once they are a quorum."""
        home = self._core.finality.home_of(txid)
        if home is None or not home[0].final >> home[1] & 1:
            return ()
        return tuple(home[0].messages(VoteKind.CONFIRM, 1 << home[1]))

    def refusal(self, txid: bytes) -> RefusedPayment | None:
        """Return why a payment was refused, while this node remembers."""
        refusal = self._core.refusals.find_txid(txid)
        if refusal is None:
            return None
        age_ms = max(0, self._core.time_ms - refusal.at_ms)
        return RefusedPayment(txid, refusal.code, refusal.sentence, age_ms)

    def coin(self, outpoint: bytes) -> CoinAnswer | None:
        """Return the state of an output, None where this node knows no such output."""
        core = self._core
        spender, spent_state = self._spender(outpoint)
        coin = core.overlay.coins_of([outpoint])[0]
        height: int | None = None
        if coin is not None:
            height = coin.height
        else:
            coin = self._pending_output(outpoint)
        if coin is None:
            # Only a coin of the chain that is gone was spent in a block; its amount is in the
            # index.
            made = core.overlay.height_of(outpoint[:32])
            if made is None and outpoint[:32] != core.genesis_txid:
                return None
            return CoinAnswer(CoinState.CONFIRMED, 0, b"", made, None)
        return CoinAnswer(spent_state, coin.amount, coin.lock, height, spender)

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the chain's coins, decided blocks that are not synced included."""
        return self._core.overlay.coins_of(outpoints)

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None."""
        return self._core.overlay.height_of(txid)

    def pending_outputs_of(self, lock: bytes) -> list[tuple[bytes, int, PaymentState]]:
        """Return (outpoint, amount, state) of outputs under a lock that held payments make."""
        found: list[tuple[bytes, int, PaymentState]] = []
        for entry in self._core.pool:
            for index, output in enumerate(entry.verified.outputs):
                if output.lock == lock:
                    outpoint = make_outpoint(entry.verified.txid, index)
                    found.append((outpoint, output.amount, self._state_of(entry)))
        return found

    def pending_spends(self, outpoints: Sequence[bytes]) -> list[bytes | None]:
        """Return for each outpoint the held payment that spends it, the most advanced of rivals."""
        return [self._spender(outpoint)[0] for outpoint in outpoints]

    def transaction(self, txid: bytes) -> Transaction | None:
        """Return a held transaction, or None."""
        entry = self._core.pool.get(txid)
        return None if entry is None else entry.verified.transaction

    def _spender(self, outpoint: bytes) -> tuple[bytes | None, CoinState]:
        best: tuple[bytes | None, CoinState] = (None, CoinState.UNSPENT)
        order = list(_SPENT_STATES.values())
        for txid in self._core.pool.spenders(outpoint):
            entry = self._core.pool.get(txid)
            state = CoinState.UNSPENT if entry is None else _SPENT_STATES[self._state_of(entry)]
            if best[0] is None or order.index(state) > order.index(best[1]):
                best = (txid, state)
        return best

    def _pending_output(self, outpoint: bytes) -> Coin | None:
        entry = self._core.pool.get(outpoint[:32])
        if entry is None:
            return None
        outputs = entry.verified.outputs
        index = outpoint_index(outpoint)
        if index >= len(outputs):
            return None
        return Coin(outputs[index].amount, outputs[index].lock, 0)

    def _state_of(self, entry: Entry) -> PaymentState:
        home = self._core.finality.home_of(entry.verified.txid)
        if home is None:
            return PaymentState.WAITING
        tally, position = home
        return _payment_state(tally, position)

    def _describe(self, entry: Entry) -> PendingPayment:
        core = self._core
        verified = entry.verified
        home = core.finality.home_of(verified.txid)
        weights = dict.fromkeys(VoteKind, 0)
        members: dict[VoteKind, list[bytes]] = {kind: [] for kind in VoteKind}
        if home is not None:
            tally, position = home
            for kind in VoteKind:
                weights[kind] = tally.weight_at(kind, position)
                members[kind] = tally.members_at(kind, position, core.committee)
        return PendingPayment(
            transaction=verified.transaction,
            txid=verified.txid,
            size_bytes=verified.size_bytes,
            fee=entry.fee,
            received_ms=entry.received_ms,
            state=self._state_of(entry),
            reason="" if entry.voted else entry.waiting,
            vote_weight=weights[VoteKind.VOTE],
            confirm_weight=weights[VoteKind.CONFIRM],
            voters=tuple(members[VoteKind.VOTE]),
            confirmers=tuple(members[VoteKind.CONFIRM]),
            batch_id=entry.batch_id,
        )


def _payment_state(tally: BatchTally, position: int) -> PaymentState:
    bit = 1 << position
    if tally.final & bit:
        return PaymentState.FINAL
    if tally.certified & bit:
        return PaymentState.CERTIFIED
    if tally.own_voted & bit:
        return PaymentState.VOTED
    return PaymentState.WAITING
