"""Methods on coins and addresses."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from lockstep.crypto.address import format_address, parse_address
from lockstep.errors import Rejected, Unavailable
from lockstep.primitives.genesis import genesis_outpoint
from lockstep.primitives.ids import make_outpoint, outpoint_index, outpoint_txid
from lockstep.primitives.transaction import TransactionOutput
from lockstep.replica.answers import CoinState
from lockstep.rpc.faults import NotFound, WrongValue
from lockstep.rpc.service import NodeService
from lockstep.rpc.shapes import (
    PAGE_ITEMS,
    PAGE_ITEMS_MAX,
    Coins,
    HexHash,
    Limit,
    Page,
    Units,
    format_coins,
    make_page,
)

ADDRESSES_MAX: Final = 100
"""Addresses that one call asks about."""
BALANCE_COINS_MAX: Final = 20_000
"""Coins that a balance adds up."""
_PENDING: Final = "p"
_CHAIN: Final = "c"

OutputIndex = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Address = Annotated[str, Meta(max_length=128)]
SomeAddresses = Annotated[list[Address], Meta(min_length=1, max_length=ADDRESSES_MAX)]
Addresses = Annotated[list[Address], Meta(max_length=ADDRESSES_MAX)]
Confirmations = Annotated[int, Meta(ge=0, le=2**63 - 1)]
CoinCursor = Annotated[str, Meta(max_length=128, pattern="^([0-9]{1,3}[pc][0-9a-f]{72})?$")]


class TxoutAnswer(Struct, frozen=True):
    """An unspent output of the chain."""

    bestblock: str
    confirmations: int
    value: Coins
    amount_units: Units
    address: str
    lock: str


class CoinSetAnswer(Struct, frozen=True):
    """All coins of the chain, and the last commitment to a state of it [S1].

    The last closing block, `commitment_block`, commits to the state above `commitment_height`, the
    closing block before it or genesis; all three are null in the first epoch.
    """

    height: int
    bestblock: str
    txouts: int
    total_amount: Coins
    total_units: Units
    state_commitment: str | None
    commitment_height: int | None
    commitment_block: str | None
    fees_pending_units: Units
    issued_units: Units
    burnt_units: Units


class CoinStateAnswer(Struct, frozen=True):
    """The state of an output; `spender` is the pending payment that spends it."""

    txid: str
    vout: int
    state: CoinState
    value: Coins
    amount_units: Units
    address: str
    lock: str
    height: int | None
    spender: str | None


class UnspentAnswer(Struct, frozen=True):
    """A coin under an asked address.

    `height` is null, and `payment_state` tells how far its payment is, while it is in no block;
    `spender` is the pending payment that spends it.
    """

    txid: str
    vout: int
    address: str
    amount: Coins
    amount_units: Units
    confirmations: int
    height: int | None
    state: CoinState
    payment_state: str | None
    spender: str | None


class BalanceAnswer(Struct, frozen=True):
    """Sums under some addresses: in the chain and unspent, being spent, and on the way in."""

    confirmed: Coins
    confirmed_units: Units
    spending_units: Units
    incoming_units: Units
    incoming_final_units: Units
    coins: int
    height: int


class AddressAnswer(Struct, frozen=True):
    """Whether a text is an address of this network, and why not."""

    isvalid: bool
    address: str
    lock: str | None
    error: str | None


async def gettxout(
    service: NodeService, txid: HexHash, n: OutputIndex, *, include_mempool: bool = True
) -> TxoutAnswer | None:
    """Return an unspent output, or null; one that a pending payment spends is hidden by default."""
    outpoint = make_outpoint(bytes.fromhex(txid), n)
    [coin] = service.view.coins_of([outpoint])
    if coin is None or (include_mempool and service.view.pending_spends([outpoint]) != [None]):
        return None
    state = service.view.state
    return TxoutAnswer(
        bestblock=state.block_id.hex(),
        confirmations=state.height - coin.height + 1,
        value=format_coins(coin.amount),
        amount_units=coin.amount,
        address=format_address(service.params.address_prefix, coin.lock),
        lock=coin.lock.hex(),
    )


async def gettxoutsetinfo(service: NodeService) -> CoinSetAnswer:
    """Return number and sum of all coins, the money counters, and the state commitment [L6, S1]."""
    state = service.readers.state()
    return CoinSetAnswer(
        height=state.height,
        bestblock=state.block_id.hex(),
        txouts=state.coin_count,
        total_amount=format_coins(state.coin_sum),
        total_units=state.coin_sum,
        state_commitment=state.state_commitment.hex() if state.epoch else None,
        commitment_height=state.summed_height if state.epoch else None,
        commitment_block=state.closing_id.hex() if state.epoch else None,
        fees_pending_units=state.fees_pending,
        issued_units=state.issued,
        burnt_units=state.burnt,
    )


async def getutxostate(service: NodeService, txid: HexHash, index: OutputIndex) -> CoinStateAnswer:
    """Return the life of an output: Unspent, Locked, SpentPending, SpentFinalized, Confirmed."""
    coin = service.view.coin(make_outpoint(bytes.fromhex(txid), index))
    if coin is None:
        raise NotFound(f"no output {txid}:{index} is known")
    amount, lock = coin.amount, coin.lock
    if coin.state is CoinState.CONFIRMED:
        # Spent in a block: the coin is gone, the transaction that made it is not.
        await service.level()
        made = _made_output(service, bytes.fromhex(txid), index)
        if made is None:
            raise NotFound(f"no output {txid}:{index} is known")
        amount, lock = made.amount, made.lock
    return CoinStateAnswer(
        txid=txid.lower(),
        vout=index,
        state=coin.state,
        value=format_coins(amount),
        amount_units=amount,
        address=format_address(service.params.address_prefix, lock),
        lock=lock.hex(),
        height=coin.height,
        spender=coin.spender.hex() if coin.spender else None,
    )


async def listunspent(
    service: NodeService,
    *,
    minconf: Confirmations = 0,
    maxconf: Confirmations = 9_999_999,
    addresses: Addresses = [],  # noqa: B006  # The default is never handed out, only described.
    cursor: CoinCursor = "",
    limit: Limit = PAGE_ITEMS,
) -> Page[UnspentAnswer]:
    """Return a page of the coins under up to 100 addresses, in the order of the addresses.

    Within an address those on the way in come first (none of them when `minconf` is above 0). A
    page may be empty and still have a cursor.
    """
    if not addresses:
        raise WrongValue("parameter 'addresses': name at least one; a node has no wallet")
    await service.level()
    locks = [parse_address(service.params.address_prefix, address) for address in addresses]
    place, phase, after = _read_cursor(cursor, len(locks))
    rows: list[tuple[str, UnspentAnswer]] = []
    while place < len(locks) and len(rows) <= limit:
        want = limit + 1 - len(rows)
        if phase == _PENDING:
            found = _incoming(service, addresses[place], locks[place], after)[:want]
        else:
            found = _in_chain(service, addresses[place], locks[place], after, want)
        rows += [(f"{place}{phase}{outpoint.hex()}", row) for outpoint, row in found]
        if len(found) < want:
            place, phase = (place, _CHAIN) if phase == _PENDING else (place + 1, _PENDING)
            after = None
    page = make_page(rows, limit, lambda row: row[0])
    fitting = [row for _, row in page.items if minconf <= row.confirmations <= maxconf]
    return Page(fitting, page.cursor)


async def getaddressbalance(service: NodeService, addresses: SomeAddresses) -> BalanceAnswer:
    """Return the sums under up to 100 addresses together, of at most 20,000 coins."""
    await service.level()
    locks = {parse_address(service.params.address_prefix, address): None for address in addresses}
    confirmed = spending = incoming = final = count = 0
    for lock in locks:
        after: bytes | None = None
        while coins := service.readers.coins_of_lock(lock, after, limit=PAGE_ITEMS_MAX):
            spenders = service.view.pending_spends([outpoint for outpoint, _ in coins])
            for (_, coin), spender in zip(coins, spenders, strict=True):
                confirmed += coin.amount if spender is None else 0
                spending += coin.amount if spender is not None else 0
            after = coins[-1][0]
            count += len(coins)
            if count > BALANCE_COINS_MAX:
                raise Unavailable(f"more than {BALANCE_COINS_MAX} coins: page through listunspent")
        for _, amount, state in service.view.pending_outputs_of(lock):
            incoming += amount
            final += amount if state == "final" else 0
    return BalanceAnswer(
        confirmed=format_coins(confirmed),
        confirmed_units=confirmed,
        spending_units=spending,
        incoming_units=incoming,
        incoming_final_units=final,
        coins=count,
        height=service.readers.state().height,
    )


async def validateaddress(service: NodeService, address: Address) -> AddressAnswer:
    """Tell whether a text is an address of this network."""
    try:
        lock = parse_address(service.params.address_prefix, address)
    except Rejected as fault:
        return AddressAnswer(isvalid=False, address=address, lock=None, error=str(fault))
    return AddressAnswer(isvalid=True, address=address, lock=lock.hex(), error=None)


def _made_output(service: NodeService, txid: bytes, index: int) -> TransactionOutput | None:
    """Return an output of the chain's transactions or of genesis, spent or not."""
    if txid == outpoint_txid(genesis_outpoint(service.view.chain_id, 0)):
        outputs = service.view.genesis.coins
    else:
        found = service.readers.transaction(txid)
        outputs = found[0].body.outputs if found else ()
    return outputs[index] if index < len(outputs) else None


