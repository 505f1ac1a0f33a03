"""Methods on transactions: submit, show, and how final they are.

Nothing is called final here but what the view says is [F4], and no such answer leaves before it is
synced: the dispatcher waits.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct

from lockstep.primitives import codec
from lockstep.primitives.transaction import (
    BATCH_TRANSACTIONS_MAX,
    TRANSACTION_BYTES_MAX,
    Transaction,
)
from lockstep.rpc.block_methods import CertificateAnswer, describe_certificate
from lockstep.rpc.faults import NotFound, TransactionRefused
from lockstep.rpc.service import NodeService
from lockstep.rpc.shapes import (
    PAGE_ITEMS,
    Cursor,
    HexBytes,
    HexHash,
    Limit,
    Page,
    TransactionAnswer,
    describe_transaction,
    make_page,
    parse_hash_cursor,
    read_hex,
)

SUBMIT_BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""The body of `submittransactions`."""
WAIT_MS: Final = 10_000
WAIT_MS_MAX: Final = 60_000
"""How long a call may wait for finality."""

HexList = Annotated[list[HexBytes], Meta(min_length=1, max_length=BATCH_TRANSACTIONS_MAX)]
WaitMs = Annotated[int, Meta(ge=0, le=WAIT_MS_MAX)]
Verbosity = Annotated[int, Meta(ge=0, le=2)]


class SubmitAnswer(Struct, frozen=True, omit_defaults=True):
    """What became of one submitted transaction; `txid` is null where the bytes are none.

    `retry_after_ms` stands where the same may be accepted later: submit it again after that time.
    """

    txid: str | None
    accepted: bool
    code: str
    message: str
    retry_after_ms: int = 0


class RefusalAnswer(Struct, frozen=True):
    """Why a payment was refused, and how long ago."""

    code: str
    message: str
    age_ms: int


class BlockPlace(Struct, frozen=True):
    """Where in the chain a payment stands; hash and certificate once the block is synced."""

    height: int
    hash: str | None
    confirmations: int
    certificate: CertificateAnswer | None


class FinalityAnswer(Struct, frozen=True):
    """How final a payment is, and the proof of it.

    `state` is unknown, refused, waiting, voted, certified, final (by Confirms) or confirmed (in a
    block). `confirms` are the signed Confirms behind a live finality, as canonical bytes in hex;
    `block` is the other proof, once the payment stands in one.
    """

    txid: str
    state: str
    final: bool
    epoch: int
    vote_weight: int
    confirm_weight: int
    quorum: int
    total_weight: int
    voters: list[str]
    confirmers: list[str]
    batch_id: str | None
    confirms: list[str]
    block: BlockPlace | None
    reason: str
    refusal: RefusalAnswer | None


class WaitAnswer(FinalityAnswer, frozen=True, kw_only=True):
    """The same, and whether the time ran out before anything was decided."""

    timed_out: bool


class PoolEntry(Struct, frozen=True):
    """A payment in the pool."""

    txid: str
    size: int
    fee_units: int | None
    age_ms: int
    state: str
    reason: str
    vote_weight: int
    confirm_weight: int


class PoolTotals(Struct, frozen=True):
    """The pool's counts; the limits hold for what has not been voted for [F6]."""

    loaded: bool
    size: int
    bytes: int
    waiting: int
    waiting_bytes: int
    voted: int
    voted_bytes: int
    final: int
    refused: int
    maxmempool: int
    transactions_max: int


async def sendrawtransaction(service: NodeService, hexstring: HexBytes) -> str:
    """Submit a transaction; return its txid once it is held durably.

    The same one again answers the same txid.
    """
    [result] = await service.submit(read_hex([hexstring], parameter="hexstring"))
    if not result.accepted:
        refused = result.code, result.sentence
        raise TransactionRefused(*refused, retry_after_ms=result.retry_after_ms)
    return result.txid.hex()


async def submittransactions(service: NodeService, hexstrings: HexList) -> list[SubmitAnswer]:
    """Submit up to 400 transactions at once; return a result for each, in order.

    The body may have 8 MiB, eight times what other methods take.
    """
    results = await service.submit(read_hex(hexstrings, parameter="hexstrings"))
    return [
        SubmitAnswer(
            row.txid.hex() if row.txid else None,
            row.accepted,
            row.code,
            row.sentence,
            row.retry_after_ms,
        )
        for row in results
    ]


async def decoderawtransaction(service: NodeService, hexstring: HexBytes) -> TransactionAnswer:
    """Put the canonical bytes of a transaction into words, without submitting it."""
    [raw] = read_hex([hexstring], parameter="hexstring")
    transaction = codec.decode(Transaction, raw, size_max=TRANSACTION_BYTES_MAX)
    return describe_transaction(transaction, service.params.address_prefix)


