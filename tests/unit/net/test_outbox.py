"""What waits for a peer leaves in order and in few writes: with the turn, or when it is told to."""

import asyncio
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from lockstep.net.outbox import Outbox

STEPS = st.lists(
    st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from(["turn", "flush"])), max_size=20
)


class Wire:
    """Notes each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)


@given(STEPS)
def test_one_write_a_turn_or_flush(steps: list[bytes | str]) -> None:
    async def run() -> None:
        wire = Wire()
        outbox = Outbox(asyncio.get_running_loop())
        outbox.open(cast("asyncio.Transport", wire))
        parts: list[list[bytes]] = [[]]
        for step in steps:
            if isinstance(step, bytes):
                outbox.put(step)
                parts[-1].append(step)
                continue
            if step == "flush":
                outbox.flush()
            else:
                await asyncio.sleep(0)
            parts.append([])
            assert outbox.queued_bytes == 0
            assert wire.writes == [b"".join(part) for part in parts if part]
        await asyncio.sleep(0)
        assert wire.writes == [b"".join(part) for part in parts if part]

    asyncio.run(run())


async def test_a_full_transport_is_not_written_to_however_often_one_asks() -> None:
    wire = Wire()
    outbox = Outbox(asyncio.get_running_loop())
    outbox.open(cast("asyncio.Transport", wire))
    outbox.put(b"a")
    outbox.pause()
    outbox.flush()
    outbox.put(b"b")
    outbox.flush()
    await asyncio.sleep(0)
    assert (wire.writes, outbox.queued_bytes) == ([], 2)
    outbox.resume()
    await asyncio.sleep(0)
    assert wire.writes == [b"ab"]
