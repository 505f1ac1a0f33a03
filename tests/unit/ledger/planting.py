"""Chains that stand before a height, blocks over them, and the code a block is refused under."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from building import Chain, lock_of, make_genesis, output_of, pay
from lockstep.errors import Rejected
from lockstep.ledger.blocks import (
    AssembledBlock,
    make_header,
)
from lockstep.primitives.block import make_transaction_root
from lockstep.primitives.transaction import VerifiedTransaction

FEE: Final = 2_000
FOREIGN: Final = b"\x99" * 32


def chain_at(height: int, *, weights: tuple[int, ...] = (1, 1, 1, 1)) -> Chain:
    """Return a chain whose next block is of this height; 4 and 8 are closing."""
    chain = Chain(make_genesis(weights))
    chain.grow(height - 1)
    return chain


def split(chain: Chain, coin: int = 0) -> VerifiedTransaction:
    """Pay a genesis coin to keys 50 and 51."""
    amount = chain.genesis.coins[coin].amount
    half = (amount - FEE) // 2
    outputs = [(half, lock_of(50)), (amount - FEE - half, lock_of(51))]
    return pay([(chain.coin(coin), coin)], outputs, chain_id=chain.genesis.chain_id)


def child_of(chain: Chain, parent: VerifiedTransaction) -> VerifiedTransaction:
    """Pay the first output of `split` on."""
    amount = parent.transaction.body.outputs[0].amount
    return pay(
        [(output_of(parent), 50)], [(amount - FEE, lock_of(52))], chain_id=chain.genesis.chain_id
    )


def code_of(chain: Chain, block: AssembledBlock, *, certified: bool = False) -> str:
    """Return the code under which the block is refused, or "" where it is valid."""
    try:
        chain.check(block, certified=certified)
    except Rejected as fault:
        return fault.code
    return ""


def reheaded(chain: Chain, block: AssembledBlock) -> AssembledBlock:
    """Make the header follow from a body that was tampered with."""
    header = make_header(
        genesis=chain.genesis,
        state=chain.state,
        committee=chain.committee,
        previous_committee=chain.committee if chain.certificate else None,
        previous_commit=block.previous_commit,
        transaction_root=make_transaction_root([each.node for each in block.transactions]),
        justification=block.justification,
        proposer=block.header.proposer,
        coins_sum=chain.settled_sum,
        evidence=block.evidence,
    )
    return replace(block, header=header)


def with_payments(chain: Chain, payments: Sequence[VerifiedTransaction]) -> AssembledBlock:
    return chain.assemble(payments, fees=FEE * len(payments))


def justified(
    chain: Chain, lists: Mapping[int, Sequence[VerifiedTransaction]], *payments: VerifiedTransaction
) -> AssembledBlock:
    """Make a closing block whose J has these members (by index) with these lists."""
    freezes = []
    for index, listed in lists.items():
        txids = [item.txid for item in listed]
        freezes.append((chain.freeze(chain.committee.members[index].member_id, txids), txids))
    return chain.assemble(payments, fees=FEE * len(payments), freezes=freezes)
