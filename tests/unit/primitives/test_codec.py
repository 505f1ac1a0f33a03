"""One value has one encoding: all else is refused, and no error but Rejected comes out [L8]."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import Rejected
from lockstep.primitives import codec
from lockstep.primitives.messages import Message, decode_message, encode_message
from lockstep.primitives.params import FRAME_BYTES_MAX
from lockstep.primitives.transaction import Transaction
from unit.primitives.specimens import MESSAGES, SHAPES, SINGLE

SAMPLES: Final[list[tuple[Any, bytes]]] = [
    *((type(value), codec.encode(value)) for value in SHAPES.values()),
    *((Message, codec.encode(value)) for value in MESSAGES.values()),
]
SIZE_MAX: Final = 1 << 20


def decode(shape: Any, data: bytes) -> Any:
    return codec.decode(shape, data, size_max=SIZE_MAX)


def write(value: object, counter: Iterator[int], wide: int) -> bytes:
    """Write raw MessagePack, the node with number `wide` in its longest form."""
    longest = next(counter) == wide
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        if not longest:
            return codec.encode(value)
        return b"\xd3" + value.to_bytes(8, "big", signed=True)
    if isinstance(value, bytes):
        header = b"\xc6" + len(value).to_bytes(4, "big")
        return (header + value) if longest else codec.encode(value)
    if isinstance(value, str):
        header = b"\xdb" + len(value.encode()).to_bytes(4, "big")
        return (header + value.encode()) if longest else codec.encode(value)
    assert isinstance(value, list)
    header = b"\xdd" + len(value).to_bytes(4, "big") if longest else codec.encode(value)[:1]
    if not longest and len(value) > 15:
        header = codec.encode(value)[:3]
    return header + b"".join(write(item, counter, wide) for item in value)


def count_nodes(value: object) -> int:
    return 1 + (sum(map(count_nodes, value)) if isinstance(value, list) else 0)


def lists_of(value: object) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
        for item in value:
            yield from lists_of(item)


@pytest.mark.parametrize(("shape", "data"), SAMPLES)
def test_decoding_undoes_encoding(shape: Any, data: bytes) -> None:
    """[L8]."""
    value = decode(shape, data)
    assert codec.encode(value) == data
    assert decode(shape, codec.encode(value)) == value


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_come_back_as_themselves(name: str) -> None:
    """[L8] The tag alone says which of the union it is."""
    again = decode_message(encode_message(MESSAGES[name]))
    assert again == MESSAGES[name]
    assert type(again) is type(MESSAGES[name])


@pytest.mark.parametrize(("shape", "data"), SAMPLES)
def test_longer_forms_of_the_same_value_are_refused(shape: Any, data: bytes) -> None:
    """[L8] Integers, byte strings and arrays, each in turn."""
    raw = msgspec.msgpack.decode(data)
    assert write(raw, iter(range(10**6)), -1) == data
    refused = 0
    for wide in range(min(count_nodes(raw), 80)):
        longer = write(raw, iter(range(10**6)), wide)
        if longer == data:
            continue
        assert msgspec.msgpack.decode(longer) == raw
        with pytest.raises(codec.Malformed):
            decode(shape, longer)
        refused += 1
    assert refused


@pytest.mark.parametrize(("shape", "data"), SAMPLES)
def test_trailing_bytes_and_truncation_are_refused(shape: Any, data: bytes) -> None:
    """[L8]."""
    for wrong in (data + b"\x00", data + data, data[:-1], data[: len(data) // 2], b""):
        with pytest.raises(codec.Malformed):
            decode(shape, wrong)


@pytest.mark.parametrize(("shape", "data"), SAMPLES)
def test_missing_and_surplus_fields_never_read_as_the_same_value(shape: Any, data: bytes) -> None:
    """[L8] In every array of the object: the last item taken off, and one more put on."""
    value = decode(shape, data)
    for place in range(len(list(lists_of(msgspec.msgpack.decode(data))))):
        for surplus in (False, True):
            raw = msgspec.msgpack.decode(data)
            items = list(lists_of(raw))[place]
            if surplus:
                items.append(None)
            elif items:
                items.pop()
            else:
                continue
            try:
                assert decode(shape, msgspec.msgpack.encode(raw)) != value
            except codec.Malformed:
                continue


@pytest.mark.parametrize(("shape", "data"), SAMPLES)
def test_top_level_fields_are_all_required(shape: Any, data: bytes) -> None:
    """[L8] msgspec would fill a missing last field from a default; there is none to fill from."""
    raw = msgspec.msgpack.decode(data)
    for wrong in (raw[:-1], [*raw, 0], []):
        with pytest.raises(codec.Malformed):
            decode(shape, msgspec.msgpack.encode(wrong))


@given(
    sample=st.sampled_from(SAMPLES),
    edits=st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 255), st.sampled_from("=+-")),
        min_size=1,
        max_size=4,
    ),
)
def test_damaged_bytes_are_refused_or_canonical(
    sample: tuple[Any, bytes], edits: list[tuple[int, int, str]]
) -> None:
    """[L8] No error but Rejected escapes, and what is accepted encodes to the same bytes."""
    shape, data = sample
    damaged = bytearray(data)
    for place, byte, kind in edits:
        at = place % (len(damaged) + 1)
        if kind == "+":
            damaged.insert(at, byte)
        elif at < len(damaged):
            damaged[at : at + 1] = bytes([byte]) if kind == "=" else b""
    try:
        value = decode(shape, bytes(damaged))
    except Rejected:
        return
    assert codec.encode(value) == bytes(damaged)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_canonical(data: bytes) -> None:
    """[L8]."""
    try:
        message = decode_message(data)
    except Rejected:
        return
    assert encode_message(message) == data


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 100_000,
        b"\x81" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\x00\x00\x00\x01\x00\x00",
        b"\x92\x03\xa1\xff",
    ],
)
def test_hostile_bytes_are_refused(data: bytes) -> None:
    """[L8] Deep nesting, lengths that lie, extension types, text that is no text."""
    with pytest.raises(codec.Malformed):
        decode_message(data)


@pytest.mark.parametrize(
    ("amount", "readable"),
    [(-1, False), (0, True), (2**63 - 1, True), (2**63, False), (2**64 - 1, False), (1.0, False)],
)
def test_amounts_are_integers_from_0_to_the_greatest_of_63_bits(
    amount: float, readable: bool
) -> None:
    """[L1] As bytes on the wire: what a constructor would take unasked."""
    raw = msgspec.msgpack.decode(codec.encode(SINGLE))
    raw[0][2][0][0] = amount
    data = msgspec.msgpack.encode(raw)
    if readable:
        assert decode(Transaction, data).body.outputs[0].amount == amount
    else:
        with pytest.raises(codec.Malformed):
            decode(Transaction, data)


def test_text_that_is_no_text_is_refused() -> None:
    """[L8] msgspec raises another error for it than for all else."""
    data = codec.encode(SHAPES["genesis"])
    with pytest.raises(codec.Malformed):
        decode(type(SHAPES["genesis"]), data.replace(b"devnet", b"\xff" * 6))


def test_size_is_judged_before_anything_else() -> None:
    """[L8]."""
    with pytest.raises(codec.Oversize):
        decode_message(bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(codec.Malformed):
        decode_message(bytes(FRAME_BYTES_MAX))
