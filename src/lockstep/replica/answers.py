"""What the replica's read-only view answers with: plain values for RPC, metrics and tests."""

from enum import StrEnum

from msgspec import Struct

from lockstep.primitives.transaction import Transaction


class CoinState(StrEnum):
    """The life of an output as people are told it.

    A spend that is certified makes its inputs SpentPending, a final one SpentFinalized, one in a
    block Confirmed.
    """

    UNSPENT = "Unspent"
    LOCKED = "Locked"
    SPENT_PENDING = "SpentPending"
    SPENT_FINALIZED = "SpentFinalized"
    CONFIRMED = "Confirmed"


class PaymentState(StrEnum):
    """How far a payment that is not in the chain has come at this node."""

    WAITING = "waiting"
    VOTED = "voted"
    CERTIFIED = "certified"
    FINAL = "final"


class PendingPayment(Struct, frozen=True):
    """A payment this node holds that is not in its chain.

    `voters` and `confirmers` are member ids whose bits were counted in this epoch, with their
    weights. `reason` says why it waits: "", "orphan", "conflict", "throttle" or "frozen".
    """

    transaction: Transaction
    txid: bytes
    size_bytes: int
    fee: int | None
    received_ms: int
    state: PaymentState
    reason: str
    vote_weight: int
    confirm_weight: int
    voters: tuple[bytes, ...]
    confirmers: tuple[bytes, ...]
    batch_id: bytes


class RefusedPayment(Struct, frozen=True):
    """A payment this node refused, while it remembers."""

    txid: bytes
    code: str
    sentence: str
    age_ms: int


class PoolAnswer(Struct, frozen=True):
    """Counts of the pool; the limits hold for what has not been voted for."""

    waiting: int
    waiting_bytes: int
    voted: int
    voted_bytes: int
    final: int
    refused: int
    transactions_max: int
    bytes_max: int


class ConsensusAnswer(Struct, frozen=True):
    """Where this node stands in the agreement on the next block."""

    height: int
    round: int
    step: str
    epoch: int
    frozen: bool
    closing: bool
    members: int
    total_weight: int
    quorum: int
    set_hash: bytes
    own_id: bytes | None
    proposer: bytes
    prevote_weight: int
    precommit_weight: int
    freezes: int
    locked_round: int
    valid_round: int
    catching_up: bool


class VotingState(StrEnum):
    """Whether a node signs, and if not why [D3]."""

    FOLLOWING = "following"
    ASKING = "asking"
    AMNESIA = "amnesia"
    VOTING = "voting"


class VotingAnswer(Struct, frozen=True):
    """Whether this node signs; `known_weight` of `quorum` has said what it holds of its key.

    `first_epoch` is the one it may sign in again, None where that is not known or no question.
    """

    state: VotingState
    known_weight: int
    quorum: int
    first_epoch: int | None


class CoinAnswer(Struct, frozen=True):
    """The state of one output; `spender` where a pending payment spends it."""

    state: CoinState
    amount: int
    lock: bytes
    height: int | None
    spender: bytes | None
