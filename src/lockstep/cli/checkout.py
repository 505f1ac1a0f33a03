"""What only a checkout of the repository has: mutations of the product, which live in its tests."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from lockstep.cli.failure import WrongUsage

ROOT: Final = Path(__file__).resolve().parents[3]


def import_from_tests(name: str) -> ModuleType:
    """Import a module of the checkout's `tests` directory, such as "planted.bugs".

    Worker processes call it too: what it adds to the path of one process no other one has.

    Raises:
        WrongUsage: If this package does not run from a checkout.
    """
    tests = ROOT / "tests"
    if not tests.joinpath(*name.split(".")).with_suffix(".py").is_file():
        raise WrongUsage("this runs only from a checkout of the repository: its tests are needed")
    if str(tests) not in sys.path:
        sys.path.insert(0, str(tests))
    return import_module(name)


def read_commit() -> str | None:
    """Return the commit the checkout is at, None where this package does not run from one."""
    place = ROOT / ".git"
    try:
        head = (place / "HEAD").read_text("utf-8").strip()
        name = head.removeprefix("ref: ")
        return head if name == head else (place / name).read_text("utf-8").strip()
    except OSError:
        return None
