"""The page of metrics, written from the registry of a node that has seen one of everything."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric

from lockstep.cli.reference.table import render_code, render_table
from lockstep.errors import Misuse
from lockstep.ledger.state import ChainState
from lockstep.observability.metrics import NodeMetrics, ShellFacts
from lockstep.primitives.messages import BatchBody
from lockstep.primitives.transaction import VerifiedBatch
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.answers import ConsensusAnswer, PoolAnswer, VotingAnswer, VotingState
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    Broadcast,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.replica.events import BatchReceived, VotesReceived

_HEAD: Final = """# Metrics

Written from the registry by `python -m lockstep.cli.reference`; do not edit.

`GET /metrics` on the RPC address, and on `metrics_listen` where that is set, answers in
Prometheus' text format. Counters begin at zero when the node starts; Prometheus shows a counter
under its name with `_total` added, a histogram with `_bucket`, `_sum` and `_count`, a summary with
`_sum` and `_count`. A series with labels is there from the first time it counts something.
"""
_PROCESS: Final = """On Linux the node adds what the system counts for its process under
`lockstep_process_`: `cpu_seconds_total`, `resident_memory_bytes`, `virtual_memory_bytes`,
`start_time_seconds`, `open_fds`, `max_fds`.
"""
_HASH: Final = bytes(32)
_OPEN: Final = "any"
_CODED: Final = "code"


class _View:
    """A replica's view of an empty chain."""

    state = ChainState(0, _HASH, _HASH, 0, 0, 0, 0, 0, 0, 0, 0, _HASH, _HASH, b"", 0, b"")

    def consensus(self) -> ConsensusAnswer:
        agreement = (1, 0, "", 0, False, False, 0, 0, 0)
        return ConsensusAnswer(*agreement, _HASH, None, _HASH, 0, 0, 0, 0, 0, catching_up=False)

    def voting(self) -> VotingAnswer:
        return VotingAnswer(VotingState.FOLLOWING, 0, 0, None)

    def pool(self) -> PoolAnswer:
        return PoolAnswer(0, 0, 0, 0, 0, 0, 0, 0)


def render_metrics() -> str:
    """Write the page.

    Raises:
        Misuse: If a metric with labels is missing because nothing here makes it count.
    """
    return "\n".join([_HEAD, *_render_rows(), _PROCESS])


def _render_rows() -> Iterator[str]:
    rows = []
    for metric in sorted(_seen_all().registry.collect(), key=lambda found: found.name):
        if metric.name.startswith("lockstep_process_"):
            continue
        if not metric.samples:
            raise Misuse(f"nothing makes {metric.name} count: show it here what does")
        rows.append(
            (
                render_code(metric.name),
                metric.type,
                "; ".join(_describe_labels(metric)),
                metric.documentation,
            )
        )
    yield from render_table(("name", "type", "labels", "what"), rows)


def _describe_labels(metric: Metric) -> Iterator[str]:
    """Yield each label with its values; codes are those of the error reference."""
    values: dict[str, dict[str, None]] = {}
    for sample in metric.samples:
        for label, value in sample.labels.items():
            if label not in ("le", "quantile"):
                values.setdefault(label, {})[value] = None
    for label, found in values.items():
        if label == _CODED:
            yield f"`{label}`: see [errors](errors.md)"
        else:
            yield f"`{label}`: {', '.join(f'`{value}`' for value in sorted(found))}"


def _seen_all() -> NodeMetrics:
    """Return metrics in which every series has counted something."""
    metrics = NodeMetrics()
    metrics.name_backend("sodium")
    nothing = ShellFacts(inbound=0, outbound=0, inbox_events=0, index_changes=0)
    metrics.read_from(_View(), lambda: nothing)
    batch = VerifiedBatch(_HASH, b"", (_HASH,), (_HASH,), (None,), {})
    votes = tuple(Vote(kind, 0, _HASH, (), bytes(64)) for kind in VoteKind)
    sent = [Broadcast(BatchBody(b"")), *map(Broadcast, votes)]
    metrics.on_step(BatchReceived(None, batch), sent, 0.0)
    metrics.on_step(BatchReceived(_HASH, batch), [], 0.0)
    metrics.on_step(VotesReceived(_HASH, votes), [], 0.0)
    for notice in (
        TransactionsAccepted((_HASH,), (True,)),
        TransactionsRefused(((_HASH, _OPEN, ""),)),
        TransactionsFinal((_HASH,), 0, 0, ()),
        TransactionsDropped((_HASH,), _OPEN),
        Alarm(_OPEN, ""),
    ):
        metrics.on_notice(notice)
    for closing in (False, True):
        for by_sync in (False, True):
            metrics.on_notice(BlockAdded(1, _HASH, 0, closing, 0, (_HASH,), 0, by_sync=by_sync))
    metrics.on_fault(_OPEN)
    metrics.on_left_out(messages=0, batches=0)
    return metrics
