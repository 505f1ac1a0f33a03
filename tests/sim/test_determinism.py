"""A seed is a world: the same trace, event for event, in every process [3-architecture 8]."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.sim.swarm import run_seed

SEEDS = (1, 3, 11)
SECONDS = 10
ROOM = Path(run_seed.__code__.co_filename).parent
PURE = (
    "lockstep",
    "blake3",
    "collections",
    "copy",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "msgspec",
    "typing",
)
EVERYTHING = {
    "crashes": 3,
    "partitions": 3,
    "pauses": 3,
    "wipes": 1,
    "backups": 1,
    "clock_jumps": 3,
    "skew_ms": 60_000,
    "stuck_disks": 1,
    "stall_percent": 1,
    "reorder": True,
}
PROGRAM = f"""
import json
from lockstep.sim.swarm import run_seed
hashes = [run_seed(seed, seconds={SECONDS}).trace_hash for seed in {SEEDS}]
for byzantine in (0, 1):
    outcome = run_seed(2, seconds={SECONDS}, byzantine=byzantine, overrides={EVERYTHING})
    hashes.append(outcome.trace_hash)
print(json.dumps(hashes))
"""


def traces(hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    found: list[str] = json.loads(run.stdout)
    return found


def test_same_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    found = traces("0")
    assert found == traces("4242")
    assert len(set(found)) == len(SEEDS) + 2


@pytest.mark.slow
def test_same_seed_gives_the_same_trace_twice_in_one_process() -> None:
    first, second = (run_seed(3, seconds=25, overrides=EVERYTHING) for _ in range(2))
    assert first == second
    assert all(first.counters[name] for name in ("pauses", "wipes", "backups", "clock_jumps"))


@pytest.mark.slow
def test_timeline_changes_nothing_and_tells_everything(tmp_path: Path) -> None:
    lines: list[str] = []
    told = run_seed(3, seconds=SECONDS, sink=lines.append)
    assert told.trace_hash == run_seed(3, seconds=SECONDS).trace_hash
    text = "\n".join(lines)
    for word in ("crash", "proposal of", "precommit of", "confirm of", "freeze of", "notify final"):
        assert word in text


@pytest.mark.parametrize(
    "module", sorted([*ROOM.glob("*.py"), *ROOM.glob("masks/*.py")]), ids=lambda path: path.stem
)
def test_simulator_has_no_input_and_no_clock_of_its_own(module: Path) -> None:
    """The only dice are a `Random` that is made from the seed."""
    imported: list[str] = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            imported += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported += [f"{node.module}.{name.name}" for name in node.names]
    foreign = {name for name in imported if name.partition(".")[0] not in PURE}
    assert foreign <= {"random.Random"}
