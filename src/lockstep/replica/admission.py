"""From a batch to the pool: which of its transactions this node holds, and why not the others [B5].

Nothing is promised here. What is held may be voted on (`voting`); what is refused is remembered by
leaf, with a code and a sentence for people.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final, NamedTuple

from lockstep.errors import Rejected, Unavailable
from lockstep.ledger.coins import Coin
from lockstep.ledger.rules import (
    ConflictingSpend,
    UnknownCoin,
    check_spend,
    check_spends,
    check_verified,
)
from lockstep.mempool.pool import Entry, PoolFull
from lockstep.mempool.refusals import Refusal
from lockstep.primitives.ids import outpoint_index
from lockstep.primitives.transaction import VerifiedBatch, VerifiedTransaction
from lockstep.replica import locking
from lockstep.replica.core import Core
from lockstep.replica.effects import TransactionsAccepted, TransactionsDropped, TransactionsRefused

_parent_of: Final = itemgetter(slice(32))


class InvalidWitness(Rejected):
    """A witness of the transaction is bad; the ingress said how."""

    code = "tx.signature"


class SpentCoin(Rejected):
    """An input's coin was spent by another transaction of the chain [L4]."""

    code = "tx.double_spend"


class Admission(NamedTuple):
    """What became of a batch: entries newly held, and refusals (txid, code, sentence).

    `ready` are those entries that are held as voted for, their inputs locked: the caller votes for
    them in the same step [F1]. `coins` are those that the others spend, None where the chain has
    none. Where the whole batch is held, and ready or frozen, `spenders` is txid by outpoint.
    """

    entries: list[Entry]
    ready: list[Entry]
    refusals: list[tuple[bytes, str, str]]
    coins: dict[bytes, Coin | None]
    spenders: dict[bytes, bytes] | None = None


def admit_batch(core: Core, batch: VerifiedBatch, *, own: bool) -> Admission:
    """Try a batch's transactions in order and hold what may become valid [B5].

    A transaction that our own people submit is refused when it conflicts or its coin is unknown;
    one that a peer sent waits, for others may know better.
    """
    outpoints, owners = _spent_by(batch)
    found = _read_coins(core, outpoints)
    may_vote = core.is_voting and not core.recovering
    if may_vote and not batch.faults:
        spenders = dict(zip(outpoints, owners, strict=True))
        plain = _admit_together(core, batch, spenders, found)
        if plain:
            ready = [] if plain[0].waiting else plain
            return Admission(plain, ready, [], {}, spenders)
    coins = dict(zip(outpoints, found, strict=True))
    entries: list[Entry] = []
    refusals: list[tuple[bytes, str, str]] = []
    for position, verified in enumerate(batch.transactions):
        txid, leaf = batch.txids[position], batch.leaves[position]
        try:
            if verified is None:
                raise InvalidWitness(f"a witness is invalid ({batch.faults[position]})")
            entry = _admit(core, batch, position, verified, coins, own=own, may_vote=may_vote)
        except (Rejected, Unavailable) as fault:
            code = batch.faults.get(position, fault.code)
            core.refusals.remember(Refusal(leaf, txid, code, str(fault), core.time_ms))
            refusals.append((txid, code, str(fault)))
            continue
        if entry is not None:
            entries.append(entry)
    ready = [entry for entry in entries if entry.voted]
    held = entries
    if len(ready) < len(entries):
        held = [entry for entry in entries if core.pool.get(entry.verified.txid) is entry]
        if len(held) < len(entries):
            refusals.extend(_refuse_outbid(core, entries))
    return Admission(held, ready, refusals, coins)


def answer_submission(core: Core, batch: VerifiedBatch, admission: Admission) -> None:
    """Tell our own people what became of what they submitted."""
    accepted = batch.txids
    if admission.refusals:
        refused = {txid for txid, _, _ in admission.refusals}
        accepted = tuple([txid for txid in accepted if txid not in refused])
    if accepted:
        entries = core.pool.get_all(accepted)
        voted = tuple([entry is None or entry.voted for entry in entries])
        core.notify(TransactionsAccepted(accepted, voted))
    if admission.refusals:
        core.notify(TransactionsRefused(tuple(admission.refusals)))


def prefetch_coins(
    core: Core, transactions: tuple[VerifiedTransaction | None, ...]
) -> dict[bytes, Coin | None]:
    """Read the coins of all inputs in one call; None where the chain has none."""
    inputs = [each.inputs for each in transactions if each is not None]
    outpoints = list(chain.from_iterable(inputs))
    return dict(zip(outpoints, _read_coins(core, outpoints), strict=True))


def _read_coins(core: Core, outpoints: Sequence[bytes]) -> list[Coin | None]:
    """Return the coin of each outpoint, None where the chain has none.

    What the pool holds is not in the chain, so outputs of it are not looked for there, once people
    have begun to spend them.
    """
    pool = core.pool
    if not pool.has_children or not pool.holds_any(map(_parent_of, outpoints)):
        return core.overlay.coins_of(outpoints)
    sought = [outpoint for outpoint in outpoints if outpoint[:32] not in pool]
    coins = dict(zip(sought, core.overlay.coins_of(sought), strict=True))
    return [coins.get(outpoint) for outpoint in outpoints]


def pending_coin(core: Core, outpoint: bytes) -> Coin | None:
    """Return the output of a held transaction that is not in the chain, or None."""
    parent = core.pool.get(outpoint[:32])
    if parent is None:
        return None
    outputs = parent.verified.outputs
    index = outpoint_index(outpoint)
    if index >= len(outputs):
        return None
    return Coin(outputs[index].amount, outputs[index].lock, 0)


