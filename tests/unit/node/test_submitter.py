"""What is handed in is answered once, by what became of it, and gathered into batches [B1]."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.keys import SecretKey, SodiumVerifier
from lockstep.errors import Rejected
from lockstep.node.admittance import (
    FORGOTTEN_S,
    OPEN_MIN,
    OPEN_S,
    PACE_S,
    REOPENING_PARTS,
    RETRY_MS_MAX,
    RETRY_MS_MIN,
    Admittance,
    OpenPayments,
)
from lockstep.node.submitter import NodeSubmitter
from lockstep.primitives import codec
from lockstep.primitives.transaction import (
    Batch,
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    VerifiedBatch,
    Witness,
    make_spend_digest,
    make_txid,
)
from lockstep.replica import batcher as module
from lockstep.replica.answers import PaymentState, PendingPayment
from lockstep.replica.batcher import Batcher
from lockstep.replica.effects import (
    Notice,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.replica.events import BatchReceived, Event
from lockstep.replica.ingress import judging_payments
from lockstep.replica.judging import judge_at_once
from lockstep.replica.openpayments import OpenPayment, cut_into_steps, open_body, open_encoded
from lockstep.rpc.faults import Stopping, SubmissionBusy

CHAIN = b"\x01" * 32
KEY = SecretKey(b"\x02" * 32)


def payment(number: int, *, chain: bytes = CHAIN) -> Transaction:
    output = TransactionOutput(10_000 + number, bytes(32))
    body = TransactionBody(1, (number.to_bytes(36),), (output,), b"")
    signature = KEY.sign(make_spend_digest(chain, make_txid(body)))
    return Transaction(body, (Witness(Policy(1, (KEY.public_key,)), 1, (signature,)),))


def encoded(*transactions: Transaction) -> list[bytes]:
    return [codec.encode(transaction) for transaction in transactions]


def txids(transactions: Sequence[Transaction]) -> list[bytes]:
    return [make_txid(transaction.body) for transaction in transactions]


class Node:
    """A node that accepts what reaches its core, but for the txids in `refused`."""

    def __init__(self) -> None:
        self.batches: list[VerifiedBatch] = []
        self.held: dict[bytes, PendingPayment] = {}
        self.refused: dict[bytes, str] = {}
        self.notices: list[Notice] = []
        self.silent = False
        self.reached = asyncio.Event()
        self.submitter: NodeSubmitter | None = None

    def holds_any(self, txids: Collection[bytes]) -> bool:
        return not self.held.keys().isdisjoint(txids)

    async def make_batch(
        self, payments: Sequence[OpenPayment]
    ) -> tuple[VerifiedBatch | None, dict[int, str]]:
        await asyncio.sleep(0)
        judging = judging_payments(payments, chain_id=CHAIN)
        return judge_at_once(judging, SodiumVerifier())

    async def post(self, event: Event) -> None:
        assert isinstance(event, BatchReceived)
        assert event.peer is None
        self.batches.append(event.batch)
        self.reached.set()
        if self.silent:
            return
        held = tuple(txid for txid in event.batch.txids if txid not in self.refused)
        self.publish(TransactionsAccepted(held, (True,) * len(held)))
        self.publish(
            TransactionsRefused(
                tuple(
                    (txid, self.refused[txid], "no")
                    for txid in event.batch.txids
                    if txid in self.refused
                )
            )
        )

    def publish(self, notice: Notice) -> None:
        self.notices.append(notice)
        assert self.submitter is not None
        self.submitter.hear(notice)


@asynccontextmanager
async def submitting() -> AsyncIterator[tuple[Node, NodeSubmitter]]:
    node = Node()
    async with asyncio.TaskGroup() as group:
        submitter = node.submitter = NodeSubmitter(
            known=node,
            batcher=Batcher(members=4),
            maker=node,
            post=node.post,
            publish=node.publish,
            group=group,
        )
        yield node, submitter
        submitter.close()


def held(transaction: Transaction) -> PendingPayment:
    txid = make_txid(transaction.body)
    state = PaymentState.VOTED
    return PendingPayment(transaction, txid, 200, 1_000, 0, state, "", 1, 0, (), (), bytes(32))


async def test_each_payment_gets_its_own_answer_in_order() -> None:
    async with submitting() as (node, submitter):
        payments = [payment(0), payment(1, chain=bytes(32)), payment(2), payment(3), payment(0)]
        names = txids(payments)
        node.refused[names[2]] = "tx.dust"
        node.held[names[3]] = held(payments[3])
        answers = await submitter.submit(encoded(*payments))
        assert [a.txid for a in answers] == names
        assert [(a.accepted, a.code) for a in answers] == [
            (True, ""),
            (False, "tx.signature"),
            (False, "tx.dust"),
            (True, ""),
            (True, ""),
        ]
        # What is badly signed leaves this node for nobody, and what is held is not asked again.
        assert [set(batch.txids) for batch in node.batches] == [{names[0], names[2]}]
        assert all(batch.faults == {} for batch in node.batches)


async def test_the_same_payment_from_two_callers_is_one_payment() -> None:
    async with submitting() as (node, submitter):
        same = payment(7)
        first, second = await asyncio.gather(
            submitter.submit(encoded(same)), submitter.submit(encoded(same))
        )
        assert first == second
        assert first[0].accepted
        assert [batch.txids for batch in node.batches] == [(make_txid(same.body),)]


async def test_more_than_a_batch_becomes_several_and_all_are_answered() -> None:
    async with submitting() as (node, submitter):
        payments = [payment(number) for number in range(450)]
        answers = await submitter.submit(encoded(*payments))
        assert all(answer.accepted for answer in answers)
        assert [len(batch.txids) for batch in node.batches] == [400, 50]
        assert [txid for batch in node.batches for txid in batch.txids] == txids(payments)


async def test_while_a_commit_is_in_flight_submissions_gather() -> None:
    async with submitting() as (node, submitter):
        submitter.on_commit(in_flight=True)
        calls = [asyncio.ensure_future(submitter.submit(encoded(payment(n)))) for n in range(5)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert node.batches == []
        submitter.on_commit(in_flight=False)
        await asyncio.gather(*calls)
        assert [len(batch.txids) for batch in node.batches] == [5]


async def test_a_batch_waits_until_the_one_before_it_is_final(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or refused, or in a block; else it waits for its time and no longer."""
    monkeypatch.setattr(module, "BATCH_PACE_MS", 3_600_000)
    async with submitting() as (node, submitter):
        payments = [payment(number) for number in range(4)]
        names = txids(payments)

        async def submit(number: int) -> asyncio.Task[object]:
            task = asyncio.ensure_future(submitter.submit(encoded(payments[number])))
            for _ in range(10):
                await asyncio.sleep(0.001)
            return task

        await submit(0)
        assert len(node.batches) == 1
        second = await submit(1)
        assert len(node.batches) == 1
        node.publish(TransactionsFinal((names[3],), 0, 3, ()))
        assert not second.done()
        node.publish(TransactionsFinal((names[0],), 0, 3, ()))
        await second
        assert len(node.batches) == 2
        node.refused[names[2]] = "tx.dust"
        third = await submit(2)
        node.publish(TransactionsDropped((names[1],), "tx.dead"))
        await third
        # What was refused is not waited for.
        await (await submit(3))
        assert [batch.txids for batch in node.batches] == [(name,) for name in names]


