"""Run every check, one after the other, and count: what `./check` does once `.venv` is there.

A failed step does not stop the next one. Each step that is not pytest counts as one; pytest counts
its tests. The last line of the output is `N passed, N failed`. Caches live in `.venv`, temporary
files in a directory that is removed, so a run leaves nothing in the tree.

To add a check, add a `Step` to `STATIC` or a `Suite` to `SUITES`.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import reporting

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".venv" / "cache"
MODES: Final = ("quick", "default", "long")
LINT_IMPORTS: Final = "from importlinter.cli import lint_imports_command as run; run()"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command that passes or fails as a whole."""

    name: str
    arguments: tuple[str, ...]
    limit_s: int = 180


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One run of pytest over the tests that `markers` selects, in modes from `mode` on."""

    name: str
    markers: str
    mode: str
    workers: int
    limit_s: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of one step."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float


STATIC: Final = (
    Step(name="format", arguments=("-m", "ruff", "format", "--check", ".")),
    Step(name="lint", arguments=("-m", "ruff", "check", ".")),
    Step(name="types", arguments=("-m", "mypy")),
    Step(name="rooms", arguments=("-c", LINT_IMPORTS, "--no-cache")),
    Step(name="words", arguments=("-m", "codespell_lib")),
)

# Tests marked `alone` need both cores for themselves, so they run last and one at a time.
SUITES: Final = (
    Suite(
        name="tests",
        markers="not slow and not long and not alone",
        mode="quick",
        workers=2,
        limit_s=300,
    ),
    Suite(
        name="slow tests",
        markers="slow and not long and not alone",
        mode="default",
        workers=2,
        limit_s=900,
    ),
    Suite(
        name="tests alone",
        markers="alone and not long",
        mode="default",
        workers=0,
        limit_s=1800,
    ),
    Suite(name="long tests", markers="long", mode="long", workers=0, limit_s=4800),
)


def run(arguments: Sequence[str], *, environment: Mapping[str, str], limit_s: int) -> int:
    """Run our Python with `arguments`; return its exit code, or 124 if it outlived its limit."""
    sys.stdout.flush()
    # A group of its own, so that what a step started ends with it, whatever happened.
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return child.wait(limit_s)
    except subprocess.TimeoutExpired:
        print(f"this step was stopped after its limit of {limit_s} s")
        return 124
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def run_step(step: Step, environment: Mapping[str, str]) -> Result:
    """Run a step that passes or fails as a whole."""
    started = time.monotonic()
    code = run(step.arguments, environment=environment, limit_s=step.limit_s)
    return Result(
        name=step.name,
        passed=int(code == 0),
        failed=int(code != 0),
        skipped=0,
        seconds=time.monotonic() - started,
    )


def read_counts(report: Path) -> tuple[int, int, int]:
    """Return (passed, failed, skipped) of a pytest report; (0, 0, 0) if there is none."""
    if not report.exists():
        return (0, 0, 0)
    passed = failed = skipped = 0
    for suite in ET.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skips = int(suite.get("skipped", 0))
        failed += bad
        skipped += skips
        passed += max(0, int(suite.get("tests", 0)) - bad - skips)
    return (passed, failed, skipped)


def run_suite(suite: Suite, environment: Mapping[str, str], scratch: Path) -> Result:
    """Run one selection of tests; a crash, or a selection without a single test, is a failure."""
    started = time.monotonic()
    report = scratch / f"{suite.name.replace(' ', '-')}.xml"
    arguments = ["-m", "pytest", "-q", "-m", suite.markers, f"--junitxml={report}"]
    arguments += ["-o", f"cache_dir={CACHE / 'pytest'}", "-n", str(suite.workers)]
    code = run(arguments, environment=environment, limit_s=suite.limit_s)
    passed, failed, skipped = read_counts(report)
    if failed == 0 and (code != 0 or passed == 0):
        print(f"pytest ended with code {code} and {passed} tests passed: counted as one failure")
        failed = 1
    return Result(
        name=suite.name,
        passed=passed,
        failed=failed,
        skipped=skipped,
        seconds=time.monotonic() - started,
    )


def make_environment(scratch: Path) -> dict[str, str]:
    """Return the environment of every step: caches into `.venv`, temporary files into `scratch`."""
    return os.environ | {
        "HYPOTHESIS_STORAGE_DIRECTORY": str(CACHE / "hypothesis"),
        "MYPY_CACHE_DIR": str(CACHE / "mypy"),
        "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode"),
        "PYTHONUNBUFFERED": "1",
        "RUFF_CACHE_DIR": str(CACHE / "ruff"),
        "TMPDIR": str(scratch),
        reporting.VARIABLE: str(scratch),
    }


def parse_mode(arguments: Sequence[str] | None = None) -> str:
    """Return the mode that the command line asks for."""
    parser = argparse.ArgumentParser(prog="./check", description="Run the checks.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--quick",
        action="store_const",
        dest="mode",
        const="quick",
        help="what fits into two minutes",
    )
    choice.add_argument(
        "--long",
        action="store_const",
        dest="mode",
        const="long",
        help="everything, also what takes most of an hour",
    )
    return str(parser.parse_args(arguments).mode or "default")


def main() -> int:
    """Run the checks of the mode asked for; return 0 if none failed."""
    reached = MODES.index(parse_mode())
    # As an exception, so that children and temporary files go too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="lockstep-check-") as name:
        scratch = Path(name)
        environment = make_environment(scratch)
        for item in (*STATIC, *SUITES):
            if isinstance(item, Suite) and MODES.index(item.mode) > reached:
                continue
            print(f"\n== {item.name}")
            if isinstance(item, Step):
                results.append(run_step(item, environment))
            else:
                results.append(run_suite(item, environment, scratch))
        if reached == MODES.index("long"):
            suites: list[dict[str, Any]] = [asdict(result) for result in results]
            print(f"\nthe report is {reporting.write_report(scratch, suites).relative_to(ROOT)}")
    print()
    for result in results:
        verdict = "FAILED" if result.failed else "ok"
        skips = f", {result.skipped} skipped" if result.skipped else ""
        print(
            f"{result.name:12} {verdict:7} {result.seconds:6.1f} s"
            f"   {result.passed} passed, {result.failed} failed{skips}"
        )
    failed = sum(result.failed for result in results)
    print(f"{sum(result.passed for result in results)} passed, {failed} failed", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
