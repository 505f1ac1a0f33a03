"""The one canonical encoding [L8].

MessagePack as msgspec writes array-like structs: minimal integers, fields in order. msgspec accepts
more than it writes (longer integers, missing trailing fields), so what was decoded is encoded again
and refused when the bytes differ. Nothing is hashed before that check.
"""

from typing import Any, Final, TypeVar

import msgspec

from lockstep.errors import Rejected

T = TypeVar("T")

encode: Final = msgspec.msgpack.Encoder().encode
"""Encode a value of ours to its canonical bytes [L8]."""


class Malformed(Rejected):
    """The bytes are not the canonical encoding of what they should be."""

    code = "bytes.malformed"


class Oversize(Rejected):
    """There are more bytes than the limit for this shape."""

    code = "bytes.oversize"


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
    if len(data) > size_max:
        raise Oversize(f"{len(data)} bytes where at most {size_max} are allowed")
    try:
        value: T = _decoder(shape).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Malformed(f"not a {_name(shape)}: {fault}") from fault
    if encode(value) != data:
        raise Malformed(f"these bytes of a {_name(shape)} are not its canonical form")
    return value


def _name(shape: Any) -> str:
    return getattr(shape, "__name__", "known message")
