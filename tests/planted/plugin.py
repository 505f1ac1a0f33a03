"""Plants the bug that LOCKSTEP_PLANTED names before pytest collects anything."""

import os

from planted.hunt import find_bug
from planted.patching import Patch


def pytest_configure() -> None:
    """Plant it; this process ends with its tests, so nothing is set back."""
    find_bug(os.environ["LOCKSTEP_PLANTED"]).plant(Patch())
