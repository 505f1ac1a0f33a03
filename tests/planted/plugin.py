"""Plants the bug that LOCKSTEP_PLANTED names before pytest collects anything."""

import os
from typing import Any, Final

from planted.hunt import NEVER_CALLED, find_bug
from planted.patching import Patch

_PATCH: Final = Patch()


def pytest_configure() -> None:
    """Plant it; this process ends with its tests, so nothing is set back."""
    find_bug(os.environ["LOCKSTEP_PLANTED"]).plant(_PATCH)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which of the planted functions no test called."""
    for name in _PATCH.uncalled:
        terminalreporter.write_line(NEVER_CALLED + name)
