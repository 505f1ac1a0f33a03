"""One run of `lockstep devnet`, from options to verdict."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import uvloop

from lockstep.devnet.conductor import Conductor
from lockstep.devnet.founding import Devnet, open_devnet
from lockstep.devnet.options import DevnetOptions, check_options
from lockstep.devnet.place import forget_last_devnet
from lockstep.devnet.report import check_promises, describe_result
from lockstep.devnet.screen import Screen
from lockstep.storage.directory import DirectoryLock

TEMPORARY_PREFIX: Final = "lockstep-devnet-"


def run_devnet(options: DevnetOptions) -> tuple[dict[str, Any], list[str], bool]:
    """Run a devnet; return the result, the same in lines, and whether all promises were kept.

    Without a directory a temporary one is made; it is removed after an orderly run of limited time.

    Raises:
        WrongOptions: If the options contradict each other or the directory.
        DirectoryLocked: If another devnet runs in the directory.
        NodeFailed: If the network does not come up.
    """
    check_options(options)
    is_temporary = options.directory is None
    directory = options.directory or Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    screen = Screen()
    try:
        devnet = open_devnet(directory, options)
        with (
            DirectoryLock(devnet.place.directory),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            facts = runner.run(Conductor(devnet, options, screen).run())
            facts |= _judge(devnet)
    finally:
        screen.close()
    broken = [promise for promise in check_promises(facts) if not promise.is_kept]
    facts["broken"] = [promise.name for promise in broken]
    if is_temporary and options.seconds is not None and not broken:
        forget_last_devnet()
        shutil.rmtree(directory)
    else:
        facts["directory"] = str(devnet.place.directory)
        sys.stderr.write(f"the network is kept in {devnet.place.directory}\n")
    return facts, describe_result(facts, broken), not broken


def _judge(devnet: Devnet) -> dict[str, Any]:
    """STUB"""
    return {
        "height": {"min": 0, "max": 0},
        "closing_blocks": 0,
        "states_equal": True,
        "supply_ok": True,
        "double_signs": 0,
        "final_lost": 0,
    }
