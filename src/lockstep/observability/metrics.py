"""Metrics: numbers derived outside the core from events, effects and notices; one registry a node.

Names begin with `lockstep_`. Work is done per batch: payments are timed by a table from txid to the
moment their batch came, and counted in groups that came together. The numbers are plain ones.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Final, Protocol

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from lockstep.ledger.state import ChainState
from lockstep.observability.series import GroupedHistogram, LabelValues, Tally, Timing
from lockstep.primitives.messages import BatchBody
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.answers import ConsensusAnswer, PoolAnswer, VotingAnswer, VotingState
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    Broadcast,
    Effect,
    Notice,
    Send,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from lockstep.replica.events import BatchReceived, Event, VotesReceived

TIMED_PAYMENTS_MAX: Final = 100_000
"""Payments whose latency is being measured."""
FINALITY_BUCKETS: Final = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
DISK_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LAG_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_SENDING: Final = (Broadcast, Send)
# The label values of what is counted all the time.
_VOTES_RECEIVED: Final = {
    VoteKind.VOTE: ("vote", "received"),
    VoteKind.CONFIRM: ("confirm", "received"),
}
_VOTES_SENT: Final = {VoteKind.VOTE: ("vote", "sent"), VoteKind.CONFIRM: ("confirm", "sent")}
_SUBMITTED: Final = ("submitted",)
_RECEIVED: Final = ("received",)
_REPEATED: Final = ("repeated",)
_SENT: Final = ("sent",)
_ACCEPTED: Final = ("accepted",)
_REFUSED: Final = ("refused",)
_DROPPED: Final = ("dropped",)
_FINAL: Final = ("final",)
_IN_BLOCK: Final = ("in_block",)


class View(Protocol):
    """What is read of the replica when somebody asks for the numbers."""

    @property
    def state(self) -> ChainState:
        """Return the chain's state at the tip."""
        ...

    def consensus(self) -> ConsensusAnswer:
        """Return where the node stands in the agreement."""
        ...

    def voting(self) -> VotingAnswer:
        """Return whether the node signs."""
        ...

    def pool(self) -> PoolAnswer:
        """Return the pool's counts."""
        ...


class ShellFacts(Struct, frozen=True):
    """What the shell knows when somebody asks: peers by direction, and what waits."""

    inbound: int
    outbound: int
    inbox_events: int
    index_changes: int


