"""Series whose numbers are plain ints and floats, made into Prometheus' families when asked.

The library's own counters take a lock and several calls a number; here to count is one addition by
the loop's thread, and all that Prometheus wants to know is put together when it looks.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

LabelValues = tuple[str, ...]


class Tally(Collector):
    """A counter, or one for each tuple of label values.

    Attributes:
        counts: The number by label values; added to by whoever counts. Without labels there is one,
            under the empty tuple.
    """

    __slots__ = ("_documentation", "_labels", "_name", "counts")

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        """Begin at zero; with labels, without any number yet."""
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self.counts: defaultdict[LabelValues, float] = defaultdict(int)
        if not labels:
            self.counts[()] = 0

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return the numbers as Prometheus has them."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self.counts.items():
            family.add_metric(values, count)
        yield family


class Timing(Collector):
    """A summary: how often something took time, how much in all, and the most at once."""

    __slots__ = ("_documentation", "_name", "count", "longest", "total")

    def __init__(self, name: str, documentation: str) -> None:
        """Begin at zero."""
        self._name = name
        self._documentation = documentation
        self.count = 0
        self.total = self.longest = 0.0

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    def collect(self) -> Iterable[SummaryMetricFamily]:
        """Return number and sum as Prometheus has them."""
        yield SummaryMetricFamily(
            self._name, self._documentation, count_value=self.count, sum_value=self.total
        )


class GroupedHistogram(Collector):
    """A histogram that takes many equal observations at once."""

    __slots__ = ("_bounds", "_counts", "_documentation", "_name", "_sum")

    def __init__(self, name: str, documentation: str, bounds: Sequence[float]) -> None:
        """Begin empty; `bounds` are the upper ends of the buckets, ascending."""
        self._name = name
        self._documentation = documentation
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count `value` that many times."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the buckets, cumulated, as Prometheus has them."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        yield HistogramMetricFamily(
            self._name, self._documentation, buckets=buckets, sum_value=self._sum
        )
