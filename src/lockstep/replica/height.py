"""The undecided height: its driver, the blocks proposed for it, and the FREEZEs of a closing one.

All of it is dropped when the height is decided, so memory is bounded by one height.
"""

from enum import IntEnum
from typing import Final

from lockstep.consensus.driver import Driver
from lockstep.ledger.blocks import AssembledBlock
from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import CompactBlock, Proposal
from lockstep.primitives.messages import ProposalMessage
from lockstep.primitives.params import RESEND_MS
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.primitives.votes import Freeze

BLOCKS_A_ROUND_MAX: Final = 2
FREEZES_A_MEMBER_MAX: Final = 2


class Verdict(IntEnum):
    """What is known of a proposed block; it never changes back [T2]."""

    OPEN = 0
    VALID = 1
    INVALID = 2


class Candidate:
    """A proposed block: what names it, what was fetched of it, and the verdict.

    Attributes:
        proposals: Proposals of this block whose turn to be judged comes with the verdict.
        round: The round it was first proposed in.
    """

    __slots__ = (
        "assembled",
        "block",
        "block_id",
        "delta",
        "fault",
        "inline",
        "proposals",
        "round",
        "source",
        "state_after",
        "verdict",
    )

    def __init__(
        self,
        block_id: bytes,
        block: CompactBlock,
        inline: tuple[VerifiedTransaction, ...],
        source: bytes | None,
        round_number: int,
    ) -> None:
        """Open the candidate; `source` is the peer that sent it, in this round."""
        self.round = round_number
        self.block_id = block_id
        self.block = block
        self.inline = inline
        self.source = source
        self.verdict = Verdict.OPEN
        self.fault = ""
        self.assembled: AssembledBlock | None = None
        self.delta: CoinDelta | None = None
        self.state_after: ChainState | None = None
        self.proposals: list[Proposal] = []


class HeightState:
    """What the replica holds about the height it is deciding.

    Attributes:
        driver: None until the height is begun.
        proposals: Proposal messages of this height to repeat, by round, ours and others' [T10].
        freezes: FREEZEs by voter, at most two differing ones each [T5].
        usable: Digest of the FREEZE by voter that may be used in J [T6].
        asked_rounds: Rounds in which the driver asks us for a value that cannot be made yet.
        recheck: Whether something came that an open candidate or FREEZE may wait for.
        decided_at_ms: When the block below was decided here.
    """

    def __init__(self, height: int) -> None:
        """Open an empty height."""
        self.height = height
        self.driver: Driver | None = None
        self.candidates: dict[bytes, Candidate] = {}
        self.proposals: dict[int, ProposalMessage] = {}
        self.freezes: dict[bytes, list[Freeze]] = {}
        self.usable: dict[bytes, Freeze] = {}
        self.asked_round: int | None = None
        self.recheck = False
        self.decided_at_ms = 0
        self.is_paced = False
        self.resend_ms = RESEND_MS
        self.recorded_blocks: dict[bytes, None] = {}
        self.recorded_polcs: dict[tuple[int, bytes], None] = {}
