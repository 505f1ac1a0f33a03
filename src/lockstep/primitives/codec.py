"""The one canonical encoding [L8].

MessagePack as msgspec writes array-like structs: minimal integers, fields in order. msgspec accepts
more than it writes (longer integers, missing trailing fields), so what was decoded is encoded again
and refused when the bytes differ. Nothing is hashed before that check.
"""

from typing import Any, Final, TypeVar

import msgspec

from lockstep.errors import Misuse, Rejected

T = TypeVar("T")

_encoder: Final = msgspec.msgpack.Encoder()
encode: Final = _encoder.encode
"""Encode a value of ours to its canonical bytes [L8]."""
encode_into: Final = _encoder.encode_into
"""Encode a value of ours into a bytearray from an offset on; -1 is behind what it holds [L8]."""


class Malformed(Rejected):
    """The bytes are not the canonical encoding of what they should be."""

    code = "bytes.malformed"


class Oversize(Rejected):
    """There are more bytes than the limit for this shape."""

    code = "bytes.oversize"


_ROW_MAX: Final = 2**16 - 1
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def _decoder(shape: Any) -> msgspec.msgpack.Decoder[Any]:
    decoder = _decoders.get(shape)
    if decoder is None:
        decoder = _decoders[shape] = msgspec.msgpack.Decoder(shape)
    return decoder


def decode(shape: type[T], data: bytes, *, size_max: int) -> T:
    """Decode canonical bytes of at most `size_max` to a value of `shape` [L8].

    Raises:
        Oversize: If there are more than `size_max` bytes.
        Malformed: If the bytes are no such value, or not its canonical form.
    """
    value = decode_unproven(shape, data, size_max=size_max)
    if encode(value) != data:
        raise not_canonical(shape)
    return value


def decode_unproven(shape: type[T], data: bytes, *, size_max: int) -> T:
    """Decode to a value of `shape`; whether the bytes are its canonical form is left to prove [L8].

    For whoever needs the encodings of the parts in any case: joined, they are the proof.

    Raises:
        Oversize: If there are more than `size_max` bytes.
        Malformed: If the bytes are no such value.
    """
    if len(data) > size_max:
        raise Oversize(f"{len(data)} bytes where at most {size_max} are allowed")
    try:
        value: T = _decoder(shape).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Malformed(f"not a {_name(shape)}: {fault}") from fault
    return value


def not_canonical(shape: Any) -> Malformed:
    """Return what to raise where the bytes of a value are not its canonical form [L8]."""
    return Malformed(f"these bytes of a {_name(shape)} are not its canonical form")


def array_head(count: int) -> bytes:
    """Return the bytes with which the encoding of `count` values in a row begins [L8].

    What follows are the encodings of the values themselves, so that parts that were encoded once
    are joined and not encoded again.

    Raises:
        Misuse: If there are more than any shape of ours allows.
    """
    if not 0 <= count <= _ROW_MAX:
        raise Misuse(f"a row of {count} values is not encoded from parts")
    return bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def _name(shape: Any) -> str:
    return getattr(shape, "__name__", "known message")
