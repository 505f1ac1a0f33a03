"""Every public figure: in which report it stands, what it must be, and what it should be."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from lockstep.primitives.params import MAINNET

Report = Mapping[str, Any]


class Figure(Struct, frozen=True):
    """One figure.

    Attributes:
        text: What it is.
        source: The name of its report.
        read: Takes it out of the report; None where it cannot be told.
        unit: Written behind it.
        must, goal: Bounds; None where there is none.
        is_ceiling: Whether the bounds are from above.
    """

    text: str
    source: str
    read: Callable[[Report], float | None]
    unit: str
    must: float | None
    goal: float | None = None
    is_ceiling: bool = False

    def reaches(self, value: float, bound: float) -> bool:
        """Tell whether a value keeps a bound."""
        return value <= bound if self.is_ceiling else value >= bound


class Group(Struct, frozen=True):
    """Figures that are told together, with a sentence on how they were measured."""

    title: str
    sentence: str
    figures: tuple[Figure, ...]


def at(*names: str) -> Callable[[Report], float | None]:
    """Return a reader of the number under these names, one below the other."""

    def read(report: Report) -> float | None:
        found: Any = report
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    return read


def _percent(*names: str) -> Callable[[Report], float | None]:
    read = at(*names)

    def scaled(report: Report) -> float | None:
        share = read(report)
        return None if share is None else 100 * share

    return scaled


def _crashes(report: Report) -> float | None:
    crashed = report.get("crashed")
    return None if crashed is None else float(len(crashed))


def _core_rate(report: Report) -> float | None:
    cost_us = at("by_nodes", "n=4", "cpu_us_per_tx_node")(report)
    return None if not cost_us else 1e6 / cost_us


def _seconds_until_back(report: Report) -> float | None:
    """Return how long it took; without end where the run ended before, None where none was made."""
    overload = report.get("overload")
    if not isinstance(overload, Mapping):
        return None
    seconds = overload.get("seconds_until_back")
    return math.inf if seconds is None else float(seconds)


def _memory_growth(report: Report) -> float | None:
    before, most = (
        at("overload", "rss_mb", "before")(report),
        at("overload", "rss_mb", "max")(report),
    )
    return None if before is None or most is None else most - before


def _largest(*names: str) -> Callable[[Report], float | None]:
    def read(report: Report) -> float | None:
        found: Any = report
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return max((float(value) for _, value in found), default=None) if found else None

    return read


def _saturation(
    source: str, *, tps: tuple[int, int], us: tuple[int, int] | None, share: tuple[int, int]
) -> tuple[Figure, ...]:
    cost = (
        Figure(
            "CPU a payment and node",
            source,
            at("cpu_us_per_tx_node"),
            "us",
            must=us[0] if us else None,
            goal=us[1] if us else None,
            is_ceiling=True,
        ),
    )
    return (
        Figure("payments final a second", source, at("final_tps"), "", tps[0], tps[1]),
        *cost,
        Figure("verification's part of the CPU", source, _percent("verify_share"), "%", *share),
        Figure("part of pure verification", source, _percent("limit_share"), "%", None),
        Figure("latency p50", source, at("finality_ms", "p50"), "ms", None),
        Figure("latency p99", source, at("finality_ms", "p99"), "ms", None),
        Figure("memory of a node, at most", source, at("rss_mb", "max"), "MB", None),
    )


GROUPS: Final = (
    Group(
        "Saturation with crypto_mb",
        "Four nodes and the load on the same cores; everything on: ledger, pool, indexes, state"
        " commitment, events, TLS, every journal record synced; epochs of"
        f" {MAINNET.closing_every} heights, as on the main network.",
        _saturation("load-saturate-crypto_mb", tps=(6_500, 12_000), us=(55, 32), share=(25, 45)),
    ),
    Group(
        "Saturation with libsodium",
        "The same, with the backend that every machine has.",
        _saturation("load-saturate-sodium", tps=(3_000, 5_000), us=None, share=(60, 75)),
    ),
    Group(
        "Saturation with one block a second",
        "The first again, with a second between blocks instead of a quarter of one: a payment is"
        " final without a block, and this shows what blocks cost.",
        (
            Figure(
                "payments final a second", "load-saturate-block-1000", at("final_tps"), "", None
            ),
            Figure(
                "CPU a payment and node",
                "load-saturate-block-1000",
                at("cpu_us_per_tx_node"),
                "us",
                None,
            ),
            Figure(
                "verification's part of the CPU",
                "load-saturate-block-1000",
                _percent("verify_share"),
                "%",
                None,
            ),
        ),
    ),
    Group(
        "Kept for a minute",
        "5,000 a second with crypto_mb: the steps of a search end before all that comes later, the"
        " index above all, is at its full cost.",
        (
            Figure("payments final a second", "load-minute", at("final_tps"), "", None),
            Figure("CPU a payment and node", "load-minute", at("cpu_us_per_tx_node"), "us", None),
            Figure("latency p50", "load-minute", at("finality_ms", "p50"), "ms", None),
            Figure("latency p99", "load-minute", at("finality_ms", "p99"), "ms", None),
            Figure("memory of a node, at most", "load-minute", at("rss_mb", "max"), "MB", None),
        ),
    ),
    Group(
        "Latency at 2,000 payments a second",
        "From submission until the node that was paid through says final, seen by the client.",
        (
            Figure("p50", "load-2000", at("finality_ms", "p50"), "ms", 15, is_ceiling=True),
            Figure("p95", "load-2000", at("finality_ms", "p95"), "ms", None, is_ceiling=True),
            Figure("p99", "load-2000", at("finality_ms", "p99"), "ms", 60, is_ceiling=True),
            Figure("max", "load-2000", at("finality_ms", "max"), "ms", None, is_ceiling=True),
        ),
    ),
    Group(
        "A lone payment",
        "One at a time on an idle network, eight a second in turn through four nodes.",
        (
            Figure("p50", "load-lone", at("finality_ms", "p50"), "ms", 10, is_ceiling=True),
            Figure("p99", "load-lone", at("finality_ms", "p99"), "ms", None, is_ceiling=True),
        ),
    ),
    Group(
        "Half load",
        "Half the rate of saturation: how late the nodes' loops are.",
        (
            Figure(
                "loop lag p99", "load-half", at("loop_lag_ms", "p99"), "ms", 20, is_ceiling=True
            ),
            Figure("latency p99", "load-half", at("finality_ms", "p99"), "ms", None),
        ),
    ),
    Group(
        "Overload",
        "Four times saturation offered, then saturation again.",
        (
            Figure("nodes that ended", "load-overload", _crashes, "", 0, is_ceiling=True),
            Figure(
                "seconds until 90 % of saturation is final again",
                "load-overload",
                _seconds_until_back,
                "s",
                60,
                is_ceiling=True,
            ),
            Figure("offered a second", "load-overload", at("overload", "offered_tps"), "", None),
            Figure("final a second", "load-overload", at("overload", "final_tps"), "", None),
            Figure("memory gained by a node", "load-overload", _memory_growth, "MB", None),
        ),
    ),
    Group(
        "The core alone",
        "No process, no disk, no index, no sockets: what the protocol itself costs, with the"
        " commitment.",
        (
            Figure(
                "CPU a payment and node, 4 nodes",
                "bench-finality",
                at("by_nodes", "n=4", "cpu_us_per_tx_node"),
                "us",
                None,
            ),
            Figure("payments a second and core, 4 nodes", "bench-finality", _core_rate, "", None),
            Figure(
                "CPU with 100 nodes to that with 4",
                "bench-finality",
                at("largest_to_smallest"),
                "times",
                3,
                is_ceiling=True,
            ),
        ),
    ),
    Group(
        "Parts",
        "Each measured by itself, warmed up, variants in turns; medians.",
        (
            Figure(
                "catch-up from blocks, payments a second and core",
                "bench-sync-apply",
                at("payments_per_second_core"),
                "",
                15_000,
            ),
            Figure(
                "memory of a cached coin",
                "growth",
                _largest("curves", "coin_cache_bytes_by_coins"),
                "bytes",
                300,
                is_ceiling=True,
            ),
            Figure(
                "recovery of a journal of 100,000 payments",
                "bench-recovery",
                at("seconds"),
                "s",
                5,
                is_ceiling=True,
            ),
            Figure("claims reached, of seven", "bench-claims", at("reached"), "", 7),
            Figure(
                "a signature by crypto_mb, in groups of 400",
                "bench-verify",
                at("us_per_signature", "crypto_mb", "400"),
                "us",
                None,
            ),
            Figure(
                "a signature by libsodium",
                "bench-verify",
                at("us_per_signature", "sodium", "400"),
                "us",
                None,
            ),
        ),
    ),
)

COMMANDS: Final = {
    "load-saturate-crypto_mb": "lockstep load --devnet 4 --saturate --verify-backend crypto_mb",
    "load-saturate-sodium": "lockstep load --devnet 4 --saturate --verify-backend sodium",
    "load-saturate-block-1000": "lockstep load --devnet 4 --saturate --block-ms 1000",
    "load-minute": "lockstep load --devnet 4 --rate 5000 --for 60",
    "load-2000": "lockstep load --devnet 4 --rate 2000 --for 30",
    "load-lone": "lockstep load --devnet 4 --rate 8 --portion 1 --for 20",
    "load-half": "lockstep load --devnet 4 --rate HALF --for 30",
    "load-overload": "lockstep load --devnet 4 --rate SATURATION --overload 4 --for 30",
    "bench-finality": "lockstep bench finality --nodes 100 --json",
    "bench-sync-apply": "lockstep bench sync-apply --json",
    "bench-recovery": "lockstep bench recovery --json",
    "bench-claims": "lockstep bench claims --json",
    "bench-verify": "lockstep bench verify --json",
    "growth": "lockstep bench growth --full --json",
}
"""How each report is made; those of a load say it themselves."""
