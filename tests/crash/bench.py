"""The test's end of `store_program.py`."""

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from crash import store_program


def program_environment() -> dict[str, str]:
    """Return an environment in which our programs find the tests' modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Bench:
    """Runs the store in children of one helper process; use it as a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, store_program.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=program_environment(),
        )

    def ask(self, *words: Any) -> tuple[int, list[str]]:
        """Return how the child ended, and what it said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([*words]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["said"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()
