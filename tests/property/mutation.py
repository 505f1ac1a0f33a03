"""Bytes made wrong: what a broken disk, a careless client or a liar may hand to a decoder."""

import struct
from collections.abc import Sequence
from random import Random
from typing import Final

# Headers of MessagePack that promise far more than follows, and the longest forms of small things.
_PROMISES: Final = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xcf" + b"\xff" * 8,
    b"\xd3" + bytes(8),
    b"\xcb" + struct.pack(">d", float("nan")),
    b"\xc7\xff\x05",
    b"\x91" * 600,
    b"\x81" * 200,
    b"\xc0",
    b"\xc1",
    b"\xff",
    b"\x00",
)
_TEXTS: Final = (
    b"[" * 5_000,
    b'{"a":' * 1_000,
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"1" * 400,
    b'"\\ud800"',
    b"\xed\xa0\x80",
    b"null",
    b"{}",
    b"[]",
    b"true",
    b'"method":"stop",',
    b"\x00",
    b"\xff\xfe",
    b"=",
    b"[[",
    b"'''",
    b"\r\n\r\n",
)


class Mutator:
    """Draws wrong bytes from right ones; equal seeds draw equal bytes."""

    def __init__(self, seed: int, samples: Sequence[bytes], *, is_text: bool) -> None:
        """Start from these samples."""
        self._dice = Random(seed)
        self._samples = samples
        self._pieces = _TEXTS if is_text else _PROMISES

    def draw(self) -> bytes:
        """Return the next wrong bytes; now and then they happen to be right."""
        dice = self._dice
        data = bytearray(dice.choice(self._samples))
        for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
            self._spoil(data)
        return bytes(data)

    def _spoil(self, data: bytearray) -> None:
        dice = self._dice
        place = dice.randrange(len(data) + 1)
        match dice.randrange(8):
            case 0 if data:
                data[place % len(data)] ^= 1 << dice.randrange(8)
            case 1 if data:
                data[place % len(data)] = dice.randrange(256)
            case 2:
                del data[place:]
            case 3:
                del data[place : place + dice.randint(1, 40)]
            case 4:
                data[place:place] = dice.randbytes(dice.randint(1, 40))
            case 5:
                data[place : place + dice.choice((0, 1, 2))] = dice.choice(self._pieces)
            case 6:
                data[place:place] = data[place : place + dice.randint(1, 80)]
            case _:
                other = dice.choice(self._samples)
                start = dice.randrange(len(other) + 1)
                data[place : place + dice.randint(0, 80)] = other[start : start + 80]
