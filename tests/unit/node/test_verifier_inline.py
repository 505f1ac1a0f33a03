"""On the loop: frames are judged in steps, and between two of them the loop does other work."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from msgspec import structs

from building import make_body, sign
from lockstep.crypto.keys import SignatureCheck, SodiumVerifier
from lockstep.node import verifier as module
from lockstep.node.verifier import INLINE_BYTES_MAX, SLOW_INLINE_PAYMENTS_MAX
from lockstep.primitives.batch import encode_parts
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.messages import BatchBody, encode_message
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX, Transaction
from lockstep.replica.events import BatchReceived, StatusReceived, VotesReceived
from lockstep.replica.ingress import make_batch
from lockstep.replica.judging import STEP_CHECKS
from lockstep.replica.openpayments import open_payments
from unit.node.verifier_world import ALICE, BOB, GENESIS, KEYS, Shell, running, status, vote


class Noting:
    """Finds everything good; notes the thread and the size of each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.called = asyncio.Event()
        self.threads: set[bool] = set()

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        self.calls.append(len(checks))
        self.called.set()
        self.threads.add(threading.current_thread() is threading.main_thread())
        return [True] * len(checks)


def payments(count: int, *, memo: bytes = b"") -> list[Transaction]:
    template = sign(
        make_body([bytes(36)], [(10**9, bytes(32))], memo=memo), [1], chain_id=GENESIS.chain_id
    )
    return [
        structs.replace(
            template,
            body=make_body(
                [make_outpoint(number.to_bytes(32), 0)], [(10**9, bytes(32))], memo=memo
            ),
        )
        for number in range(count)
    ]


def batch_frame(transactions: Sequence[Transaction]) -> bytes:
    batch, _ = make_batch(transactions, chain_id=GENESIS.chain_id, verifier=Noting())
    assert batch is not None
    return encode_message(BatchBody(batch.body))


@pytest.fixture(autouse=True)
def _short_of_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loop look up after every step, however quick it was."""
    monkeypatch.setattr(module, "BREATH_S", 0.0)


async def test_a_large_batch_is_judged_in_steps_with_other_work_between() -> None:
    noting, ticks = Noting(), 0
    frame = batch_frame(payments(BATCH_TRANSACTIONS_MAX))

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async with running(Shell(other=noting, is_inline=True)) as shell:
        ticking = asyncio.create_task(tick())
        await shell.deliver(ALICE, [frame])
        event = await shell.next()
        ticking.cancel()
        await asyncio.wait([ticking])
        assert isinstance(event, BatchReceived)
        assert event.batch.faults == {}
        assert (sum(noting.calls), max(noting.calls)) == (BATCH_TRANSACTIONS_MAX, STEP_CHECKS)
        # Two steps of deriving and four of judging, each with a breath after it.
        assert ticks >= 6
        assert noting.threads == {True}
        assert shell.signatures == BATCH_TRANSACTIONS_MAX


async def test_what_a_height_waits_for_overtakes_a_batch_that_is_being_judged() -> None:
    noting = Noting()
    frame = batch_frame(payments(BATCH_TRANSACTIONS_MAX))
    async with running(Shell(other=noting, is_inline=True)) as shell:
        await shell.deliver(ALICE, [frame])
        await noting.called.wait()
        await shell.deliver(BOB, [status(7)])
        assert isinstance(await shell.next(), StatusReceived)
        assert isinstance(await shell.next(), BatchReceived)


async def test_what_is_too_large_for_the_loop_goes_into_a_thread() -> None:
    noting = Noting()
    frame = batch_frame(payments(BATCH_TRANSACTIONS_MAX, memo=bytes(512)))
    assert len(frame) > INLINE_BYTES_MAX
    async with running(Shell(other=noting, is_inline=True)) as shell:
        await shell.deliver(ALICE, [frame])
        assert isinstance(await shell.next(), BatchReceived)
        assert noting.threads == {False}
        assert shell.signatures == BATCH_TRANSACTIONS_MAX


async def test_a_slow_backend_judges_on_the_loop_what_costs_less_than_a_thread() -> None:
    noting = Noting()
    few, many = payments(SLOW_INLINE_PAYMENTS_MAX), payments(SLOW_INLINE_PAYMENTS_MAX + 1)
    async with running(Shell(other=noting)) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        assert isinstance(await shell.next(), VotesReceived)
        await shell.frames.make_batch(open_payments(encode_parts(few)))
        assert noting.threads == {True}
        noting.threads.clear()
        await shell.deliver(ALICE, [batch_frame(payments(10))])
        assert isinstance(await shell.next(), BatchReceived)
        await shell.frames.make_batch(open_payments(encode_parts(many)))
        assert noting.threads == {False}


async def test_frames_that_came_together_are_judged_together() -> None:
    noting = Noting()
    async with running(Shell(other=noting, is_inline=True)) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1), vote(KEYS[0], 2)])
        await shell.deliver(BOB, [vote(KEYS[1], 3)])
        assert isinstance(await shell.next(), VotesReceived)
        assert isinstance(await shell.next(), VotesReceived)
        assert noting.calls == [3]


async def test_own_payments_become_a_batch_of_the_good_ones() -> None:
    """[B1]."""
    transactions = payments(3)
    good = sign(make_body([bytes(36)], [(5, bytes(32))]), [1], chain_id=GENESIS.chain_id)
    async with running(Shell(other=SodiumVerifier(), is_inline=True)) as shell:
        batch, faults = await shell.frames.make_batch(
            open_payments(encode_parts([*transactions[1:2], good, *transactions[2:]]))
        )
        assert batch is not None
        assert [each and each.transaction for each in batch.transactions] == [good]
        assert faults == {0: "tx.signature", 2: "tx.signature"}
        assert shell.signatures == 3


async def test_a_forged_frame_is_the_fault_of_its_sender() -> None:
    async with running(Shell(other=SodiumVerifier(), is_inline=True)) as shell:
        forged = vote(KEYS[0], 1)[:-1] + b"\x00"
        await shell.deliver(ALICE, [forged, vote(KEYS[0], 2), b"junk"])
        event = await shell.next()
        assert isinstance(event, VotesReceived)
        assert len(event.votes) == 1
        assert sorted(shell.faults) == [(ALICE, "bytes.malformed"), (ALICE, "message.signature")]


@pytest.mark.parametrize("is_inline", [True, False])
async def test_the_backend_is_told_apart_from_what_leads_to_it(is_inline: bool) -> None:
    """Else decoding would pass for verification in every figure."""

    class Slow(Noting):
        def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
            started = time.thread_time()
            while time.thread_time() - started < 0.005:
                pass
            return super().verify_many(checks)

    slow = Slow()
    async with running(Shell(other=slow, is_inline=is_inline)) as shell:
        await shell.deliver(ALICE, [batch_frame(payments(BATCH_TRANSACTIONS_MAX))])
        assert isinstance(await shell.next(), BatchReceived)
        assert 0.005 * len(slow.calls) <= shell.judging_s < 0.0055 * len(slow.calls) + 0.002
        assert 0.0005 < shell.opening_s < 0.1
