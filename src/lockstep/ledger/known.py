"""What a node found out about a block's contents before the block: it is not found out again.

Nothing here can change a verdict. Each piece is the answer of a pure function, or of the verifier,
to the very bytes that stand in the block.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from lockstep.primitives.evidence import Subject


class Known(Struct, frozen=True):
    """Answers from before.

    Attributes:
        root: Over the leaves of the block's transactions; None where nobody has computed it.
        fees: What `check_spend` said of the block's transactions, in their order: None where it was
            not asked before; empty where it was asked of none.
        freezes: Signatures of FREEZEs that were verified, by voter and list digest.
        evidence: Encoded evidence that was verified, by subject.
    """

    root: bytes | None = None
    fees: Sequence[int | None] = ()
    freezes: Mapping[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    evidence: Mapping[Subject, bytes] = field(default_factory=dict)
