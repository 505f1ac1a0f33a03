"""The judge of state commitments: each node's own rows against what the chain says [S1].

A node's coins are added up anew, all of them, and the changes that it has kept since the last
closing block are taken back: what comes out must be what the next closing block has to commit to,
or this node could not have judged it after a restart.
"""

from lockstep.crypto.lattice_hash import EMPTY_SUM
from lockstep.devnet.remains import NodeRemains
from lockstep.ledger.commitment import add_coins, make_state_commitment
from lockstep.primitives.genesis import Genesis


def rebuild_commitment(node: NodeRemains, genesis: Genesis) -> tuple[int, bytes]:
    """Return the height of a node's last closing block, and the commitment to the state above it.

    Height 0, that of genesis, before there is one.
    """
    state = node.state
    height = state.epoch * genesis.closing_every
    total = add_coins(EMPTY_SUM, created=node.coins().items())
    for delta in node.deltas():
        if delta.height > height:
            total = add_coins(total, created=delta.spent, spent=delta.created)
    commitment = make_state_commitment(
        genesis,
        coins_sum=total,
        registry_root=state.registry_root,
        issued=state.issued,
        burnt=state.burnt,
    )
    return height, commitment
