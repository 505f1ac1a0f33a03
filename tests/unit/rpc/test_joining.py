"""What is written within a turn of the loop leaves as one piece, in order and before the end."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lockstep.rpc.joining import JOINED_BYTES_MAX, JoiningTransport


class Wire(asyncio.Transport):
    """Notes what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return name, default


steps = st.lists(st.one_of(st.binary(max_size=20), st.just("turn")), max_size=20)


@given(steps)
def test_each_turn_is_one_piece(drawn: list[bytes | str]) -> None:
    async def run() -> None:
        wire = Wire()
        joining = JoiningTransport(wire)
        turns: list[list[bytes]] = [[]]
        for step in drawn:
            if isinstance(step, bytes):
                joining.write(step)
                turns[-1].append(step)
            else:
                await asyncio.sleep(0)
                turns.append([])
        assert joining.get_write_buffer_size() == sum(map(len, turns[-1]))
        joining.close()
        assert wire.closed
        assert wire.pieces == [b"".join(turn) for turn in turns if turn]
        await asyncio.sleep(0)

    asyncio.run(run())


async def test_what_is_long_does_not_wait() -> None:
    wire = Wire()
    joining = JoiningTransport(wire)
    joining.write(b"head")
    joining.write(bytes(JOINED_BYTES_MAX))
    assert wire.pieces == [b"head" + bytes(JOINED_BYTES_MAX)]
    joining.write(b"lost")
    joining.abort()
    await asyncio.sleep(0)
    assert len(wire.pieces) == 1


async def test_nothing_is_written_to_a_connection_that_is_gone() -> None:
    wire = Wire()
    joining = JoiningTransport(wire)
    joining.write(b"an answer")
    wire.closed = True
    await asyncio.sleep(0)
    assert wire.pieces == []
