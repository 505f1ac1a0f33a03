"""`lockstep bench frames`: from a message to bytes in a stream and back, transport apart.

Encoding is what the sender does once for all its peers: MessagePack and the frame's header.
Decoding is what each receiver does: cutting the stream into frames, decoding, and checking that the
bytes are the canonical ones. The payments within a batch are not looked at here.
"""

from hashlib import sha256
from typing import Any, Final

from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.errors import Misuse
from lockstep.net.wire import FrameDecoder, encode_frame
from lockstep.primitives.block import Ballot, BallotKind
from lockstep.primitives.messages import (
    BatchBody,
    Message,
    Status,
    decode_message,
    encode_message,
)
from lockstep.primitives.votes import Entry, Vote, VoteKind

JOINED: Final = 64
"""Votes that leave in one write."""
_BITMAP: Final = bytes([255]) * 50
_KB: Final = 1024


def run(request: Request) -> Report:
    """Measure typical messages, alone and joined."""
    variants: dict[str, Variant] = {}
    sizes: dict[str, float] = {}
    for name, messages in make_messages().items():
        stream = encode_all(messages)
        if decode_all(stream) != messages:
            raise Misuse(f"{name} does not come back as it was sent")
        sizes[name] = len(stream) / len(messages)
        variants[f"encode {name}"] = Variant(_encoding(messages), items=len(messages))
        variants[f"decode {name}"] = Variant(_decoding(stream), items=len(messages))
    figures = measure(variants, repetitions=request.repetitions)
    table = {
        name: {
            "bytes": round(size),
            **{
                f"{way}_us_per_message": figures[f"{way} {name}"].cpu
                for way in ("encode", "decode")
            },
            **{
                f"{way}_us_per_kb": round(figures[f"{way} {name}"].cpu * _KB / size, 3)
                for way in ("encode", "decode")
            },
        }
        for name, size in sizes.items()
    }
    return Report(figures=figures, content={"messages": table}, lines=_describe(table, figures))


def make_messages() -> dict[str, list[Message]]:
    """Make what travels most, by name; a list of several leaves in one write."""
    maker = PaymentMaker(make_genesis([1] * 4, coins=400))

    def vote(*numbers: int) -> Vote:
        entries = tuple(Entry(_hash(number), _BITMAP) for number in numbers)
        return Vote(VoteKind.VOTE, 7, _hash(0), entries, bytes([9]) * 64)

    ballot = Ballot(
        BallotKind.PRECOMMIT, 70, 0, _hash(1), 1_700_000_000_000, _hash(2), bytes([9]) * 64
    )
    return {
        "batch of 400": [BatchBody(maker.make_body(0, 400))],
        "batch of 1": [BatchBody(maker.make_body(0, 1))],
        "vote on 1 batch": [vote(1)],
        "vote on 64 batches": [vote(*range(64))],
        "joined votes": [vote(number) for number in range(JOINED)],
        "ballot": [ballot],
        "status": [Status(70, _hash(1), 7)],
    }


def encode_all(messages: list[Message]) -> bytes:
    """Return the messages as frames in one piece, as an outbox writes them."""
    return b"".join([encode_frame(encode_message(message)) for message in messages])


def decode_all(stream: bytes) -> list[Message]:
    """Return the messages of a stream that comes in one piece."""
    decoder = FrameDecoder(first_bytes_max=len(stream))
    return [decode_message(frame) for frame in decoder.feed(stream)]


def _encoding(messages: list[Message]) -> Any:
    return lambda: encode_all(messages)


def _decoding(stream: bytes) -> Any:
    return lambda: decode_all(stream)


def _hash(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def _describe(table: dict[str, dict[str, float]], figures: dict[str, Figure]) -> list[str]:
    lines = ["CPU microseconds a message (10th to 90th percentile), and a KB"]
    for name, row in table.items():
        lines.append(f"{name}, {row['bytes']} bytes:")
        for way in ("encode", "decode"):
            found = figures[f"{way} {name}"]
            lines.append(
                f"  {way} {found.cpu:9.3f} ({found.cpu_low:.3f} to {found.cpu_high:.3f}),"
                f" {row[f'{way}_us_per_kb']:8.3f}"
            )
    return lines
