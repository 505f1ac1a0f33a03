"""Run every check and count: what `./check` does once `.venv` is there.

A failed step does not stop the others. Each step that is not pytest counts as one, and they run all
at once; pytest counts its tests, and its suites follow each other. The last line of the output is
`N passed, N failed`. Caches live in `.venv`, temporary files in a directory that is removed, so a
run leaves nothing in the tree.

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import reporting

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".venv" / "cache"
MODES: Final = ("quick", "default", "long")
PRIORITY_LAST: Final = 19
LINT_IMPORTS: Final = "from importlinter.cli import lint_imports_command as run; run()"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command that passes or fails as a whole."""

    name: str
    arguments: tuple[str, ...]
    limit_s: int = 180


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One run of pytest over the tests that `markers` selects, in modes from `mode` on.

    `beside` runs at the same time and takes only what this one leaves of the processor.
    """

    name: str
    markers: str
    mode: str
    workers: int
    limit_s: int
    beside: "Suite | None" = None


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

# Tests marked `alone` start real nodes and mostly wait for them: they run last, one at a time, and
# the simulated worlds have what they leave of the cores.
SUITES: Final = (
    Suite(
        name="tests",
        markers="not slow and not long and not alone and not worlds",
        mode="quick",
        workers=2,
        limit_s=300,
    ),
    Suite(
        name="slow tests",
        markers="slow and not long and not alone and not worlds",
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
        beside=Suite(
            name="worlds", markers="worlds and not long", mode="default", workers=0, limit_s=1800
        ),
    ),
    Suite(name="long tests", markers="long", mode="long", workers=0, limit_s=4800),
)


@contextlib.contextmanager
def running(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    said: Path | None = None,
    is_beside: bool = False,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run our Python with `arguments`; what it says goes to the file `said`, if one is named.

    It has a group of its own, so that what it started ends with it, whatever happened.
    """
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        output = None if said is None else stack.enter_context(said.open("wb"))
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            if is_beside:
                give_way(child.pid)
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def give_way(session: int) -> None:
    """Let a session have only what others leave of the processor."""
    os.setpriority(os.PRIO_PGRP, session, PRIORITY_LAST)
    # Where the kernel shares between sessions first, priorities count only inside of one.
    share = Path(f"/proc/{session}/autogroup")
    if share.exists():
        share.write_text(str(PRIORITY_LAST))


def wait(child: "subprocess.Popen[bytes]", limit_s: float) -> int:
    """Return the exit code of a child, or 124 if it outlived its limit."""
    try:
        return child.wait(limit_s)
    except subprocess.TimeoutExpired:
        print(f"this step was stopped after its limit of {limit_s:.0f} s")
        return 124


def run_steps(steps: Sequence[Step], environment: Mapping[str, str], scratch: Path) -> list[Result]:
    """Run steps that pass or fail as a whole, all at once; say in order what they said."""
    started, results = time.monotonic(), []
    with contextlib.ExitStack() as stack:
        children = []
        for step in steps:
            said = scratch / f"{step.name}.txt"
            child = stack.enter_context(running(step.arguments, environment, said=said))
            children.append((step, said, child))
        for step, said, child in children:
            print(f"\n== {step.name}", flush=True)
            code = wait(child, step.limit_s)
            print(said.read_text(errors="replace"), end="")
            results.append(
                Result(
                    name=step.name,
                    passed=int(code == 0),
                    failed=int(code != 0),
                    skipped=0,
                    seconds=time.monotonic() - started,
                )
            )
    return results


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


def run_suite(suite: Suite, environment: Mapping[str, str], scratch: Path) -> list[Result]:
    """Run one selection of tests, and the one beside it; a crash or no test at all is a failure."""
    started, results, children = time.monotonic(), [], []
    print(f"\n== {suite.name}")
    with contextlib.ExitStack() as stack:
        for each in (suite, suite.beside):
            if each is None:
                continue
            said = scratch / f"{each.name}.txt" if each is suite.beside else None
            words = name_tests(each, scratch)
            one = running(words, environment, said=said, is_beside=said is not None)
            children.append((each, said, stack.enter_context(one)))
        for each, said, child in children:
            code = wait(child, each.limit_s)
            if said is not None:
                print(f"\n== {each.name}\n{said.read_text(errors='replace')}", end="")
            results.append(conclude(each, code, scratch, started))
    return results


def name_tests(suite: Suite, scratch: Path) -> list[str]:
    """Return the words that make our Python run a suite and report to `scratch`."""
    words = ["-m", "pytest", "-q", "-m", suite.markers]
    words += [f"--junitxml={report_of(suite, scratch)}", "-n", str(suite.workers)]
    return [*words, "-o", f"cache_dir={CACHE / 'pytest'}"]


def report_of(suite: Suite, scratch: Path) -> Path:
    """Return where pytest writes the counts of a suite."""
    return scratch / f"{suite.name.replace(' ', '-')}.xml"


def conclude(suite: Suite, code: int, scratch: Path, started: float) -> Result:
    """Return what came out of a suite that has ended with this code."""
    passed, failed, skipped = read_counts(report_of(suite, scratch))
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
        results += run_steps(STATIC, environment, scratch)
        for suite in SUITES:
            if MODES.index(suite.mode) <= reached:
                results += run_suite(suite, environment, scratch)
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
