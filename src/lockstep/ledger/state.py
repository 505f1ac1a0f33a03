"""The chain's state beside its coins: tip, epoch and the money counters [L6, M4]."""

from typing import Annotated

from msgspec import Meta, Struct

from lockstep.crypto.lattice_hash import SUM_BYTES
from lockstep.errors import Fatal
from lockstep.ledger.commitment import genesis_sum, make_registry_root
from lockstep.primitives.block import NO_STATE_COMMITMENT
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.ids import Amount, Bitmap, Counter, Hash

LatticeSum = Annotated[bytes, Meta(min_length=SUM_BYTES, max_length=SUM_BYTES)]


class SupplyBroken(Fatal):
    """Coins and pending fees do not add up to what was ever made less what was burnt [L6]."""

    code = "ledger.supply"


class ChainState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a decided block changes and the next one is judged by, but the coins.

    Attributes:
        height: The tip's height, 0 at genesis; `block_id` is the chain id then.
        closing_id: Id of the last closing block, the chain id in epoch 0.
        epoch: The epoch of the next height [M4].
        time_ms: The tip's time; `closing_time_ms` that of the last closing block [T3, N3].
        coin_count, coin_sum: Number and amount of all coins.
        fees_pending: Fees of the epoch, not yet paid out.
        issued, burnt: Since genesis; they change in closing blocks alone [N3].
        registry_root: Of the registry as it stood above the last closing block [S1].
        state_commitment: What the last closing block committed to, zeros in epoch 0 [S1].
        coins_sum: Of the coins above `summed_height`, to which that commitment is: the last but one
            closing block, genesis in the first two epochs [S1].
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
    registry_root: Hash
    state_commitment: Hash
    coins_sum: LatticeSum
    summed_height: Counter
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
        registry_root=make_registry_root(genesis, epoch=0, evidence_used=()),
        state_commitment=NO_STATE_COMMITMENT,
        coins_sum=genesis_sum(genesis),
        summed_height=0,
        participants=b"",
    )


def check_supply(genesis: Genesis, state: ChainState) -> None:
    """Stop when the money does not add up [L6].

    Raises:
        SupplyBroken: If coins and pending fees are not what was ever made less what was burnt.
    """
    due = genesis.supply + state.issued - state.burnt
    found = state.coin_sum + state.fees_pending
    if found != due:
        raise SupplyBroken(f"{found} base units at height {state.height} where {due} are due")
