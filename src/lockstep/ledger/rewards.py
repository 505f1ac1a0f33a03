"""What the closing block pays to masternodes: issuance, shares, the coinbase [N3].

All arithmetic is on integers. The coinbase follows from the chain below and the rest of the block,
so whoever checks a block makes the same one and compares.
"""

from collections.abc import Iterable

from lockstep.crypto.hashing import merkle_nodes
from lockstep.errors import Misuse
from lockstep.ledger.state import ChainState
from lockstep.primitives.bitmap import collect_bits, iterate_bits
from lockstep.primitives.block import CommitCertificate
from lockstep.primitives.codec import encode
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.params import (
    DUST,
    ISSUANCE_INTERVAL_MS,
    ISSUANCE_PER_INTERVAL,
    SUPPLY_MAX,
)
from lockstep.primitives.transaction import (
    OUTPUTS_MAX,
    TRANSACTION_VERSION,
    Transaction,
    TransactionBody,
    TransactionOutput,
    VerifiedTransaction,
    make_leaf,
    make_txid,
)


def nominal_epoch_ms(genesis: Genesis) -> int:
    """Return how long an epoch lasts by its parameters: K heights at the idle pace [N3, 2.11].

    The idle pace, because that is the longest an epoch takes while everything is well: 20 s where
    K is 20 and the idle interval a second. At the working pace an idle epoch would meet the cap.
    """
    return genesis.closing_every * genesis.idle_interval_ms


def issuance(genesis: Genesis, state: ChainState, *, time_ms: int) -> int:
    """Return the base units that the closing block at `time_ms` issues [N3].

    Issuance ends where the supply, fees not yet paid out included, would exceed the greatest one.
    """
    elapsed_ms = min(time_ms - state.closing_time_ms, 2 * nominal_epoch_ms(genesis))
    due = ISSUANCE_PER_INTERVAL * elapsed_ms // ISSUANCE_INTERVAL_MS
    return max(0, min(due, SUPPLY_MAX - state.coin_sum - state.fees_pending))


def participants_with(
    state: ChainState,
    committee: Committee,
    *,
    previous_commit: CommitCertificate | None,
    freeze_voters: Iterable[bytes],
) -> int:
    """Return who has earned a share of the epoch once this block is added [N3].

    A bitmap over the committee: the participants so far, the carried certificate's and J's. Voters
    of the set before who are no longer members earn nothing.
    """
    voters = [*freeze_voters]
    if previous_commit is not None:
        voters += [entry.voter for entry in previous_commit.signatures]
    places = [committee.index_of(voter) for voter in voters]
    added = collect_bits(place for place in places if place is not None)
    return int.from_bytes(state.participants, "little") | added


def make_coinbase(
    *,
    genesis: Genesis,
    height: int,
    time_ms: int,
    state: ChainState,
    committee: Committee,
    participants: int,
    proposer: bytes,
    fees: int,
) -> tuple[Transaction, int, int]:
    """Make the coinbase of the closing block over `state`, and say what it issues and burns [N3].

    What is paid is the issuance, the fees that `state` has pending, and `fees`, those of the
    closing block itself. `participants` is a bitmap over the committee: members with a precommit in
    a certificate carried in the epoch, this block's included, or in J. `proposer` is a member id.

    A member's share is floor(pot * reward weight / reward weight of all participants). Shares of
    one payout lock become one output; outputs stand in order of lock. Those below dust, and the
    remainder, go to the proposer; its output is burnt where even that is below dust. Where more
    locks are due than outputs are allowed, a window over them that moves on with each epoch is paid
    and the rest goes to the proposer, so that nobody is left out for ever. The memo is the height,
    which makes the txid unique. Where nothing can be paid there are no outputs.

    Raises:
        Misuse: If the proposer is not in the committee.
    """
    member = committee.find(proposer)
    if member is None:
        raise Misuse("the proposer of a closing block is in its committee")
    issued = issuance(genesis, state, time_ms=time_ms)
    pot = issued + state.fees_pending + fees
    dues = _dues(committee, participants=participants, pot=pot)
    dues.pop(member.payout_lock, None)
    payees = sorted(lock for lock, amount in dues.items() if amount >= DUST)
    if len(payees) >= OUTPUTS_MAX:
        first = state.epoch * (OUTPUTS_MAX - 1) % len(payees)
        payees = sorted((payees[first:] + payees[:first])[: OUTPUTS_MAX - 1])
    paid = {lock: dues[lock] for lock in payees}
    rest = pot - sum(paid.values())
    burnt = 0
    if rest >= DUST:
        paid[member.payout_lock] = rest
    else:
        burnt = rest
    body = TransactionBody(
        version=TRANSACTION_VERSION,
        inputs=(),
        outputs=tuple(TransactionOutput(paid[lock], lock) for lock in sorted(paid)),
        memo=encode(height),
    )
    return Transaction(body=body, witnesses=()), issued, burnt


def verify_coinbase(transaction: Transaction) -> VerifiedTransaction:
    """Return a coinbase, which has no witness to verify, in the form that blocks are made of."""
    txid = make_txid(transaction.body)
    leaf = make_leaf(txid, transaction.witnesses)
    return VerifiedTransaction(
        body=encode(transaction.body),
        witnesses=encode(transaction.witnesses),
        txid=txid,
        leaf=leaf,
        node=merkle_nodes((leaf,))[0],
        locks=(),
        size_bytes=len(encode(transaction)),
        has_shape=False,
        inputs=(),
        outputs=transaction.body.outputs,
        paid=sum(output.amount for output in transaction.body.outputs),
    )


def _dues(committee: Committee, *, participants: int, pot: int) -> dict[bytes, int]:
    """Return the base units due to each payout lock, before dust and remainder."""
    members = [committee.members[index] for index in iterate_bits(participants)]
    total = sum(member.reward_weight for member in members)
    dues: dict[bytes, int] = {}
    for member in members:
        share = pot * member.reward_weight // total
        dues[member.payout_lock] = dues.get(member.payout_lock, 0) + share
    return dues
