"""The long run of the swarm: many seeds over all cores, and a report of what they did."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 1_000


@pytest.mark.long
def test_a_thousand_seeds_pass_and_do_enough_work() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lockstep", "sim", "--seeds", f"0:{SEEDS}", "--json"],
        capture_output=True,
        text=True,
        timeout=3_000,
        check=False,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    now = datetime.now(UTC)
    report = ROOT / "reports" / f"{now:%Y-%m-%d}-{commit}.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"commit": commit, "time": now.isoformat(), "sim": result}) + "\n")
    assert done.returncode == 0, done.stderr
    assert (result["pass"], result["failures"], result["floors_ok"]) == (SEEDS, [], True)