async def test_who_waits_when_the_node_stops_is_told_so() -> None:
    async with submitting() as (node, submitter):
        node.silent = True
        call = asyncio.ensure_future(submitter.submit(encoded(payment(1))))
        await node.reached.wait()
        submitter.close()
        with pytest.raises(Stopping):
            await call
        with pytest.raises(Stopping):
            await submitter.submit(encoded(payment(2)))


async def test_a_payment_not_decided_in_time_is_answered_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH_PACE_MS", 0)
    monkeypatch.setattr("lockstep.node.submitter.ANSWER_S_MAX", 0.01)
    async with submitting() as (node, submitter):
        node.silent = True
        [answer] = await submitter.submit(encoded(payment(1)))
        assert (answer.accepted, answer.code) == (False, "submit.slow")
        # A late answer finds nobody and harms nothing; the next try is asked anew.
        node.publish(TransactionsAccepted((answer.txid,), (True,)))
        node.silent = False
        [again] = await submitter.submit(encoded(payment(1)))
        assert again.accepted


async def test_what_waits_is_bounded_and_the_rest_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lockstep.node.admittance.POOL_TRANSACTIONS_MAX", 3)
    async with submitting() as (_, submitter):
        answers = await submitter.submit(encoded(*map(payment, range(5))))
        assert [answer.code for answer in answers] == ["", "", "", "submit.busy", "submit.busy"]
        [again] = await submitter.submit(encoded(payment(4)))
        assert again.accepted


async def test_when_nothing_more_fits_nothing_more_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lockstep.node.admittance.POOL_TRANSACTIONS_MAX", 2)
    async with submitting() as (node, submitter):
        node.silent = True
        call = asyncio.ensure_future(submitter.submit(encoded(payment(0), payment(1))))
        await node.reached.wait()
        for late in (submitter.submit([b"never decoded"]), submitter.submit_batch(b"nor this")):
            with pytest.raises(SubmissionBusy) as caught:
                await late
            assert RETRY_MS_MIN <= caught.value.retry_after_ms <= RETRY_MS_MAX
        node.publish(TransactionsAccepted(tuple(txids([payment(0), payment(1)])), (True, True)))
        assert all(answer.accepted for answer in await call)
        node.silent = False
        [again] = await submitter.submit(encoded(payment(2)))
        assert again.accepted


async def test_what_waits_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    size_bytes = len(codec.encode(payment(0)))
    monkeypatch.setattr("lockstep.node.admittance.WAITING_BYTES_MAX", 2 * size_bytes + 1)
    async with submitting() as (_, submitter):
        answers = await submitter.submit(encoded(*map(payment, range(4))))
        assert [answer.code for answer in answers] == ["", "", "submit.busy", "submit.busy"]
        assert all((answer.retry_after_ms > 0) is not answer.accepted for answer in answers)
        # Judged and handed on, they are no longer counted.
        [again] = await submitter.submit(encoded(payment(3)))
        assert again.accepted