async def getrawtransaction(
    service: NodeService, txid: HexHash, *, verbose: bool | Verbosity = False
) -> str | TransactionAnswer:
    """Return a transaction of the chain or the pool: canonical bytes as hex, or words."""
    await service.level()
    name = bytes.fromhex(txid)
    found = service.readers.transaction(name)
    pending = None if found else service.view.pending(name)
    if found:
        transaction, height, position = found
    elif pending:
        transaction, height, position = pending.transaction, None, None
    else:
        raise NotFound(f"neither the chain nor the pool holds transaction {txid}")
    text = codec.encode(transaction).hex()
    if not verbose:
        return text
    place = _place(service, height)
    return describe_transaction(
        transaction,
        service.params.address_prefix,
        txid=name,
        hex=text,
        state=pending.state if pending else "confirmed",
        confirmations=place.confirmations if place else 0,
        height=place.height if place else UNSET,
        blockhash=place.hash if place and place.hash else UNSET,
        position=UNSET if position is None else position,
    )


async def gettransactionfinality(service: NodeService, txid: HexHash) -> FinalityAnswer:
    """Return how final a payment is, by what weight, and the certificate that proves it."""
    return await _finality(service, txid)


async def waittransactionfinality(
    service: NodeService, txid: HexHash, *, timeout_ms: WaitMs = WAIT_MS
) -> WaitAnswer:
    """Wait until a payment is final or refused, at most `timeout_ms`; return how final it is.

    A payment nobody has submitted yet may be waited for.
    """
    in_time = await service.wait_final(bytes.fromhex(txid), timeout_ms=timeout_ms)
    answer = await _finality(service, txid)
    fields = {name: getattr(answer, name) for name in answer.__struct_fields__}
    return WaitAnswer(**fields, timed_out=not in_time)


async def getmempoolinfo(service: NodeService) -> PoolTotals:
    """Return how full the pool is."""
    pool = service.view.pool()
    return PoolTotals(
        loaded=True,
        size=pool.waiting + pool.voted,
        bytes=pool.waiting_bytes + pool.voted_bytes,
        waiting=pool.waiting,
        waiting_bytes=pool.waiting_bytes,
        voted=pool.voted,
        voted_bytes=pool.voted_bytes,
        final=pool.final,
        refused=pool.refused,
        maxmempool=pool.bytes_max,
        transactions_max=pool.transactions_max,
    )


async def getrawmempool(
    service: NodeService, *, verbose: bool = False, cursor: Cursor = "", limit: Limit = PAGE_ITEMS
) -> Page[str | PoolEntry]:
    """Return a page of the pool ordered by txid: txids, or entries when verbose."""
    rows = service.view.pending_page(parse_hash_cursor(cursor), limit + 1)
    now_ms = service.clock_ms()
    page = make_page(rows, limit, lambda row: row.txid.hex())
    items: list[str | PoolEntry] = [
        PoolEntry(
            txid=row.txid.hex(),
            size=row.size_bytes,
            fee_units=row.fee,
            age_ms=max(0, now_ms - row.received_ms),
            state=row.state,
            reason=row.reason,
            vote_weight=row.vote_weight,
            confirm_weight=row.confirm_weight,
        )
        if verbose
        else row.txid.hex()
        for row in page.items
    ]
    return Page(items, page.cursor)


async def _finality(service: NodeService, txid: str) -> FinalityAnswer:
    await service.level()
    view = service.view
    name = bytes.fromhex(txid)
    place = _place(service, view.height_of(name))
    pending = None if place else view.pending(name)
    refusal = None if place or pending else view.refusal(name)
    confirms = view.confirms_of(name)
    final = place is not None or view.is_final(name)
    if place:
        state = "confirmed"
    elif final:
        state = "final"
    elif pending:
        state = str(pending.state)
    else:
        state = "refused" if refusal else "unknown"
    epoch = view.state.epoch
    committee = view.committee_for_epoch(epoch)
    return FinalityAnswer(
        txid=txid.lower(),
        state=state,
        final=final,
        epoch=epoch,
        vote_weight=pending.vote_weight if pending else 0,
        confirm_weight=pending.confirm_weight if pending else 0,
        quorum=committee.quorum if committee else 0,
        total_weight=committee.total_weight if committee else 0,
        voters=[voter.hex() for voter in pending.voters] if pending else [],
        confirmers=[voter.hex() for voter in pending.confirmers] if pending else [],
        batch_id=pending.batch_id.hex() if pending else None,
        confirms=[codec.encode(confirm).hex() for confirm in confirms],
        block=place,
        reason=pending.reason if pending else "",
        refusal=RefusalAnswer(refusal.code, refusal.sentence, refusal.age_ms) if refusal else None,
    )


def _place(service: NodeService, height: int | None) -> BlockPlace | None:
    if height is None:
        return None
    certificate = service.certificate_at(height)
    tip = max(service.readers.state().height, service.view.state.height)
    return BlockPlace(
        height=height,
        hash=certificate.block_id.hex() if certificate else None,
        confirmations=tip - height + 1,
        certificate=describe_certificate(certificate) if certificate else None,
    )
