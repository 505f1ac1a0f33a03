"""The result of a run: one object for programs, a few lines for people, the promises in it."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

FINDINGS_SHOWN: Final = 10


class Promise(Struct, frozen=True):
    """Something the network promises, and whether this run kept it."""

    name: str
    is_kept: bool
    sentence: str


def check_promises(result: dict[str, Any]) -> list[Promise]:
    """Hold a result against everything the network promises."""
    conflicts = result.get("conflicts") or {"both_final": 0, "unresolved": 0, "stuck_coins": 0}
    lost_quorum = result["final_without_quorum"]
    rows = [
        (
            "all_final",
            result["final"] == result["submitted"],
            f"{result['submitted'] - result['final']} of {result['submitted']} are not final",
        ),
        ("states_equal", result["states_equal"], "the nodes hold different states"),
        (
            "state_commitment",
            result["state_commitment"] is not None,
            "a node's coins do not make up what the chain commits to",
        ),
        ("supply_ok", result["supply_ok"], "money was made or lost"),
        ("double_signs", not result["double_signs"], f"{result['double_signs']} double signatures"),
        ("final_lost", not result["final_lost"], f"{result['final_lost']} final payments are lost"),
        ("final_without_quorum", not lost_quorum, f"{lost_quorum} called final without a quorum"),
        ("both_final", not conflicts["both_final"], "both payments of a conflict became final"),
        ("resolved", not conflicts["unresolved"], "a conflict was not resolved"),
        ("coins_free", not conflicts["stuck_coins"], "the coin of a conflict is stuck"),
        ("orderly", result["shutdown"] == "orderly", f"the shutdown was {result['shutdown']}"),
        ("no_faults", not result["faults"], "; ".join(result["faults"])),
    ]
    return [Promise(name, bool(kept), sentence) for name, kept, sentence in rows]


def describe_result(result: dict[str, Any], broken: Sequence[Promise]) -> list[str]:
    """Put a result into lines for people."""
    times = result["finality_ms"]
    height = result["height"]["max"]
    lines = [
        f"{result['nodes']} nodes, {result['seconds']:.0f} s, height {height}",
        f"{result['closing_blocks']} closing blocks",
        f"{result['final']} of {result['submitted']} payments final"
        + (f", p50 {times['p50']} ms, p95 {times['p95']} ms" if times["p50"] is not None else ""),
    ]
    if result.get("kills"):
        lines.append(f"{result['kills']} nodes killed and started again")
    if conflicts := result.get("conflicts"):
        lines.append(f"{conflicts['pairs']} pairs of conflicting payments, none final twice")
    if result["rss_mb"]["max"] is not None:
        cpu = result["cpu_us_per_tx_node"]
        used = f", {cpu} CPU microseconds a payment and node" if cpu is not None else ""
        lines.append(f"at most {result['rss_mb']['max']} MB a node{used}")
    lines += [f"finding: {finding}" for finding in result["findings"][:FINDINGS_SHOWN]]
    lines += [f"BROKEN {promise.name}: {promise.sentence}" for promise in broken]
    if not broken:
        lines.append("all promises held")
    return lines
