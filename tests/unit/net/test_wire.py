"""Frames: any cutting of the stream gives the same frames, and a bad header costs nothing."""

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import Misuse
from lockstep.net.wire import FrameDecoder, FrameEmpty, FrameOversize, encode_frame
from lockstep.primitives.params import FRAME_BYTES_MAX, HELLO_FRAME_BYTES_MAX

BODIES = st.lists(st.binary(min_size=1, max_size=300), max_size=12)


@given(bodies=BODIES, cuts=st.lists(st.integers(min_value=1, max_value=40), min_size=1))
def test_any_cutting_gives_the_same_frames(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode_frame, bodies))
    assert FrameDecoder().feed(stream) == bodies
    decoder, start, frames = FrameDecoder(), 0, list[bytes]()
    for turn in range(len(stream)):
        size = cuts[turn % len(cuts)]
        frames += decoder.feed(stream[start : start + size])
        start += size
    assert frames == bodies
    decoder = FrameDecoder()
    assert [frame for byte in stream for frame in decoder.feed(bytes([byte]))] == bodies


@given(bodies=BODIES, tail=st.binary(max_size=64), cut=st.integers(min_value=1, max_value=500))
def test_garbage_raises_only_the_declared_errors(
    bodies: list[bytes], tail: bytes, cut: int
) -> None:
    stream = b"".join(map(encode_frame, bodies)) + tail
    decoder = FrameDecoder()
    with contextlib.suppress(FrameOversize, FrameEmpty):
        decoder.feed(stream[:cut])
        decoder.feed(stream[cut:])


def test_the_first_frame_has_the_small_cap_and_later_ones_the_large() -> None:
    hello, large = bytes(HELLO_FRAME_BYTES_MAX), bytes(FRAME_BYTES_MAX)
    # One chunk holds both: the cap changes with the frame, not with the reader's next turn.
    assert FrameDecoder().feed(encode_frame(hello) + encode_frame(large)) == [hello, large]
    with pytest.raises(FrameOversize):
        FrameDecoder().feed(encode_frame(hello + b"x"))
    with pytest.raises(FrameOversize):
        FrameDecoder().feed(encode_frame(hello) + (FRAME_BYTES_MAX + 1).to_bytes(4, "big"))


@pytest.mark.parametrize("size", [HELLO_FRAME_BYTES_MAX + 1, 2**31, 2**32 - 1])
def test_an_oversize_header_is_refused_without_allocation(size: int) -> None:
    header = size.to_bytes(4, "big")
    decoder = FrameDecoder()
    tracemalloc.start()
    try:
        with pytest.raises(FrameOversize):
            decoder.feed(header)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


def test_an_announced_body_that_never_comes_reserves_nothing() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_frame(b"hello"))
    tracemalloc.start()
    try:
        assert decoder.feed(FRAME_BYTES_MAX.to_bytes(4, "big") + b"abc") == []
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


def test_a_zero_length_is_refused() -> None:
    with pytest.raises(FrameEmpty):
        FrameDecoder().feed(bytes(4))


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1])
def test_what_the_receiver_would_refuse_is_not_sent(size: int) -> None:
    with pytest.raises(Misuse):
        encode_frame(bytes(size))
