"""The chain's state beside its coins: tip, epoch and the money counters [L6, M4]."""

from msgspec import Struct

from lockstep.primitives.genesis import Genesis
from lockstep.primitives.ids import Amount, Bitmap, Counter, Hash


class ChainState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a decided block changes and the next one is judged by, but the coins.

    Attributes:
        height: The tip's height, 0 at genesis; `block_id` is the chain id then.
        closing_id: Id of the last closing block, the chain id in epoch 0.
        epoch: The epoch of the next height [M4].
        time_ms: The tip's time; `closing_time_ms` that of the last closing block [T3, N3].
        coin_count, coin_sum: Number and amount of all coins.
        fees_pending: Fees of the epoch, not yet paid out.
        issued, burnt: Since genesis.
        participants: Members (bitmap over the committee) with a precommit in a certificate
            carried in this epoch's blocks [N3].
        evidence_used: (epoch, member id) of the evidence in the chain's blocks, in this order, of
            the current epoch and the hundred before [N4].
    """

    height: Counter
    block_id: Hash
    closing_id: Hash
    epoch: Counter
    time_ms: Counter
    closing_time_ms: Counter
    coin_count: Counter
    coin_sum: Amount
    fees_pending: Amount
    issued: Amount
    burnt: Amount
    participants: Bitmap
    evidence_used: tuple[tuple[Counter, Hash], ...] = ()


def initial_state(genesis: Genesis) -> ChainState:
    """Return the state below height 1."""
    chain_id = genesis.chain_id
    return ChainState(
        height=0,
        block_id=chain_id,
        closing_id=chain_id,
        epoch=0,
        time_ms=genesis.time_ms,
        closing_time_ms=genesis.time_ms,
        coin_count=len(genesis.coins),
        coin_sum=genesis.supply,
        fees_pending=0,
        issued=0,
        burnt=0,
        participants=b"",
    )
