"""What a step's counts and the nodes' numbers come to; pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from lockstep.load.counters import Numbers, compare

BACK_PERCENT: Final = 90
BACK_P50_MS: Final = 2_000
BACK_ROWS: Final = 5
BACK_WATCHED_S: Final = 5.0
BACK_MORE_S: Final = 5.0


class Limit(Struct, frozen=True):
    """What the machine could do if it did nothing but verify signatures.

    Attributes:
        us_per_signature: CPU time of one, measured here with the backend the nodes use; 0 if that
            is not known.
        cores: Those the nodes run on; 0 if that is not known.
    """

    us_per_signature: float
    cores: int

    def tps(self, *, nodes: int, signatures_per_tx: float) -> float | None:
        """Return how many payments a second that would be; every node verifies every signature."""
        cost_us = nodes * signatures_per_tx * self.us_per_signature
        return self.cores * 1e6 / cost_us if cost_us and self.cores else None


def account_step(
    told: dict[str, Any],
    before: Sequence[Numbers],
    after: Sequence[Numbers],
    *,
    idle_us: float,
    rss_bytes: Sequence[float],
    limit: Limit,
) -> dict[str, Any]:
    """Return what a step comes to: the load's counts, and what the nodes used for them.

    `idle_us` is what the nodes would have used without payments in the same time.
    """
    nodes = len(after)
    used = compare(before, after)
    final = told["final"]
    signatures_per_tx = told["signatures"] / final if final else 0.0
    gross_us = used.cpu_s * 1e6
    pure_tps = limit.tps(nodes=nodes, signatures_per_tx=signatures_per_tx)
    step = {
        name: told[name]
        for name in ("seconds", "warm_up_s", "offered_tps", "final_tps", "finality_ms")
    }
    return {
        **step,
        "submitted": told["submitted"],
        "final": final,
        "cpu_us_per_tx_node": _share(max(0.0, gross_us - idle_us), final * nodes, 1),
        "cpu_us_per_tx_node_gross": _share(gross_us, final * nodes, 1),
        "verify_us_per_tx_node": _share(used.verify_cpu_s * 1e6, final * nodes, 1),
        "verify_share": _share(used.verify_cpu_s, used.cpu_s, 3),
        "limit_share": _share(told["final_tps"], pure_tps or 0.0, 3),
        "limit_tps": round(pure_tps) if pure_tps else None,
        "rss_mb": {"max": round(max((*rss_bytes, used.rss_bytes_max)) / 2**20, 1)},
        "loop_lag_ms": {"p99": used.lag_p99_ms},
        "signatures_per_tx": round(signatures_per_tx, 2),
        "refused": told["refused"],
        "refused_with_hint": told["refused_with_hint"],
        "missing": told["missing"],
        "unheard": told["unheard"],
        "conflicts": told["conflicts"],
        "load_cpu_s": told["load_cpu_s"],
        "load_cpu_us_per_tx": _share(told["load_cpu_s"] * 1e6, told["submitted"], 1),
        "load_late_ms": {"p99": told["late_ms"]["p99"], "max": told["late_ms"]["max"]},
        "load_starved": told["starved"],
        "cut_short": told["is_cut_short"],
        "course": told["course"],
    }


def summarise_overload(
    step: dict[str, Any],
    *,
    factor: int,
    seconds: int,
    saturation_tps: float,
    rss_bytes_before: float,
) -> dict[str, Any]:
    """Return how the nodes bore an overload of `seconds`, and when they were back.

    Back is the first second after it from which on, over five seconds, 90 % of saturation is final
    again, half of it within two seconds: what waited since the overload alone is not back, and the
    pause at an epoch's end is no fall.
    """
    course = step["course"]
    during = course[:seconds]
    rows = course[seconds:]
    starts = range(len(rows) - BACK_ROWS + 1)
    back = next((s + 1 for s in starts if _is_back(rows[s : s + BACK_ROWS], saturation_tps)), None)
    return {
        "factor": factor,
        "seconds": seconds,
        "saturation_tps": saturation_tps,
        "offered_tps": _share(sum(row["sent"] for row in during), seconds, 1),
        "final_tps": _share(sum(row["final"] for row in during), seconds, 1),
        "refused": step["refused"],
        "refused_with_hint": step["refused_with_hint"],
        "seconds_until_back": back,
        "rss_mb": {"before": round(rss_bytes_before / 2**20, 1), "max": step["rss_mb"]["max"]},
        "step": step,
    }


def _is_back(rows: Sequence[Mapping[str, Any]], saturation_tps: float) -> bool:
    final: int = sum(row["final"] for row in rows)
    waited_ms: float = sum(row["final"] * (row["p50"] or 0) for row in rows)
    is_enough = final * 100 >= len(rows) * saturation_tps * BACK_PERCENT
    return is_enough and waited_ms <= final * BACK_P50_MS


class BackWatch:
    """Tells when the nodes are back after an overload, so that nobody waits for the whole minute.

    Some seconds more are waited for, so that whole ones can be told afterwards.
    """

    def __init__(self, *, after_s: float, saturation_tps: float) -> None:
        """Watch from `after_s` on for 90 % of this rate."""
        self._after_s = after_s
        self._wanted_tps = saturation_tps * BACK_PERCENT / 100
        self._samples: list[tuple[float, int]] = []
        self._back_s: float | None = None

    def is_enough(self, elapsed_s: float, final: int, p50_ms: float | None) -> bool:
        """Take in how much is final after so many seconds, and how quickly; tell if it will do."""
        if elapsed_s < self._after_s:
            return False
        self._samples.append((elapsed_s, final))
        self._samples = [row for row in self._samples if row[0] >= elapsed_s - BACK_WATCHED_S]
        first_s, first = self._samples[0]
        span_s = elapsed_s - first_s
        is_quick = p50_ms is not None and p50_ms <= BACK_P50_MS
        if not is_quick or final - first < self._wanted_tps * span_s:
            self._back_s = None
        elif self._back_s is None and span_s >= BACK_WATCHED_S / 2:
            self._back_s = elapsed_s
        return self._back_s is not None and elapsed_s >= self._back_s + BACK_MORE_S


def choose_best(steps: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the step to quote: the one with most final among those that kept their rate.

    Where none did, the last one: a single step is quoted whatever it shows.
    """
    kept = [step for step in steps if step["is_kept"]]
    if kept:
        return max(kept, key=lambda step: float(step["final_tps"]))
    return steps[-1] if steps else None


def _share(part: float, whole: float, digits: int) -> float | None:
    return round(part / whole, digits) if whole else None
