"""`lockstep devnet`: a whole network in a folder, by one command."""

from pathlib import Path
from typing import Any

import rich_click as click

from lockstep.cli.failure import EXIT_USAGE, report_failure
from lockstep.cli.output import json_option, say_result


@click.command()
@click.option("--nodes", type=click.IntRange(min=1), metavar="N", help="How many nodes; 4.")
@click.option("--weights", metavar="W,W,...", help="Voting weights, one a node; all 1.")
@click.option("--block-ms", type=click.IntRange(20, 600_000), metavar="MS", help="Block interval.")
@click.option("--closing-every", type=click.IntRange(2, 100_000), metavar="K", help="Epoch length.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the network here; one that is here is continued. Default: a temporary directory.",
)
@click.option("--for", "seconds", type=click.IntRange(min=1), metavar="SECONDS", help="Then stop.")
@click.option(
    "--load", "load_tps", type=click.IntRange(0, 50_000), metavar="TPS", help="Payments a second."
)
@click.option(
    "--kill-every",
    "kill_every_s",
    type=click.IntRange(3, 86_400),
    metavar="SECONDS",
    help="Kill (-9) a random node this often; it is started again two seconds later.",
)
@click.option(
    "--stop-nodes",
    type=click.IntRange(min=0),
    default=0,
    metavar="K",
    help="Stop K nodes for the middle third of the run.",
)
@click.option(
    "--double-spend",
    type=click.IntRange(0, 1_000),
    default=0,
    metavar="N",
    help="Send N pairs of conflicting payments to different nodes at once.",
)
@click.option(
    "--verify-backend",
    type=click.Choice(["auto", "sodium", "crypto_mb"]),
    metavar="NAME",
    help="What the nodes verify signatures with: auto, sodium or crypto_mb.",
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of the planned harm.")
@json_option
def devnet(*, weights: str | None, as_json: bool, **given: Any) -> int:
    r"""Start masternodes and a funded wallet, make a first payment final, go on until Ctrl-C.

    Every node is a process of its own, with real keys, sockets and a synced database. The last
    line of standard output is the result; progress goes to standard error. Without --for there is
    no load unless --load asks for it; with it, 10 payments a second.

    Exit codes: 0 all promises held, 1 one was broken (the result says which), 2 wrong usage.

    \b
    Examples:
      lockstep devnet
      lockstep devnet --for 20 --load 200 --json
      lockstep devnet --for 40 --load 100 --kill-every 6
      lockstep devnet --weights 4,3,2,2 --dir ~/net
    """
    from lockstep.devnet.options import DevnetOptions, WrongOptions, parse_weights
    from lockstep.devnet.run import run_devnet
    from lockstep.node.backends import CRYPTO_MB, choose_backend

    if given["verify_backend"] == CRYPTO_MB:
        # Said here in its own words; a node that does not come up says it in its log.
        choose_backend(CRYPTO_MB)
    try:
        parsed = None if weights is None else parse_weights(weights)
        result, lines, is_kept = run_devnet(DevnetOptions(weights=parsed, **given))
    except WrongOptions as fault:
        return report_failure(fault, as_json=as_json, exit_code=EXIT_USAGE)
    say_result(result, lines, as_json=as_json)
    return 0 if is_kept else 1