def _read_cursor(cursor: str, addresses: int) -> tuple[int, str, bytes | None]:
    """Split a cursor into the address's place, the phase and the outpoint to go on after."""
    if not cursor:
        return 0, _PENDING, None
    head, outpoint = cursor[:-72], cursor[-72:]
    place = int(head[:-1])
    if place >= addresses:
        raise WrongValue("parameter 'cursor': it belongs to another list of addresses")
    return place, head[-1], bytes.fromhex(outpoint)


def _incoming(
    service: NodeService, address: str, lock: bytes, after: bytes | None
) -> list[tuple[bytes, UnspentAnswer]]:
    rows = sorted(service.view.pending_outputs_of(lock))
    rows = [row for row in rows if after is None or row[0] > after]
    spenders = service.view.pending_spends([outpoint for outpoint, _, _ in rows])
    return [
        (
            outpoint,
            UnspentAnswer(
                txid=outpoint_txid(outpoint).hex(),
                vout=outpoint_index(outpoint),
                address=address,
                amount=format_coins(amount),
                amount_units=amount,
                confirmations=0,
                height=None,
                state=_state(service, outpoint, spender),
                payment_state=state,
                spender=spender.hex() if spender else None,
            ),
        )
        for (outpoint, amount, state), spender in zip(rows, spenders, strict=True)
    ]


def _in_chain(
    service: NodeService, address: str, lock: bytes, after: bytes | None, limit: int
) -> list[tuple[bytes, UnspentAnswer]]:
    coins = service.readers.coins_of_lock(lock, after, limit=limit)
    spenders = service.view.pending_spends([outpoint for outpoint, _ in coins])
    tip = service.readers.state().height
    return [
        (
            outpoint,
            UnspentAnswer(
                txid=outpoint_txid(outpoint).hex(),
                vout=outpoint_index(outpoint),
                address=address,
                amount=format_coins(coin.amount),
                amount_units=coin.amount,
                confirmations=tip - coin.height + 1,
                height=coin.height,
                state=_state(service, outpoint, spender),
                payment_state=None,
                spender=spender.hex() if spender else None,
            ),
        )
        for (outpoint, coin), spender in zip(coins, spenders, strict=True)
    ]


def _state(service: NodeService, outpoint: bytes, spender: bytes | None) -> CoinState:
    if spender is None:
        return CoinState.UNSPENT
    coin = service.view.coin(outpoint)
    return CoinState.LOCKED if coin is None else coin.state