def find_coins(
    core: Core, verified: VerifiedTransaction, coins: Mapping[bytes, Coin | None]
) -> list[Coin] | None:
    """Return the coins a transaction spends, of the chain or of held parents; None if one lacks."""
    found: list[Coin] = []
    for outpoint in verified.inputs:
        coin = coins.get(outpoint) or pending_coin(core, outpoint)
        if coin is None:
            return None
        found.append(coin)
    return found


def find_parents(
    verified: VerifiedTransaction, coins: Mapping[bytes, Coin | None]
) -> tuple[bytes, ...]:
    """Return the payments whose outputs a transaction spends and the chain does not have."""
    inputs = verified.inputs
    return tuple(dict.fromkeys([o[:32] for o in inputs if coins.get(o) is None]))


def _spent_by(batch: VerifiedBatch) -> tuple[list[bytes], Sequence[bytes]]:
    """Return the inputs of a batch's good payments, and of each the payment that it belongs to."""
    good = [each for each in batch.transactions if each is not None]
    try:
        # Nearly all payments have one input, and to unpack it is the quickest way to ask.
        single = [outpoint for (outpoint,) in [each.inputs for each in good]]
    except ValueError:
        owners = [each.txid for each in good for _ in each.inputs]
        return list(chain.from_iterable([each.inputs for each in good])), owners
    return single, [each.txid for each in good] if batch.faults else batch.txids


def _admit_together(
    core: Core,
    batch: VerifiedBatch,
    spenders: Mapping[bytes, bytes],
    coins: Sequence[Coin | None],
) -> list[Entry]:
    """Hold a whole batch as voted for, where each of its payments alone would be; else hold none.

    So it is with nearly all batches: nobody knows their payments, all their coins are in the chain
    and free. Then the indices take them in at once, at a third of the cost. At a closing height
    all of them wait for the epoch to come [T5].
    """
    payments = [each for each in batch.transactions if each is not None and each.has_shape]
    spent = [coin for coin in coins if coin is not None]
    is_whole = len(payments) == len(batch.transactions)
    if not is_whole or not len(spent) == len(coins) == len(spenders):
        return []
    fees = check_spends(payments, spent)
    if fees is None or not core.pool.is_foreign_to(batch.txids, spenders):
        return []
    size_bytes = sum([verified.size_bytes for verified in payments])
    waiting = locking.lock_together(core, spenders, size_bytes)
    if waiting is None:
        return []
    return core.pool.admit_together(
        batch, payments, fees, spenders, time_ms=core.time_ms, waiting=waiting
    )


def _admit(
    core: Core,
    batch: VerifiedBatch,
    position: int,
    verified: VerifiedTransaction,
    coins: Mapping[bytes, Coin | None],
    *,
    own: bool,
    may_vote: bool,
) -> Entry | None:
    """Hold one transaction; None if it is held or in the chain already.

    With `may_vote` one that spends free coins of the chain is locked for and held as voted for.
    """
    if verified.txid in core.pool:
        return None
    check_verified(verified)
    inputs = verified.inputs
    known = [coin for outpoint in inputs if (coin := coins[outpoint]) is not None]
    is_of_chain = len(known) == len(inputs)
    spent = known if is_of_chain else find_coins(core, verified, coins)
    if spent is None and core.overlay.height_of(verified.txid) is not None:
        return None
    if spent is None:
        _check_may_come(core, verified, coins, own=own)
    if own:
        for outpoint in inputs:
            if core.finality.holder_of(outpoint) or core.pool.spenders(outpoint):
                raise ConflictingSpend(
                    "another payment that this node holds spends one of its coins"
                )
    entry = Entry(
        verified=verified,
        batch_id=batch.batch_id,
        position=position,
        fee=None if spent is None else check_spend(verified, spent),
        received_ms=core.time_ms,
        waiting="orphan" if spent is None else "",
        parents=() if is_of_chain else find_parents(verified, coins),
    )
    if may_vote and is_of_chain:
        entry.waiting = locking.lock_inputs(core, entry, coins)
        entry.voted = not entry.waiting
    evicted = core.pool.admit(entry)
    if evicted:
        txids = tuple(lowest.verified.txid for lowest in evicted)
        core.notify(TransactionsDropped(txids, "pool.evicted"))
    return entry


def _refuse_outbid(core: Core, entries: Iterable[Entry]) -> list[tuple[bytes, str, str]]:
    """Refuse what was admitted and evicted again for payments further down in its own batch."""
    refusals: list[tuple[bytes, str, str]] = []
    sentence = "the pool is full, and others of its batch pay more for their bytes"
    for entry in entries:
        verified = entry.verified
        if verified.txid not in core.pool:
            core.refusals.remember(
                Refusal(verified.leaf, verified.txid, PoolFull.code, sentence, core.time_ms)
            )
            refusals.append((verified.txid, PoolFull.code, sentence))
    return refusals


def _check_may_come(
    core: Core,
    verified: VerifiedTransaction,
    coins: Mapping[bytes, Coin | None],
    *,
    own: bool,
) -> None:
    """Refuse a transaction whose missing coin can never come."""
    for outpoint in verified.inputs:
        if coins.get(outpoint) is None and pending_coin(core, outpoint) is None:
            parent = outpoint[:32]
            if core.overlay.height_of(parent) is not None or _is_genesis(core, parent):
                raise SpentCoin("it spends a coin that is already spent in the chain")
            if own or parent in core.pool:
                raise UnknownCoin("it spends a coin that this node does not know")


def _is_genesis(core: Core, txid: bytes) -> bool:
    return txid == core.genesis_txid
