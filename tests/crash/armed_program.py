"""The real program in a process that ends itself at a named crash point.

The first argument is a file; once it says "POINT TIMES", the process ends when that point is
reached so many times. The other arguments are those of `lockstep`.
"""

import os
import sys
from pathlib import Path

from lockstep.cli.main import main
from lockstep.storage.crashpoints import listen

EXIT_CRASHED = 97


def arm(site: str, times: int) -> None:
    """End this process when `site` is reached for the given time."""
    left = times

    def crash(reached: str) -> None:
        nonlocal left
        if reached == site:
            left -= 1
            if left <= 0:
                os._exit(EXIT_CRASHED)

    listen(crash)


def arm_by(switch: Path) -> None:
    """End this process as the file says, from the moment on in which it is there."""
    reached_times = 0

    def crash(reached: str) -> None:
        nonlocal reached_times
        if switch.exists():
            site, times = switch.read_text().split()
            reached_times += reached == site
            if reached_times >= int(times):
                os._exit(EXIT_CRASHED)

    listen(crash)


if __name__ == "__main__":
    _, path, *words = sys.argv
    arm_by(Path(path))
    sys.argv = ["lockstep", *words]
    main()
