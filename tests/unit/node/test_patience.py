"""Votes that complete nothing wait for one that may, for other payments, or for a short time."""

import asyncio

import pytest

from lockstep.node import verifier as module
from lockstep.node.patience import ENTRIES_READ_MAX, WAITING_MAX, Patience
from lockstep.primitives.messages import BatchBody, encode_message
from lockstep.primitives.votes import Entry, Vote, VoteKind
from lockstep.replica.events import StatusReceived, VotesReceived
from unit.node.verifier_world import ALICE, BOB, KEYS, Shell, View, running, status, vote

LONG_S = 3600.0


@pytest.fixture(autouse=True)
def _all_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gated verifier judge in its threads what is small, too."""
    monkeypatch.setattr(module, "SLOW_INLINE_BYTES_MAX", 0)


def waiting_shell(monkeypatch: pytest.MonkeyPatch, *, patience_s: float, needed: int) -> Shell:
    monkeypatch.setattr(module, "PATIENCE_S", patience_s)
    shell = Shell()
    shell.view.needed = needed
    shell.verifier.gate.set()
    return shell


async def is_quiet(shell: Shell) -> bool:
    """Let everything happen that may happen at once."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    return shell.events.empty() and not shell.verifier.jobs


async def test_a_vote_waits_for_the_one_that_may_complete_a_quorum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(waiting_shell(monkeypatch, patience_s=LONG_S, needed=2)) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        await shell.deliver(BOB, [vote(KEYS[1], 2)])
        # The same member again is no second one.
        await shell.deliver(BOB, [vote(KEYS[0], 1)])
        assert await is_quiet(shell)
        await shell.deliver(BOB, [vote(KEYS[1], 1)])
        first, second = await shell.next(), await shell.next()
        assert isinstance(first, VotesReceived)
        assert isinstance(second, VotesReceived)
        assert (len(first.votes), len(second.votes)) == (1, 3)
        assert shell.verifier.jobs == [4]
        # It is forgotten who spoke before.
        shell.verifier.jobs.clear()
        await shell.deliver(BOB, [vote(KEYS[1], 1)])
        assert await is_quiet(shell)


async def test_nobody_waits_for_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(waiting_shell(monkeypatch, patience_s=0.01, needed=2)) as shell:
        for number in range(3):
            await shell.deliver(ALICE, [vote(KEYS[0], number)])
            event = await shell.next()
            assert isinstance(event, VotesReceived)
            assert event.votes[0].entries[0].batch_id == number.to_bytes(32)


async def test_what_is_urgent_neither_waits_nor_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(waiting_shell(monkeypatch, patience_s=0.05, needed=2)) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1), status(1)])
        assert isinstance(await shell.next(), StatusReceived)
        assert shell.verifier.jobs == []
        assert isinstance(await shell.next(), VotesReceived)


async def test_a_vote_behind_a_job_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(waiting_shell(monkeypatch, patience_s=LONG_S, needed=2)) as shell:
        shell.verifier.gate.clear()
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        await shell.deliver(BOB, [vote(KEYS[1], 1)])
        await asyncio.to_thread(shell.verifier.started.wait, 5)
        # Patient again since the job has all there was, and both peers are busy with it.
        await shell.deliver(ALICE, [vote(KEYS[0], 2)])
        await shell.deliver(BOB, [vote(KEYS[1], 2)])
        shell.verifier.gate.set()
        assert [len((await shell.next()).votes) for _ in range(4)] == [1] * 4  # type: ignore[union-attr]  # They are Votes.
        assert shell.verifier.jobs == [2, 2]


async def test_a_batch_or_junk_takes_along_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(waiting_shell(monkeypatch, patience_s=LONG_S, needed=2)) as shell:
        await shell.deliver(ALICE, [vote(KEYS[0], 1)])
        await shell.deliver(BOB, [encode_message(BatchBody(b"no batch"))])
        assert isinstance(await shell.next(), VotesReceived)
        assert shell.faults == [(BOB, "bytes.malformed")]


def test_many_and_large_ones_do_not_wait() -> None:
    view = View()
    view.needed = 2
    patience = Patience(view)
    many = [patience.add(vote(KEYS[0], number)) for number in range(WAITING_MAX)]
    assert many == [False] * (WAITING_MAX - 1) + [True]
    patience.end()
    entries = tuple(Entry(bytes([i]) * 32, b"\x01") for i in range(ENTRIES_READ_MAX + 1))
    large = Vote(VoteKind.CONFIRM, 0, bytes(32), entries, bytes(64))
    assert patience.add(encode_message(large))
    assert not patience.add(vote(KEYS[0], 1))
    # Who votes does not confirm.
    other = Vote(VoteKind.CONFIRM, 0, BOB, (Entry((1).to_bytes(32), b"\x01"),), bytes(64))
    assert not patience.add(encode_message(other))
