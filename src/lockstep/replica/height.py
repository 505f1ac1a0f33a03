"""The undecided height: its driver, the blocks proposed for it, and the FREEZEs of a closing one.

All of it is dropped when the height is decided, so memory is bounded by one height.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from lockstep.consensus.driver import Driver
from lockstep.consensus.rounds import SendPrecommit, SendPrevote, SendProposal
from lockstep.consensus.tally import BatchTally
from lockstep.ledger.blocks import AssembledBlock
from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import Ballot, BallotKind, BlockHeader, CompactBlock, Proposal
from lockstep.primitives.params import RESEND_MS
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import Freeze

BLOCKS_A_ROUND_MAX: Final = 2
"""Blocks of one round that are looked at; more only where a quorum wants one."""
FREEZES_A_MEMBER_MAX: Final = 64
"""Copies of a member's FREEZE that differ; each peer has a say in one."""


class Verdict(IntEnum):
    """What is known of a proposed block; it never changes back [T2]."""

    OPEN = 0
    VALID = 1
    INVALID = 2


class Body:
    """What somebody sent beside a header: parts, and the inline ones' verified transactions."""

    __slots__ = ("block", "inline", "source")

    def __init__(
        self,
        block: CompactBlock,
        inline: tuple[VerifiedTransaction, ...],
        source: bytes | None,
    ) -> None:
        """Note that the peer `source` sent this body, or None where it is our own."""
        self.block = block
        self.inline = inline
        self.source = source


class Candidate:
    """A proposed block: its header, the bodies sent with it, and the verdict.

    A proposal signs the block id alone, so anybody may send another body with it: each peer has a
    say in one, and the one whose transactions have the header's root is the block's.

    Attributes:
        bodies: Bodies not yet found wrong; the block's alone once `is_whole`.
        proposals: Proposals of this block whose turn to be judged comes with the verdict.
        round: The round it was first proposed in.
    """

    __slots__ = (
        "assembled",
        "block_id",
        "bodies",
        "delta",
        "fault",
        "header",
        "is_whole",
        "proposals",
        "round",
        "state_after",
        "verdict",
    )

    def __init__(self, block_id: bytes, header: BlockHeader, round_number: int) -> None:
        """Open the candidate, first proposed in this round."""
        self.round = round_number
        self.block_id = block_id
        self.header = header
        self.bodies: list[Body] = []
        self.is_whole = False
        self.verdict = Verdict.OPEN
        self.fault = ""
        self.assembled: AssembledBlock | None = None
        self.delta: CoinDelta | None = None
        self.state_after: ChainState | None = None
        self.proposals: list[Proposal] = []

    @property
    def body(self) -> Body:
        """Return the block's body; only once the candidate is whole."""
        return self.bodies[0]

    def offer(self, body: Body) -> bool:
        """Keep a body if it may be the block's and says something new; tell whether it was kept."""
        if self.is_whole or any(
            held.source == body.source or held.block == body.block for held in self.bodies
        ):
            return False
        self.bodies.append(body)
        return True


class FreezeCopy:
    """A FREEZE as one peer sent it: its digest is signed, the list beside it is not [T5].

    Attributes:
        txids: What it lists, once its batches are held and the list hashes to what was signed.
        waiting: Those of them that were not certified and held when they were last looked at.
        listed: Where that is counted, bits by batch id, once somebody has asked.
    """

    __slots__ = ("freeze", "listed", "source", "txids", "waiting")

    def __init__(self, freeze: Freeze, source: bytes | None) -> None:
        """Note that the peer `source` sent this copy, or None where it is our own."""
        self.freeze = freeze
        self.source = source
        self.txids: tuple[bytes, ...] | None = None
        self.waiting: tuple[bytes, ...] = ()
        self.listed: dict[bytes, int] | None = None


class HeightState:
    """What the replica holds about the height it is deciding.

    Attributes:
        driver: None until the height is begun.
        freezes: Copies of FREEZEs by voter, until one of them is usable [T5].
        usable: The FREEZE by voter that may be used in J [T6].
        named: Batches that a proposed block or a FREEZE names.
        asked_rounds: Rounds in which the driver asks us for a value that cannot be made yet.
        recheck: Whether something came that an open candidate or FREEZE may wait for.
        decided_at_ms: When the block below was decided here.
        own_proposals: What this key proposed, by round.
        own_ballots: What it prevoted and precommitted, by round and kind.
        suspects: Members whose Confirms are to be held against their FREEZE in this step, and of
            which batches; None stands for all [N4].
        open_tallies: The tallies with something that is not in the chain; of the first
            `scanned_tallies` batches.
        unsaid: What the driver asked to sign in this round while nothing may be signed [D3].
    """

    def __init__(self, height: int) -> None:
        """Open an empty height."""
        self.height = height
        self.driver: Driver | None = None
        self.candidates: dict[bytes, Candidate] = {}
        self.freezes: dict[bytes, list[FreezeCopy]] = {}
        self.usable: dict[bytes, FreezeCopy] = {}
        self.named: dict[bytes, None] = {}
        self.asked_round: int | None = None
        self.recheck = False
        self.decided_at_ms = 0
        self.is_paced = False
        self.resend_ms = RESEND_MS
        self.own_proposals: dict[int, Proposal] = {}
        self.own_ballots: dict[tuple[int, BallotKind], Ballot] = {}
        self.suspects: dict[bytes, dict[bytes, None] | None] = {}
        self.open_tallies: list[BatchTally] = []
        self.scanned_tallies = 0
        self.unsaid: list[SendProposal | SendPrevote | SendPrecommit] = []
        self.recorded_blocks: dict[bytes, None] = {}
        self.recorded_polcs: dict[tuple[int, bytes], None] = {}

    def suspect(self, voter: bytes, batch_ids: Iterable[bytes] | None) -> None:
        """Have a member's Confirms of these batches, or of all, held against its FREEZE [N4]."""
        known = self.suspects.setdefault(voter, {})
        if batch_ids is None:
            self.suspects[voter] = None
        elif known is not None:
            known.update(dict.fromkeys(batch_ids))