class NodeMetrics:
    """All numbers of one node; used on the loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at zero; `clock` gives seconds and never goes back."""
        self._clock = clock
        self._arrived: dict[bytes, float] = {}
        # When a series began is nothing anybody asks; it would double the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # The library left it untyped.
        registry = self.registry = CollectorRegistry()

        def histogram(name: str, text: str, bounds: Sequence[float]) -> GroupedHistogram:
            made = GroupedHistogram(f"lockstep_{name}", text, bounds)
            registry.register(made)
            return made

        def counter(name: str, text: str, *labels: str) -> defaultdict[LabelValues, float]:
            made = Tally(f"lockstep_{name}", text, labels)
            registry.register(made)
            return made.counts

        text = "From a payment's arrival at this node to its being final here"
        self._finality = histogram("finality_seconds", text, FINALITY_BUCKETS)
        ProcessCollector(namespace="lockstep", registry=registry)
        self._payments = counter("payments", "Payments that reached a state here", "state")
        self._refusals = counter("refusals", "Payments refused, by code", "code")
        self._votes = counter("votes", "Votes and Confirms", "kind", "direction")
        self._batches = counter("batches", "Batches of payments", "direction")
        self._blocks = counter("blocks", "Blocks added to the chain", "kind", "source")
        self._rounds = counter("rounds_failed", "Rounds that ended without a decision")
        self._alarms = counter("alarms", "Things seen that must never happen", "code")
        self._faults = counter("peer_faults", "Things peers did that no honest node does", "code")
        self._signatures = counter("signatures_verified", "Signatures judged off the loop")
        self._verify_cpu = counter("verification_cpu_seconds", "CPU time of judging signatures")
        self._opening_cpu = counter("opening_cpu_seconds", "CPU time of decoding what is judged")
        self._left_out = counter("messages_left_out", "Messages of committees not known here")
        self._records = counter("records", "Records committed to the database")
        self._steps = Timing("lockstep_step_seconds", "CPU time of the core")
        registry.register(self._steps)
        self._commits = histogram("commit_seconds", "Synced commits", DISK_BUCKETS)
        self._lag = histogram("loop_lag_seconds", "Lateness of the loop", LAG_BUCKETS)
        slowest = Gauge(
            "lockstep_slowest_step_seconds", "CPU time of the slowest step", registry=registry
        )
        slowest.set_function(lambda: self._steps.longest)

    def read_from(self, view: View, shell: Callable[[], ShellFacts]) -> None:
        """Read the gauges from the replica's view and the shell whenever they are asked for."""

        def gauge(name: str, text: str, read: Callable[[], float], **labels: str) -> None:
            found = gauges.get(name)
            if found is None:
                found = gauges[name] = Gauge(
                    f"lockstep_{name}", text, tuple(labels), registry=self.registry
                )
            (found.labels(**labels) if labels else found).set_function(read)

        def is_voting(view: View) -> int:
            return view.voting().state is VotingState.VOTING

        gauges: dict[str, Gauge] = {}
        gauge("height", "Height of the tip", lambda: view.state.height)
        gauge("epoch", "The current epoch", lambda: view.state.epoch)
        gauge("voting", "1 while this node signs, 0 while not", lambda: is_voting(view))
        gauge("round", "Round of the height under way", lambda: view.consensus().round)
        gauge("supply_coins", "Unspent coins of the chain", lambda: view.state.coin_count)
        for state in ("waiting", "voted", "final"):
            gauge(
                "pool_payments",
                "Payments held that are not in the chain",
                lambda state=state: getattr(view.pool(), state),  # type: ignore[misc]  # Bound now.
                state=state,
            )
        for state in ("waiting", "voted"):
            gauge(
                "pool_bytes",
                "Encoded bytes of payments held that are not in the chain",
                lambda state=state: getattr(view.pool(), f"{state}_bytes"),  # type: ignore[misc]  # Bound now.
                state=state,
            )
        text = "Open sessions with peers, by who dialled"
        gauge("peers", text, lambda: shell().inbound, direction="inbound")
        gauge("peers", text, lambda: shell().outbound, direction="outbound")
        gauge("inbox_events", "Events waiting for the core", lambda: shell().inbox_events)
        text = "Coins and transactions of decided blocks that wait for the index on the disk"
        gauge("index_changes", text, lambda: shell().index_changes)

    def name_backend(self, name: str) -> None:
        """Say what verifies signatures here: a series that is 1 under its name."""
        text = "What verifies signatures here"
        gauge = Gauge("lockstep_verify_backend", text, ("name",), registry=self.registry)
        gauge.labels(name).set(1)

    def render(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self.registry)

    def on_step(self, event: Event, effects: Sequence[Effect], seconds: float) -> None:
        """Derive numbers from one step of the core."""
        self._steps.observe(seconds)
        if isinstance(event, BatchReceived):
            self._batches[_SUBMITTED if event.peer is None else _RECEIVED] += 1
            self._time(event.batch.txids)
        elif isinstance(event, VotesReceived):
            for vote in event.votes:
                self._votes[_VOTES_RECEIVED[vote.kind]] += 1
        if effects:
            self.on_spoken(effects)

    def on_spoken(self, effects: Sequence[Effect]) -> None:
        """Count what leaves."""
        for effect in effects:
            if isinstance(effect, _SENDING):
                message = effect.message
                if isinstance(message, Vote):
                    self._votes[_VOTES_SENT[message.kind]] += 1
                elif isinstance(message, BatchBody):
                    self._batches[_SENT] += 1

    def on_notice(self, notice: Notice) -> None:
        """Derive numbers from what listeners are told, when it is durable."""
        match notice:
            case TransactionsAccepted(txids=txids):
                self._payments[_ACCEPTED] += len(txids)
            case TransactionsRefused(refusals=refusals):
                self._payments[_REFUSED] += len(refusals)
                for _, code, _ in refusals:
                    self._refusals[code,] += 1
                self._forget(txid for txid, _, _ in refusals)
            case TransactionsFinal(txids=txids):
                self._on_final(txids)
            case TransactionsDropped(txids=txids):
                self._payments[_DROPPED] += len(txids)
                self._forget(txids)
            case BlockAdded():
                self._on_block(notice)
            case Alarm(code=code):
                self._alarms[code,] += 1

    def on_commit(self, records: int, seconds: float) -> None:
        """Count a commit."""
        self._commits.observe(seconds)
        self._records[()] += records

    def on_lag(self, seconds: float) -> None:
        """Count how late the loop was."""
        self._lag.observe(seconds)

    def on_judged(self, *, signatures: int, cpu_seconds: float) -> None:
        """Count a job of the verifier."""
        self._signatures[()] += signatures
        self._verify_cpu[()] += cpu_seconds

    def on_opened(self, *, cpu_seconds: float) -> None:
        """Count what a job of the verifier did besides judging."""
        self._opening_cpu[()] += cpu_seconds

    def on_left_out(self, *, messages: int, batches: int) -> None:
        """Count messages of unknown committees, and batches that were held already."""
        self._left_out[()] += messages
        self._batches[_REPEATED] += batches

    def on_fault(self, code: str) -> None:
        """Count a fault of a peer."""
        self._faults[code,] += 1

    def _on_block(self, block: BlockAdded) -> None:
        kind = "closing" if block.closing else "ordinary"
        self._blocks[kind, "synced" if block.by_sync else "decided"] += 1
        self._rounds[()] += block.round
        self._payments[_IN_BLOCK] += len(block.txids)
        # What was final before is no longer timed; what a block made final is timed now.
        self._on_final(list(filter(self._arrived.__contains__, block.txids)))

    def _on_final(self, txids: Sequence[bytes]) -> None:
        self._payments[_FINAL] += len(txids)
        now = self._clock()
        moments = Counter(map(self._arrived.pop, txids, repeat(None)))
        for moment, count in moments.items():
            if moment is not None:
                self._finality.observe(now - moment, count)

    def _time(self, txids: Sequence[bytes]) -> None:
        if len(self._arrived) >= TIMED_PAYMENTS_MAX:
            self._arrived.clear()
        # A loop without one step of Python a payment; the first arrival counts.
        deque(map(self._arrived.setdefault, txids, repeat(self._clock())), maxlen=0)

    def _forget(self, txids: Iterable[bytes]) -> None:
        for txid in txids:
            self._arrived.pop(txid, None)
