"""What the RPC room needs of the rest of the node, as narrow protocols.

An interface belongs to the room that needs it: the replica's view, the database's readers and the
runtime fulfil these without knowing of them. All but `Submitter` and `Settled` answer at once, on
the loop's thread, between two steps of the core.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from lockstep.ledger.coins import Coin
from lockstep.ledger.state import ChainState
from lockstep.net.roster import PeerInfo
from lockstep.primitives.block import CommitCertificate
from lockstep.primitives.committee import Committee
from lockstep.primitives.evidence import Subject
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import DecidedBlock
from lockstep.primitives.transaction import Transaction
from lockstep.primitives.votes import Vote
from lockstep.replica.answers import (
    CoinAnswer,
    ConsensusAnswer,
    PaymentState,
    PendingPayment,
    PoolAnswer,
    RefusedPayment,
    VotingAnswer,
)

Settled = Callable[[], Awaitable[None]]
"""Returns once everything the core did so far is synced and the readers show it [F4, F5]."""


class View(Protocol):
    """The replica's read-only view: the core's memory, which may be ahead of the disk."""

    @property
    def genesis(self) -> Genesis:
        """Return what the chain started from."""
        ...

    @property
    def chain_id(self) -> bytes:
        """Return the hash of genesis."""
        ...

    @property
    def own_id(self) -> bytes | None:
        """Return this node's member id, None where it does not vote."""
        ...

    @property
    def state(self) -> ChainState:
        """Return the chain's state at the tip."""
        ...

    @property
    def tip_certificate(self) -> CommitCertificate | None:
        """Return the precommits that decided the tip, None at genesis."""
        ...

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return Set(epoch), None where it is not known."""
        ...

    def consensus(self) -> ConsensusAnswer:
        """Return where this node stands in the agreement on the next block."""
        ...

    def voting(self) -> VotingAnswer:
        """Return whether this node signs, or what its silence waits for [D3]."""
        ...

    def pool(self) -> PoolAnswer:
        """Return the pool's counts."""
        ...

    def pending(self, txid: bytes) -> PendingPayment | None:
        """Return a payment that is held and not in the chain."""
        ...

    def pending_page(self, cursor: bytes | None, limit: int) -> list[PendingPayment]:
        """Return pending payments ordered by txid, after the cursor."""
        ...

    def is_final(self, txid: bytes) -> bool:
        """Tell whether a quorum of Confirms or a block makes this payment final [F4]."""
        ...

    def pending_evidence(self) -> list[Subject]:
        """Return whom evidence is held against that the chain has not, with the epochs."""
        ...

    def confirms_of(self, txid: bytes) -> tuple[Vote, ...]:
        """Return the Confirms behind a live finality, else nothing."""
        ...

    def refusal(self, txid: bytes) -> RefusedPayment | None:
        """Return why this payment was refused, while it is remembered."""
        ...

    def coin(self, outpoint: bytes) -> CoinAnswer | None:
        """Return the state of an output, None where it is unknown."""
        ...

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the chain's coins, None where spent or unknown."""
        ...

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction."""
        ...

    def pending_outputs_of(self, lock: bytes) -> list[tuple[bytes, int, PaymentState]]:
        """Return (outpoint, amount, state of its payment) of outputs not in the chain yet."""
        ...

    def pending_spends(self, outpoints: Sequence[bytes]) -> list[bytes | None]:
        """Return the pending spender's txid of each outpoint, or None."""
        ...


class ChainReaders(Protocol):
    """Reads of the database: what is synced, and nothing else."""

    def state(self) -> ChainState:
        """Return the state at the last synced block."""
        ...

    def decided(self, height: int) -> DecidedBlock | None:
        """Return a decided block with its certificate."""
        ...

    def height_of_block(self, block_id: bytes) -> int | None:
        """Return the height of the block with this id."""
        ...

    def transaction(self, txid: bytes) -> tuple[Transaction, int, int] | None:
        """Return a transaction of the chain with its height and position."""
        ...

    def coins_of_lock(
        self, lock: bytes, after: bytes | None = None, *, limit: int
    ) -> list[tuple[bytes, Coin]]:
        """Return coins under a lock ordered by outpoint, after the given one."""
        ...


class SubmitResult(Struct, frozen=True):
    """What became of one submitted transaction; `code` and `sentence` are empty when accepted.

    `txid` is empty where the bytes are no transaction; `retry_after_ms` is above zero where the
    same may be accepted later.
    """

    txid: bytes
    accepted: bool
    code: str
    sentence: str
    retry_after_ms: int = 0


class Submitter(Protocol):
    """Takes transactions in; one answer each, in order, once they are held durably or refused.

    Both raise `SubmissionBusy` where there is no room for even one.
    """

    async def submit(self, raws: Sequence[bytes]) -> list[SubmitResult]:
        """Hand encoded transactions to the node; a known one is answered at once."""
        ...

    async def submit_batch(self, body: bytes) -> list[SubmitResult]:
        """Hand the transactions of an encoded batch to the node.

        Raises:
            Rejected: If the bytes are no batch, whatever its transactions are.
        """
        ...


class PeerDirectory(Protocol):
    """Knows who is connected, after the handshake."""

    def peers(self) -> Sequence[PeerInfo]:
        """Return the connected peers."""
        ...


class Reason(Struct, frozen=True):
    """Why the node is not ready: a stable code and a sentence."""

    code: str
    message: str
