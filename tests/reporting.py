"""What the long check leaves behind: a report with the counters of everything that was run."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
VARIABLE: Final = "LOCKSTEP_REPORT_SECTIONS"


def note(section: str, content: Mapping[str, Any]) -> None:
    """Leave a section for the report of this check, if it writes one."""
    directory = os.environ.get(VARIABLE)
    if directory:
        Path(directory, f"{section}.json").write_text(json.dumps(content))


def write_report(sections: Path, suites: Sequence[Mapping[str, Any]]) -> Path:
    """Join the sections to `reports/DATE-COMMIT.json` and return its path."""
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    now = datetime.now(UTC)
    report = {
        "commit": commit,
        "time": now.isoformat(timespec="seconds"),
        "suites": list(suites),
        **{path.stem: json.loads(path.read_text()) for path in sorted(sections.glob("*.json"))},
    }
    target = ROOT / "reports" / f"{now:%Y-%m-%d}-{commit}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=1) + "\n")
    return target
