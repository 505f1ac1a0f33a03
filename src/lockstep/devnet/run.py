"""One run of `lockstep devnet`, from options to verdict."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import uvloop

from lockstep.crypto.keys import SodiumVerifier
from lockstep.devnet.conductor import Conductor
from lockstep.devnet.founding import Devnet, open_devnet
from lockstep.devnet.judge import judge
from lockstep.devnet.options import DevnetOptions, check_options
from lockstep.devnet.place import forget_last_devnet
from lockstep.devnet.remains import open_remains
from lockstep.devnet.report import check_promises, describe_result
from lockstep.devnet.screen import Screen

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
        with (
            open_devnet(directory, options) as devnet,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            facts = runner.run(Conductor(devnet, options, screen).run())
            screen.show("judging what the nodes left")
            _add_verdict(facts, devnet)
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


def _add_verdict(facts: dict[str, Any], devnet: Devnet) -> None:
    """Ask the judge, and put what it says beside what the load saw."""
    place = devnet.place
    with open_remains(place.node_directories(), place.evidence_directory, devnet.genesis) as nodes:
        verdict = judge(nodes, devnet.genesis, verifier=SodiumVerifier())
    found = verdict.describe()
    without_quorum = facts.pop("final_without_quorum") + found.pop("final_without_quorum")
    both_final = found.pop("both_final")
    if (conflicts := facts.get("conflicts")) is not None:
        conflicts["both_final"] = max(conflicts["both_final"], both_final)
    elif both_final:
        facts["faults"].append(f"{both_final} pairs of payments of one coin were both final")
    facts |= found
    facts["final_without_quorum"] = without_quorum
    facts["findings"] = verdict.findings
