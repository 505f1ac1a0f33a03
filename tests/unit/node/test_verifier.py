"""Frames are judged in threads, in groups, in order for each peer, and never without bound."""

import asyncio

import pytest
from msgspec import structs

from lockstep.node import verifier as module
from lockstep.node.lanes import PEER_BYTES_MAX
from lockstep.primitives.messages import BlockPage, GetBatches, GetBlock, Status, encode_message
from lockstep.primitives.params import PAGE_BYTES_MAX
from lockstep.replica.events import BlockFetchFailed, StatusReceived, VotesReceived
from unit.node.verifier_world import ALICE, BOB, KEYS, Shell, running, status, vote


@pytest.fixture(autouse=True)
def _all_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gated verifier judge in its threads what is small, too."""
    monkeypatch.setattr(module, "SLOW_INLINE_BYTES_MAX", 0)


async def test_while_a_job_runs_frames_of_many_peers_gather_into_the_next() -> None:
    async with running(Shell()) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        await asyncio.to_thread(shell.verifier.started.wait, 5)
        await shell.deliver(ALICE, [vote(KEYS[0], 2), vote(KEYS[0], 3)])
        await shell.deliver(BOB, [vote(KEYS[1], 4)])
        shell.verifier.gate.set()
        seen = [await shell.next() for _ in range(3)]
        assert shell.verifier.jobs == [1, 3]
        assert shell.signatures == 4
    numbers = [
        (event.peer, [int.from_bytes(v.entries[0].batch_id) for v in event.votes])
        for event in seen
        if isinstance(event, VotesReceived)
    ]
    assert numbers[0] == (ALICE, [1])
    assert sorted(numbers[1:]) == [(ALICE, [2, 3]), (BOB, [4])]


async def test_frames_of_one_peer_stay_in_order_with_several_workers() -> None:
    async with running(Shell(threads=3)) as shell:
        shell.verifier.gate.set()
        for height in range(60):
            peer = ALICE if height % 2 else BOB
            await shell.deliver(peer, [vote(KEYS[0], height), status(height)])
        heights: dict[bytes, list[int]] = {ALICE: [], BOB: []}
        while sum(map(len, heights.values())) < 60:
            event = await shell.next()
            if isinstance(event, StatusReceived):
                heights[event.peer].append(event.status.height)
    assert heights == {ALICE: list(range(1, 60, 2)), BOB: list(range(0, 60, 2))}


async def test_a_peer_waits_while_too_much_of_it_is_not_judged_and_another_does_not() -> None:
    async with running(Shell()) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        await asyncio.to_thread(shell.verifier.started.wait, 5)
        junk = [b"\x00" * (PEER_BYTES_MAX // 4)] * 4
        waiting = asyncio.ensure_future(shell.deliver(ALICE, junk))
        await shell.deliver(BOB, [status(1)])
        assert not waiting.done()
        shell.verifier.gate.set()
        await waiting


async def test_a_peer_that_is_gone_leaves_nothing_and_nobody_waits_for_it() -> None:
    async with running(Shell()) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        await asyncio.to_thread(shell.verifier.started.wait, 5)
        waiting = asyncio.ensure_future(shell.deliver(ALICE, [b"\x00" * PEER_BYTES_MAX, status(2)]))
        await asyncio.sleep(0)
        shell.frames.forget_peer(ALICE)
        await waiting
        shell.verifier.gate.set()
        await shell.deliver(BOB, [status(3)])
        assert isinstance(await shell.next(), VotesReceived)
        assert await shell.next() == StatusReceived(BOB, Status(3, bytes(32), 0))
        assert shell.faults == []


async def test_faults_are_told_to_the_peers_and_the_rest_goes_on() -> None:
    async with running(Shell()) as shell:
        shell.verifier.gate.set()
        forged = vote(KEYS[0], 1)[:-1] + b"\x00"
        await shell.deliver(ALICE, [forged, vote(KEYS[0], 2), b"junk", status(5)])
        assert await shell.next() == StatusReceived(ALICE, Status(5, bytes(32), 0))
        assert isinstance(await shell.next(), VotesReceived)
        assert shell.faults == [(ALICE, "bytes.malformed"), (ALICE, "message.signature")]
        assert shell.codes == ["bytes.malformed", "message.signature"]


async def test_what_a_height_waits_for_overtakes_payments() -> None:
    async with running(Shell()) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        await asyncio.to_thread(shell.verifier.started.wait, 5)
        await shell.deliver(ALICE, [vote(KEYS[0], 2), status(7)])
        await shell.deliver(BOB, [vote(KEYS[1], 3), status(8)])
        shell.verifier.gate.set()
        kinds = [type(await shell.next()) for _ in range(5)]
    assert kinds == [VotesReceived, StatusReceived, StatusReceived, VotesReceived, VotesReceived]


async def test_votes_of_an_epoch_count_once_its_committee_is_known() -> None:
    async with running(Shell()) as shell:
        shell.verifier.gate.set()
        await shell.deliver(ALICE, [vote(KEYS[0], 1, epoch=5), vote(KEYS[0], 1)])
        assert isinstance(await shell.next(), VotesReceived)
        assert (shell.left_out, shell.faults) == (1, [])
        asked = shell.view.asked
        shell.view.state = structs.replace(shell.view.state, epoch=5)
        await shell.deliver(ALICE, [vote(KEYS[0], 1, epoch=5)])
        assert isinstance(await shell.next(), VotesReceived)
        assert shell.view.asked > asked


async def test_pages_are_asked_for_one_after_the_other_and_a_bad_block_is_reported() -> None:
    async with running(Shell()) as shell:
        shell.verifier.gate.set()
        shell.assembler.ask(ALICE, 3)
        full = b"\x00" * PAGE_BYTES_MAX
        await shell.deliver(ALICE, [encode_message(BlockPage(3, 0, 2, full)), status(1)])
        assert isinstance(await shell.next(), StatusReceived)
        assert shell.sent == [(ALICE, GetBlock(3, 1))]
        await shell.deliver(ALICE, [encode_message(BlockPage(3, 1, 2, b"end"))])
        assert await shell.next() == BlockFetchFailed(ALICE, 3)
        assert shell.faults == [(ALICE, "bytes.malformed")]


async def test_a_page_that_nobody_asked_for_is_nothing() -> None:
    async with running(Shell()) as shell:
        shell.verifier.gate.set()
        await shell.deliver(BOB, [encode_message(BlockPage(3, 0, 1, b"x")), status(1)])
        assert isinstance(await shell.next(), StatusReceived)
        assert (shell.sent, shell.faults) == ([], [])


async def test_requests_pass_without_signatures() -> None:
    async with running(Shell()) as shell:
        frame = encode_message(GetBatches((ALICE,)))
        await shell.deliver(ALICE, [frame])
        assert (await shell.next()) is not None
        assert shell.verifier.jobs == []
