"""Names and bounds of the smallest values: hashes, ids, amounts, heights.

The Annotated bounds are what the decoder enforces; constructors check nothing.
"""

from typing import Annotated, Final, NewType

from msgspec import Meta

AMOUNT_MAX: Final = 2**63 - 1
"""The largest integer that any encoding holds."""
INDEX_BYTES: Final = 4
OUTPOINT_BYTES: Final = 36

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Amount = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Counter = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
SignedRound = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
Round = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Small = Annotated[int, Meta(ge=0, le=65535)]
Bitmap = Annotated[bytes, Meta(max_length=65536)]

OutPoint = Annotated[bytes, Meta(min_length=OUTPOINT_BYTES, max_length=OUTPOINT_BYTES)]
"""Names an output: txid of 32 bytes, then the output's index as four bytes, big-endian."""

MemberId = NewType("MemberId", Annotated[bytes, Meta(min_length=32, max_length=32)])
"""Names a masternode for its whole life; does not change with its keys."""


def make_outpoint(txid: bytes, index: int) -> bytes:
    """Name output `index` of the transaction `txid`, as 36 bytes."""
    return txid + index.to_bytes(INDEX_BYTES, "big")


def outpoint_txid(outpoint: bytes) -> bytes:
    """Return the 32-byte txid of the transaction that made this output."""
    return outpoint[:32]


def outpoint_index(outpoint: bytes) -> int:
    """Return the index of the output within its transaction."""
    return int.from_bytes(outpoint[32:], "big")


def format_outpoint(outpoint: bytes) -> str:
    """Write an outpoint as people do: hexadecimal txid, a colon, the index."""
    return f"{outpoint[:32].hex()}:{outpoint_index(outpoint)}"
