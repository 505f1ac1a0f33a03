"""The nodes' own accounting: processor time, verification, memory and lateness of their loops."""

import asyncio
import http.client
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from lockstep.client.envelope import read_authorization
from lockstep.client.faults import BadAnswer, NodeUnreachable
from lockstep.load.station import StationSettings

TIMEOUT_S: Final = 10
BUSY_PAUSE_S: Final = 0.1
_INFINITE: Final = float("inf")


class Numbers(Struct, frozen=True):
    """What one node said of itself at one moment.

    Attributes:
        cpu_s, verify_cpu_s: Processor time of the process, and the part that judged signatures.
        signatures: How many it judged.
        rss_bytes: Memory.
        lag: How often its loop was at most so many seconds late, by bound.
    """

    cpu_s: float
    verify_cpu_s: float
    signatures: float
    rss_bytes: float
    lag: Mapping[float, float]


class Used(Struct, frozen=True):
    """What all nodes used between two moments."""

    cpu_s: float
    verify_cpu_s: float
    signatures: float
    rss_bytes_max: float
    lag_p99_ms: float | None


async def read_numbers(stations: Sequence[StationSettings]) -> list[Numbers]:
    """Ask every node for its numbers.

    Raises:
        NodeUnreachable: If one does not answer.
        BadAnswer: If what answers is no node, or one without metrics.
    """
    return await asyncio.gather(*(asyncio.to_thread(_read, each) for each in stations))


def _read(station: StationSettings) -> Numbers:
    """Read the page of one node; a node that has too many callers is asked again for a while."""
    place = f"{station.host}:{station.rpc_port}"
    until_s = time.monotonic() + TIMEOUT_S
    while True:
        connection = http.client.HTTPConnection(station.host, station.rpc_port, timeout=TIMEOUT_S)
        try:
            headers = {"Authorization": read_authorization(Path(station.cookie))}
            connection.request("GET", "/metrics", headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as fault:
            raise NodeUnreachable(f"no numbers from {place}: {fault!r}") from fault
        finally:
            connection.close()
        if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
            return parse_numbers(text)
        if time.monotonic() >= until_s:
            raise NodeUnreachable(f"no numbers from {place}: it has had too many callers")
        time.sleep(BUSY_PAUSE_S)


def parse_numbers(text: str) -> Numbers:
    """Read a page of metrics.

    Raises:
        BadAnswer: If it is none of a node.
    """
    found: dict[str, float] = {}
    lag: dict[float, float] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "lockstep_loop_lag_seconds_bucket":
                    lag[float(sample.labels["le"])] = sample.value
                elif not sample.labels:
                    found[sample.name] = sample.value
        return Numbers(
            cpu_s=found["lockstep_process_cpu_seconds_total"],
            verify_cpu_s=found["lockstep_verification_cpu_seconds_total"],
            signatures=found["lockstep_signatures_verified_total"],
            rss_bytes=found["lockstep_process_resident_memory_bytes"],
            lag=lag,
        )
    except (ValueError, KeyError) as fault:
        raise BadAnswer(f"this is no page of a node's metrics: {fault!r}") from fault


def compare(before: Sequence[Numbers], after: Sequence[Numbers]) -> Used:
    """Return what all nodes used between two readings; the lag is that of the latest node."""
    lags = [
        percentile_of(
            {bound: new.lag[bound] - old.lag.get(bound, 0.0) for bound in new.lag}, percent=99
        )
        for old, new in zip(before, after, strict=True)
    ]
    known = [lag for lag in lags if lag is not None]
    return Used(
        cpu_s=sum(each.cpu_s for each in after) - sum(each.cpu_s for each in before),
        verify_cpu_s=(
            sum(each.verify_cpu_s for each in after) - sum(each.verify_cpu_s for each in before)
        ),
        signatures=(
            sum(each.signatures for each in after) - sum(each.signatures for each in before)
        ),
        rss_bytes_max=max(each.rss_bytes for each in (*before, *after)),
        lag_p99_ms=round(1000 * max(known), 2) if known else None,
    )


def percentile_of(cumulated: Mapping[float, float], *, percent: int) -> float | None:
    """Return a percentile of a cumulated histogram, by a straight line inside its bucket.

    What lies above the last finite bound counts as that bound: the figure is then a lower one.
    """
    bounds = sorted(cumulated)
    if not bounds or not cumulated[bounds[-1]]:
        return None
    target = cumulated[bounds[-1]] * percent / 100
    low, below = 0.0, 0.0
    for bound in bounds:
        here = cumulated[bound]
        if here >= target:
            if bound == _INFINITE or here == below:
                return low
            return low + (bound - low) * (target - below) / (here - below)
        low, below = bound, here
    return low
