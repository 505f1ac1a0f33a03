"""`lockstep bench claims`: seven claims of speed, each put to the test, hits and misses alike.

For each claim a naive variant and ours do the same work in turns. The naive variants are here and
never in the product. How each is measured stands in its module, and in docs/internals/claims.md.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from lockstep.bench import course
from lockstep.bench.claims import (
    connections,
    consensus,
    memory,
    pool,
    processor,
    storage,
    utxo,
)
from lockstep.bench.claims.contest import (
    NAIVE,
    OURS,
    Claim,
    Round,
    Row,
    Rule,
    judge,
    play_round,
    settled_memory,
)
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request

CLAIMS: Final = (
    storage.CLAIM,
    utxo.CLAIM,
    consensus.CLAIM,
    pool.CLAIM,
    connections.CLAIM,
    memory.CLAIM,
    processor.CLAIM,
)
CLAIM_S_MAX: Final = 12.0
"""A claim that takes longer, on a busy machine, has to do with the samples it has."""
ROUNDS_MIN: Final = 5
OTHERS_EVERY: Final = 3
"""Variants between the two are not what the claim is about, and have fewer samples."""
_SYNCS: Final = 21


def run(request: Request) -> Report:
    """Put all claims to the test; a missed one is no fault, unequal work is."""
    return put_to_test(CLAIMS, repetitions=request.repetitions)


def put_to_test(claims: Sequence[Claim], *, repetitions: int) -> Report:
    """Put these claims to the test; a run that is cut short has those it came to."""
    rows: list[Row] = []
    figures: dict[str, Figure] = {}
    for place, claim in enumerate(claims):
        if rows and course.is_cut_short():
            break
        rounds = _play(claim, repetitions, place * repetitions, len(claims) * repetitions)
        rows.append(judge(claim, rounds))
        found = _figures(claim, rounds)
        figures |= found
        course.note(found)
    left_out = [claim.name for claim in claims[len(rows) :]]
    content: dict[str, Any] = {
        "claims": rows,
        "reached": sum(row.reached for row in rows),
        "left_out": left_out,
        "disk_sync_us": measure_sync(),
    }
    return Report(
        figures=figures,
        content=content,
        lines=_describe(content),
        is_good=all(row.same_work for row in rows),
        against={f"{row.claim}.{OURS}": f"{row.claim}.{NAIVE}" for row in rows},
    )


def _play(claim: Claim, repetitions: int, before: int, total: int) -> list[Round]:
    """Warm both variants up, then take the samples."""
    started = time.monotonic()
    contest = claim.prepare(claim.size)
    rounds: list[Round] = []

    def is_over() -> bool:
        is_long = len(rounds) >= ROUNDS_MIN and time.monotonic() - started > CLAIM_S_MAX
        return is_long or bool(rounds and course.is_cut_short())

    try:
        with settled_memory():
            play_round(contest)
            while len(rounds) < repetitions and not is_over():
                with_others = len(rounds) % OTHERS_EVERY == 0
                rounds.append(play_round(contest, with_others=with_others))
                course.advance(before + len(rounds), total)
    finally:
        contest.close()
    return rounds


def _figures(claim: Claim, rounds: Sequence[Round]) -> dict[str, Figure]:
    """Return microseconds an item of each variant, to be compared with other runs."""
    return {
        f"{claim.name}.{name}": summarise(
            [(1e6 * each.cpu_s / each.items, 1e6 * each.wall_s / each.items) for each in samples]
        )
        for name in rounds[0]
        for samples in [[played[name] for played in rounds if name in played]]
    }


def measure_sync() -> float:
    """Return the microseconds that writing a page and syncing it takes where the claims do so."""
    times: list[float] = []
    with tempfile.TemporaryFile(prefix="lockstep-claims-") as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return round(median(times) * 1e6, 1)


def _describe(content: dict[str, Any]) -> list[str]:
    lines = [f"{'claim':12} {'claimed':>9} {'measured':>9}  {'spread':17} verdict"]
    for row in content["claims"]:
        verdict = "reached" if row.reached else "MISSED"
        low, high = (_format(row, value) for value in row.spread)
        lines.append(
            f"{row.claim:12} {_format(row, row.claimed):>9} {_format(row, row.measured):>9}"
            f"  {low + ' to ' + high:17} {verdict}"
        )
    for row in content["claims"]:
        lines += ["", f"{row.claim}: {row.what}"]
        lines.append(f"  naive {row.naive:,}, ours {row.ours:,} {row.unit}")
        for name, (middle, low_end, high_end) in row.others.items():
            lines.append(
                f"  against {name}: {_format(row, middle)}"
                f" ({_format(row, low_end)} to {_format(row, high_end)})"
            )
        if row.why:
            lines.append(f"  why: {row.why}")
    lines += ["", f"a synced write of a page takes {content['disk_sync_us']} us on this disk"]
    lines += [f"left out: {name}" for name in content["left_out"]]
    return lines


def _format(row: Row, value: float) -> str:
    return f"{100 * value:.2f} %" if row.rule == Rule.SHARE.value else f"{value:.2f} x"
