"""The JSON shapes that several methods share: amounts, hashes, transactions, pages.

Amounts are written as JSON numbers with exactly eight decimals, by integer arithmetic alone, with
the base units beside them.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from lockstep.crypto.address import format_address
from lockstep.primitives import codec
from lockstep.primitives.ids import outpoint_index, outpoint_txid
from lockstep.primitives.params import COIN
from lockstep.primitives.transaction import Transaction, make_lock, make_txid
from lockstep.rpc.faults import WrongValue

T = TypeVar("T")

PAGE_ITEMS: Final = 100
PAGE_ITEMS_MAX: Final = 1_000
"""Items of one page of a list."""

HexHash = Annotated[
    str, Meta(pattern="^[0-9a-fA-F]{64}$", description="32 bytes as 64 hexadecimal characters")
]
# A pattern of pairs takes eleven microseconds a payment to match, `read_hex` a third of one.
HexBytes = Annotated[
    str,
    Meta(
        extra_json_schema={"pattern": "^([0-9a-fA-F]{2})*$"},
        description="bytes as hexadecimal characters",
    ),
]
Limit = Annotated[int, Meta(ge=1, le=PAGE_ITEMS_MAX, description="most items in one page")]
Cursor = Annotated[
    str, Meta(max_length=128, description="the cursor of the page before, empty for the first")
]
Coins = Annotated[
    Raw, Meta(extra_json_schema={"type": "number"}, description="coins, exactly eight decimals")
]
Units = Annotated[int, Meta(description="base units, 10^8 to the coin")]


def read_hex(texts: Sequence[str], *, parameter: str) -> list[bytes]:
    """Return the bytes that these texts of type `HexBytes` write.

    Raises:
        WrongValue: If one of them is no even number of hexadecimal characters.
    """
    try:
        values = list(map(bytes.fromhex, texts))
    except ValueError as fault:
        raise WrongValue(f"parameter {parameter!r}: expected bytes as hexadecimal") from fault
    # The library passes over white space, which is no part of our form and only makes texts longer.
    if sum(map(len, texts)) != 2 * sum(map(len, values)):
        raise WrongValue(f"parameter {parameter!r}: expected bytes as hexadecimal, nothing between")
    return values


class Page(Struct, Generic[T], frozen=True):
    """A page of a list; `cursor` asks for the next one, null when there is none."""

    items: list[T]
    cursor: str | None


class InputAnswer(Struct, frozen=True):
    """The output that an input spends."""

    txid: str
    vout: int


class OutputAnswer(Struct, frozen=True):
    """An output: its amount and who may spend it."""

    n: int
    value: Coins
    amount_units: Units
    address: str
    lock: str


class WitnessAnswer(Struct, frozen=True):
    """A revealed policy; `signers` are positions in `keys`."""

    lock: str
    threshold: int
    keys: list[str]
    signers: list[int]


class TransactionAnswer(Struct, frozen=True):
    """A transaction in words; the place is left out where it is in no block."""

    txid: str
    version: int
    size: int
    vin: list[InputAnswer]
    vout: list[OutputAnswer]
    memo: str
    witnesses: list[WitnessAnswer]
    hex: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    confirmations: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    blockhash: str | UnsetType = UNSET
    position: int | UnsetType = UNSET


def format_coins(amount: int) -> Raw:
    """Write an amount of base units as a JSON number with exactly eight decimals [L1]."""
    return Raw(b"%d.%08d" % divmod(amount, COIN))


def describe_transaction(
    transaction: Transaction, prefix: str, *, txid: bytes | None = None, **place: Any
) -> TransactionAnswer:
    """Put a transaction into words; `place` sets the optional fields."""
    body = transaction.body
    return TransactionAnswer(
        txid=(make_txid(body) if txid is None else txid).hex(),
        version=body.version,
        size=len(codec.encode(transaction)),
        vin=[InputAnswer(outpoint_txid(o).hex(), outpoint_index(o)) for o in body.inputs],
        vout=[
            OutputAnswer(
                n=n,
                value=format_coins(output.amount),
                amount_units=output.amount,
                address=format_address(prefix, output.lock),
                lock=output.lock.hex(),
            )
            for n, output in enumerate(body.outputs)
        ],
        memo=body.memo.hex(),
        witnesses=[
            WitnessAnswer(
                lock=make_lock(witness.policy).hex(),
                threshold=witness.policy.threshold,
                keys=[key.hex() for key in witness.policy.keys],
                signers=[i for i in range(len(witness.policy.keys)) if witness.signers >> i & 1],
            )
            for witness in transaction.witnesses
        ],
        **place,
    )


def parse_hash_cursor(cursor: str) -> bytes | None:
    """Read a cursor that is a hash; None for the first page.

    Raises:
        WrongValue: If it is none that a page gave.
    """
    if not cursor:
        return None
    try:
        data = bytes.fromhex(cursor)
    except ValueError as fault:
        raise WrongValue("parameter 'cursor': not a cursor of this list") from fault
    if len(data) != 32:
        raise WrongValue("parameter 'cursor': not a cursor of this list")
    return data


def make_page(items: list[T], limit: int, name: Callable[[T], str]) -> Page[T]:
    """Cut a page out of up to `limit` + 1 items; its last one's name is the cursor."""
    if len(items) <= limit:
        return Page(items, None)
    kept = items[:limit]
    return Page(kept, name(kept[-1]))