async def test_what_comes_as_a_batch_leaves_in_the_same_bytes() -> None:
    """Encoded once, by whoever pays [L8, B1]."""
    async with submitting() as (node, submitter):
        payments = tuple(map(payment, range(400)))
        body = codec.encode(Batch(payments))
        answers = await submitter.submit_batch(body)
        assert [answer.txid for answer in answers] == txids(payments)
        assert all(answer.accepted for answer in answers)
        assert [batch.body for batch in node.batches] == [body]


async def test_bytes_that_are_no_payment_are_answered_beside_the_others() -> None:
    """Also where two of them joined would make one: the boundary is part of what is said [L8]."""
    async with submitting() as (node, submitter):
        whole = codec.encode(payment(1))
        raws = [codec.encode(payment(0)), whole[:70], whole[70:], codec.encode(payment(2))]
        answers = await submitter.submit(raws)
        assert [answer.code for answer in answers] == ["", "bytes.malformed", "bytes.malformed", ""]
        assert [answer.txid for answer in answers][1:3] == [b"", b""]
        assert [set(batch.txids) for batch in node.batches] == [{answers[0].txid, answers[3].txid}]


@given(st.lists(st.sampled_from(["good", "bad", "long", "cut"]), min_size=1, max_size=12))
def test_payments_are_opened_alike_alone_and_together(kinds: list[str]) -> None:
    """[L8, B5]."""
    raws = [make_raw(kind, place) for place, kind in enumerate(kinds)]
    alone = [open_encoded([raw])[0] for raw in raws]
    opened = [
        open_encoded(raws),
        [each for step in cut_into_steps(raws) for each in open_encoded(step)],
    ]
    body = b"\x91" + codec.array_head(len(raws)) + b"".join(raws)
    if "cut" not in kinds:
        opened.append(open_body(body))
    for together in opened:
        assert list(map(describe, together)) == list(map(describe, alone))
    assert [isinstance(each, OpenPayment) for each in alone] == [kind == "good" for kind in kinds]


def make_raw(kind: str, place: int) -> bytes:
    raw = codec.encode(payment(place))
    return {
        "good": raw,
        # A longer form of the version, and a value that is no payment at all.
        "long": raw.replace(b"\x94\x01", b"\x94\xcc\x01", 1),
        "bad": codec.encode([1, 2, 3]),
        "cut": raw[:-1],
    }[kind]


def describe(opened: OpenPayment | Rejected) -> object:
    return opened if isinstance(opened, OpenPayment) else (opened.code, str(opened))


def test_a_queue_longer_than_some_seconds_of_the_pace_is_refused_until_it_shrinks() -> None:
    """A flood is turned away at the door, and the door knows when it is over."""
    opened, pace = OpenPayments(), 2_000
    names = [number.to_bytes(32, "big") for number in range(OPEN_MIN + pace * PACE_S)]
    for name in names[:OPEN_MIN]:
        opened.begin(name, 100.0)
    assert len(opened) == opened.limit(100.0) == OPEN_MIN
    # So many a second become final for eight seconds: so many may be open.
    for second in range(PACE_S):
        for name in names[OPEN_MIN + pace * second :][:pace]:
            opened.begin(name, 100.0 + second)
        opened.end(names[pace * second :][:pace], 100.0 + second)
    assert opened.limit(107.5) == pace * OPEN_S
    # Nothing is final any more: the pace fades, and what is open for long counts no more.
    assert opened.limit(112.5) < pace * OPEN_S
    assert len(opened) == OPEN_MIN
    assert opened.limit(107.0 + FORGOTTEN_S + 0.5) == OPEN_MIN
    assert len(opened) == 0
    opened.end([b"somebody else's"], 120.0)
    assert opened.limit(120.0) == OPEN_MIN


def test_who_is_full_takes_nothing_until_a_part_is_final() -> None:
    """What is let in is let in together, and what is refused is refused before it is opened."""
    admittance = Admittance()
    names = [number.to_bytes(32, "big") for number in range(2 * OPEN_MIN)]
    part = OPEN_MIN // REOPENING_PARTS

    def enters(first: int, count: int) -> bool:
        some = names[first : first + count]
        return admittance.enter_all(some, 200 * count, waiting=0, now_s=100.0)

    assert enters(0, OPEN_MIN)
    assert not enters(OPEN_MIN, 1)
    with pytest.raises(SubmissionBusy):
        admittance.check(0, now_s=100.0)
    admittance.leave(OPEN_MIN, 200 * OPEN_MIN, seconds=1.0)
    admittance.open.end(names[: part - 1], 100.0)
    assert not enters(OPEN_MIN, 1)
    admittance.open.end(names[part - 1 : part], 100.0)
    # What does not fit at once fits in pieces.
    assert not enters(OPEN_MIN, part + 1)
    assert enters(OPEN_MIN, part)
    assert not enters(OPEN_MIN + part, 1)
    assert len(admittance.open) == OPEN_MIN
