"""The state commitment: 32 bytes that stand for coins, registry, money and parameters [S1].

A closing block carries the commitment to the state as it stood above the closing block before it,
so whoever holds that header can judge a snapshot of the state, and no vote waits for the sum.
"""

from collections.abc import Iterable, Iterator

from lockstep.crypto.hashing import tagged_hash
from lockstep.crypto.lattice_hash import EMPTY_SUM, adjust_sum
from lockstep.ledger.coins import Coin, NamedCoin
from lockstep.ledger.masternodes import committee_of_epoch
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.params import RULE_SET


def add_coins(
    total: bytes, *, created: Iterable[NamedCoin], spent: Iterable[NamedCoin] = ()
) -> bytes:
    """Return the sum of the coins of `total` with these created and spent, in any order [S1]."""
    return adjust_sum(total, added=_elements(created), removed=_elements(spent))


def genesis_sum(genesis: Genesis) -> bytes:
    """Return the sum of the coins every chain begins with [S1]."""
    chain_id = genesis.chain_id
    return add_coins(
        EMPTY_SUM,
        created=(
            (genesis_outpoint(chain_id, index), Coin(output.amount, output.lock, 0))
            for index, output in enumerate(genesis.coins)
        ),
    )


def make_registry_root(
    genesis: Genesis, *, epoch: int, evidence_used: tuple[tuple[int, bytes], ...]
) -> bytes:
    """Return the hash of the registry as it stands when `epoch` begins [S1].

    The set in force, who is jailed, pending changes of the set, and the evidence used; there are no
    jails and no pending changes before the registry is built.
    """
    members = committee_of_epoch(genesis, epoch).members
    return tagged_hash("registry", encode((members, (), (), evidence_used)))


def make_state_commitment(
    genesis: Genesis, *, coins_sum: bytes, registry_root: bytes, issued: int, burnt: int
) -> bytes:
    """Return the commitment to a state as it stands above a closing block, or genesis [S1]."""
    parameters = (
        RULE_SET,
        genesis.closing_every,
        genesis.block_interval_ms,
        genesis.idle_interval_ms,
    )
    parts = (
        tagged_hash("coin-sum", coins_sum),
        registry_root,
        issued,
        burnt,
        tagged_hash("parameters", encode(parameters)),
    )
    return tagged_hash("state", encode(parts))


def _elements(named: Iterable[NamedCoin]) -> Iterator[bytes]:
    """Yield what is stretched for each coin; the height that made it is not part of it [S1]."""
    return (encode((outpoint, coin.amount, coin.lock)) for outpoint, coin in named)
