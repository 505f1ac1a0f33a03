"""The `lockstep` command: a group of subcommands, each imported when it is asked for."""

import rich_click as click

from lockstep import __version__


@click.group()
@click.version_option(__version__, prog_name="lockstep")
def main() -> None:
    """Run and use a masternode payment network."""
