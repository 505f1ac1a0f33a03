"""What a closing block says of the state above the closing block before it, and keeps for the next.

Below lies the state of the tip; what the commitment is made of beside the coins is kept in it from
one closing block to the next [S1].
"""

from msgspec.structs import replace

from lockstep.errors import Misuse, Rejected
from lockstep.ledger.commitment import make_registry_root, make_state_commitment
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import BlockHeader
from lockstep.primitives.genesis import Genesis


class WrongCommitment(Rejected):
    """A closing block commits to another state than that above the closing block before it [S1]."""

    code = "block.commitment"


def due_commitment(genesis: Genesis, state: ChainState, coins_sum: bytes | None) -> bytes:
    """Return what a closing block over `state` commits to [S1].

    `coins_sum` is that of the coins above the last closing block. Issued and burnt are as they
    stood there too: they change in closing blocks alone [N3].

    Raises:
        Misuse: If there is no such sum.
    """
    if coins_sum is None:
        raise Misuse("a closing block needs the sum of the coins above the one before it")
    return make_state_commitment(
        genesis,
        coins_sum=coins_sum,
        registry_root=state.registry_root,
        issued=state.issued,
        burnt=state.burnt,
    )


def check_commitment(header: BlockHeader, due: BlockHeader) -> None:
    """Refuse a closing header that does not commit to what is due [S1].

    Raises:
        WrongCommitment: If it commits to another state.
    """
    found, expected = header.closing, due.closing
    if found and expected and found.state_commitment != expected.state_commitment:
        raise WrongCommitment("the block commits to another state than that of the chain below it")


def settle(
    genesis: Genesis,
    header: BlockHeader,
    below: ChainState,
    after: ChainState,
    coins_sum: bytes | None,
) -> ChainState:
    """Return the state above a block with what the next closing block will need of it [S1]."""
    if header.closing is None or coins_sum is None:
        return after
    return replace(
        after,
        registry_root=make_registry_root(
            genesis, epoch=after.epoch, evidence_used=after.evidence_used
        ),
        state_commitment=header.closing.state_commitment,
        coins_sum=coins_sum,
        summed_height=below.epoch * genesis.closing_every,
    )
