"""Metrics: counted from events, effects and notices, and readable by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

from lockstep.observability.metrics import NodeMetrics
from lockstep.primitives.messages import BatchBody
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.effects import (
    BlockAdded,
    Broadcast,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.replica.events import BatchReceived, VotesReceived

PEER = bytes(32)
TXIDS = tuple(bytes([i]) * 32 for i in range(1, 7))


class Clock:
    """Seconds as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def numbers(metrics: NodeMetrics) -> dict[tuple[str, str], float]:
    """Return every sample by name and the values of its labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, ",".join(sorted(sample.labels.values()))): sample.value
        for family in families
        for sample in family.samples
    }


def arrive(metrics: NodeMetrics, txids: tuple[bytes, ...], *, peer: bytes | None = PEER) -> None:
    batch = VerifiedBatch(bytes(32), b"", txids, txids, (None,) * len(txids), {})
    metrics.on_step(BatchReceived(peer, batch), [], 0.001)


def block(*txids: bytes, closing: bool = False, round_number: int = 0) -> BlockAdded:
    return BlockAdded(1, bytes(32), 0, closing, 1, txids, round_number, by_sync=False)


def test_latency_is_timed_once_a_payment_from_its_first_arrival() -> None:
    clock = Clock()
    metrics = NodeMetrics(clock)
    arrive(metrics, TXIDS[:4])
    clock.now = 0.05
    arrive(metrics, TXIDS[3:5])
    clock.now = 0.06
    metrics.on_notice(TransactionsFinal((*TXIDS[:2], TXIDS[4]), 0, 3, ()))
    clock.now = 3.0
    # The block holds two that were final before and one it makes final itself.
    metrics.on_notice(block(*TXIDS[:3]))
    metrics.on_notice(TransactionsDropped((TXIDS[3],), "tx.conflict"))
    clock.now = 9.0
    metrics.on_notice(block(TXIDS[3]))
    found = numbers(metrics)
    assert found["lockstep_finality_seconds_count", ""] == 4
    assert round(found["lockstep_finality_seconds_sum", ""], 6) == 0.06 + 0.06 + 0.01 + 3.0
    buckets = [found["lockstep_finality_seconds_bucket", le] for le in ("0.01", "0.05", "0.075")]
    assert buckets == [1, 1, 3]
    assert found["lockstep_finality_seconds_bucket", "+Inf"] == 4
    assert found["lockstep_payments_total", "final"] == 4
    assert found["lockstep_payments_total", "in_block"] == 4


def test_payments_are_counted_by_state_and_refusals_by_code() -> None:
    metrics = NodeMetrics()
    metrics.on_notice(TransactionsAccepted(TXIDS[:3], (True,) * 3))
    refusals = ((TXIDS[3], "tx.fee", ""), (TXIDS[4], "tx.fee", ""), (TXIDS[5], "tx.dust", ""))
    metrics.on_notice(TransactionsRefused(refusals))
    found = numbers(metrics)
    assert found["lockstep_payments_total", "accepted"] == 3
    assert found["lockstep_payments_total", "refused"] == 3
    assert found["lockstep_refusals_total", "tx.fee"] == 2
    assert found["lockstep_refusals_total", "tx.dust"] == 1


def test_votes_batches_blocks_and_rounds_are_counted_by_what_they_are() -> None:
    metrics = NodeMetrics()
    vote = Vote(VoteKind.VOTE, 0, PEER, (), bytes(64))
    confirm = Vote(VoteKind.CONFIRM, 0, PEER, (), bytes(64))
    metrics.on_step(VotesReceived(PEER, (vote, confirm, confirm)), [Broadcast(vote)], 0.002)
    arrive(metrics, TXIDS[:1], peer=None)
    metrics.on_step(VotesReceived(PEER, (vote,)), [Broadcast(BatchBody(b"x"))], 0.5)
    metrics.on_notice(block(round_number=2))
    metrics.on_notice(block(closing=True))
    found = numbers(metrics)
    assert found["lockstep_votes_total", "received,vote"] == 2
    assert found["lockstep_votes_total", "confirm,received"] == 2
    assert found["lockstep_votes_total", "sent,vote"] == 1
    assert found["lockstep_batches_total", "submitted"] == 1
    assert found["lockstep_batches_total", "sent"] == 1
    assert found["lockstep_blocks_total", "decided,ordinary"] == 1
    assert found["lockstep_blocks_total", "closing,decided"] == 1
    assert found["lockstep_rounds_failed_total", ""] == 2
    assert found["lockstep_slowest_step_seconds", ""] == 0.5
    assert found["lockstep_step_seconds_count", ""] == 3


def test_the_process_itself_is_measured() -> None:
    found = numbers(NodeMetrics())
    assert found["lockstep_process_resident_memory_bytes", ""] > 1_000_000
    assert found["lockstep_process_cpu_seconds_total", ""] > 0
