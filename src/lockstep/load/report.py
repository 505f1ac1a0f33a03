"""The report of a load: one object for programs, a few lines for people."""

from pathlib import Path
from typing import Any, Final

import msgspec

from lockstep.load.accounts import choose_best

QUOTED: Final = (
    "offered_tps",
    "final_tps",
    "finality_ms",
    "cpu_us_per_tx_node",
    "verify_share",
    "limit_share",
    "rss_mb",
    "loop_lag_ms",
    "signatures_per_tx",
    "load_cpu_s",
    "refused",
)


def finish_report(report: dict[str, Any]) -> dict[str, Any]:
    """Return a report with the figures of its best step in front, and whether all went well.

    A node has no way to leave out the sync of its journal, so `synced` tells how it always is.
    """
    best = choose_best(report["steps"]) or {}
    conflicts = report.get("conflicts") or {"both_final": 0}
    is_good = (
        not report["cut_short"]
        and report.get("states_equal") is True
        and not report.get("alarms")
        and not conflicts["both_final"]
        and not report.get("shutdown_faults")
    )
    front = {name: best.get(name) for name in QUOTED}
    return {
        **front,
        "verify_backend": report.get("verify_backend"),
        "synced": True,
        "states_equal": report.get("states_equal"),
        "is_good": is_good,
        **report,
    }


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report as an indented JSON file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def describe_report(report: dict[str, Any]) -> list[str]:
    """Put a report into lines for people."""
    machine = report["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['python']}"
    lines = [f"{where}, load average {machine['load_average'][0]}"]
    if report["final_tps"] is not None:
        lines += _describe_best(report)
    if report["refused"]:
        refused = ", ".join(f"{count} {code}" for code, count in report["refused"].items())
        lines.append(f"refused: {refused}")
    if (pairs := report.get("conflicts")) and pairs["pairs"]:
        lines.append(
            f"{pairs['pairs']} pairs of conflicting payments, {pairs['both_final']} final twice,"
            f" {pairs['unresolved']} undecided"
        )
    if over := report.get("overload"):
        back = over["seconds_until_back"]
        lines.append(
            f"{over['factor']} times saturation: {over['offered_tps']:.0f} offered,"
            f" {over['final_tps']:.0f} final a second, memory {over['rss_mb']['before']} ->"
            f" {over['rss_mb']['max']} MB, "
            + (f"back after {back} s" if back is not None else "NOT back to 90 % within a minute")
        )
    if report["states_equal"] is not None:
        lines.append(
            "the nodes' states are " + ("equal" if report["states_equal"] else "DIFFERENT")
        )
    lines += [f"alarm: {alarm}" for alarm in report.get("alarms", [])]
    lines += [f"fault: {fault}" for fault in report.get("shutdown_faults", [])]
    if report["cut_short"]:
        lines.append(f"CUT SHORT: {report['cut_short_because']}")
    if error := report.get("error"):
        lines.append(f"error: {error['message']} ({error['code']})")
        lines += [f"hint: {error['hint']}"] if error["hint"] else []
    return lines


def _describe_best(report: dict[str, Any]) -> list[str]:
    times, best = report["finality_ms"], f"{report['final_tps']:.0f} payments a second final"
    verify, limit = _percent(report["verify_share"]), _percent(report["limit_share"])
    lag = report["loop_lag_ms"]["p99"]
    return [
        f"{report['nodes']} nodes with {report['verify_backend']}, mix {report['mix']}",
        f"{best}, {report['offered_tps']:.0f} offered",
        ", ".join(f"{name} {times[name]} ms" for name in ("p50", "p95", "p99", "max")),
        f"{report['cpu_us_per_tx_node']} CPU microseconds a payment and node, {verify} to verify",
        f"{limit} of what pure verification allows on these cores",
        f"at most {report['rss_mb']['max']} MB a node, loop lag p99 {lag} ms",
    ]


def _percent(share: float | None) -> str:
    return "an unknown part" if share is None else f"{100 * share:.0f} %"
