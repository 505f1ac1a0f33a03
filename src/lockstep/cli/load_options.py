"""The options of `lockstep load`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click


def load_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what to offer, and what to write."""
    file = click.Path(dir_okay=False, path_type=Path)
    for option in reversed(
        [
            click.option("--devnet", "devnet_nodes", type=click.IntRange(4, 32), metavar="N",
                         help="Start a devnet of N nodes for this, and stop it."),
            click.option("--rpc", "addresses", multiple=True, metavar="URL",
                         help="A node's RPC address, once for each node to pay through."),
            click.option("--cookie", "cookies", multiple=True, type=file, metavar="FILE",
                         help="The cookie file of each --rpc, in the same order."),
            click.option("--genesis", type=file, metavar="FILE",
                         help="The genesis file of the network meant by --rpc."),
            click.option("--rate", type=click.IntRange(1, 50_000), metavar="TPS",
                         help="Offer so many payments a second."),
            click.option("--ramp", metavar="FROM:TO", help="Offer a rate that grows or falls."),
            click.option("--closed", type=click.IntRange(1, 50_000), metavar="K",
                         help="Keep K payments under way instead."),
            click.option("--saturate", is_flag=True, help="Find the highest rate that is kept."),
            click.option("--from", "first", type=click.IntRange(25, 50_000), default=1_000,
                         show_default=True, metavar="TPS", help="Where --saturate begins."),
            click.option("--overload", type=click.IntRange(2, 20), metavar="X",
                         help="Then offer X times saturation, then saturation again."),
            click.option("--for", "seconds", type=click.IntRange(2, 3_600), default=30,
                         show_default=True, metavar="SECONDS", help="How long each step lasts."),
            click.option("--mix", metavar="KIND=SHARE,...",
                         help="Of one, two, chained, conflicting, multisig."),
            click.option("--portion", type=click.IntRange(1, 400), metavar="N",
                         help="Payments handed in together. Default: 50 to 100 ms worth of them."),
            click.option("--connections", type=click.IntRange(1, 1_000), default=16,
                         show_default=True, metavar="C", help="Clients that hand in payments."),
            click.option("--submit", type=click.Choice(["binary", "json"]), default="binary",
                         show_default=True, metavar="HOW",
                         help="Hand payments in as MessagePack (binary) or by JSON-RPC (json)."),
            click.option("--verify-backend", type=click.Choice(["auto", "sodium", "crypto_mb"]),
                         metavar="NAME", help="What the nodes of --devnet verify with."),
            click.option("--block-ms", type=click.IntRange(20, 600_000), metavar="MS",
                         help="Block interval of --devnet."),
            click.option("--report", "report_file", type=file, metavar="FILE",
                         help="Write the report there as JSON."),
            click.option("--plot", "plot_file", type=file, metavar="FILE.svg",
                         help="Draw the course of the run there."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function
