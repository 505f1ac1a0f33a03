"""`lockstep init` and `lockstep node`: make a node's directory, and run the node in it."""

import os
from pathlib import Path

import rich_click as click

from lockstep.cli.output import json_option, say_result


@click.command()
@click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The directory to make; it must not hold a node yet.",
)
@click.option(
    "--genesis",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The genesis file of the network.",
)
@click.option("--follow", is_flag=True, help="Make no voting key: the node only follows.")
@click.option("--peers", default="", metavar="HOST:PORT,...", help="Nodes to connect with.")
@json_option
def init(directory: Path, genesis: Path, peers: str, *, follow: bool, as_json: bool) -> None:
    r"""Make a node's directory: its keys, the journal that belongs to them, and its settings.

    \b
    Example:
      lockstep init --dir ~/node --genesis genesis.json --peers 127.0.0.1:24200
    """
    from lockstep.crypto.keys import SecretKey
    from lockstep.node.config import Settings
    from lockstep.node.datadir import init_node
    from lockstep.primitives.genesis import parse_genesis
    from lockstep.primitives.params import params_of
    from lockstep.wallet.keychain import draw_seed

    chain = parse_genesis(genesis.read_bytes())
    port = params_of(chain.network).p2p_port
    node_seed, voting_seed = draw_seed(), None if follow else draw_seed()
    settings = Settings(
        network=chain.network,
        p2p_listen=f"127.0.0.1:{port}",
        rpc_listen=f"127.0.0.1:{port + 1}",
        peers=tuple(filter(None, (p.strip() for p in peers.split(",")))),
    )
    init_node(directory, chain, settings=settings, node_seed=node_seed, voting_seed=voting_seed)
    voting_key = None if voting_seed is None else SecretKey(voting_seed).public_key.hex()
    content = {
        "directory": str(directory.resolve()),
        "network": chain.network,
        "chain_id": chain.chain_id.hex(),
        "node_key": SecretKey(node_seed).public_key.hex(),
        "voting_key": voting_key,
    }
    said = {**content, "voting_key": voting_key or "none, the node only follows"}
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in said.items()]
    lines.append(f"start it with: lockstep node --dir {directory}")
    say_result(content, lines, as_json=as_json)


@click.command()
@click.option(
    "--dir",
    "directory",
    required=True,
    envvar="LOCKSTEP_DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="The node's directory, made by `lockstep init`.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append every message of a peer to this file, for a judge.",
)
@click.option("--p2p-listen", metavar="HOST:PORT", help="Where other nodes connect.")
@click.option("--rpc-listen", metavar="HOST:PORT", help="Where programs of this machine ask.")
@click.option("--metrics-listen", metavar="HOST:PORT", help="A second door for /metrics.")
@click.option("--peers", metavar="HOST:PORT,...", help="Nodes to keep a connection with.")
@click.option(
    "--verify-backend", metavar="NAME", help="What verifies signatures: auto, sodium or crypto_mb."
)
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
def node(directory: Path, record: Path | None, **flags: str | None) -> int:
    r"""Run the node in a directory until SIGTERM, Ctrl-C or `lockstep stop`.

    Options go before environment variables (LOCKSTEP_RPC_LISTEN, ...), and those before
    lockstep.toml. Exit codes: 0 stopped in order, 1 not started, 3 stopped by a fault.

    \b
    Example:
      lockstep node --dir ~/node --log-level warning
    """
    from lockstep.node.app import run
    from lockstep.node.config import load_config

    given = {name: value for name, value in flags.items() if value is not None}
    config = load_config(directory, environment=os.environ, flags=given, record=record)
    return run(config)
