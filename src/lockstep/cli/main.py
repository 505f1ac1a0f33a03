"""The `lockstep` command: a group of subcommands, each imported when it is asked for.

Errors go to standard error as a sentence with its code and the next step, or with `--json` as one
object to standard output. Results go to standard output and nothing else does.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import rich_click as click

from lockstep import __version__
from lockstep.cli.failure import EXIT_INTERRUPTED, EXIT_USAGE, describe_usage, report_failure
from lockstep.errors import LockstepError

COMMANDS: Final = {
    "bench": "lockstep.cli.bench:bench",
    "devnet": "lockstep.cli.devnet:devnet",
    "init": "lockstep.cli.node:init",
    "load": "lockstep.cli.load:load",
    "node": "lockstep.cli.node:node",
    "sim": "lockstep.cli.sim:sim",
    "status": "lockstep.cli.status:status",
    "stop": "lockstep.cli.status:stop",
    "tx": "lockstep.cli.tx:tx",
    "version": "lockstep.cli.version:version",
    "wallet": "lockstep.cli.wallet:wallet",
}


class LazyGroup(click.RichGroup):
    """A group that imports a subcommand when it is named, so that a trivial one answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # Click's signature.
        """Return the names of all subcommands."""
        return sorted(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # Click's signature.
        cmd_name: str,
    ) -> click.Command | None:
        """Import one subcommand; None where there is none of this name."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        _mark_examples(command)
        return command


def _mark_examples(command: click.Command) -> None:
    """Put click's mark for "keep these lines" into help texts, which are raw strings without it."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _mark_examples(below)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="lockstep")
def lockstep() -> None:
    """Run and use a masternode payment network.

    Try `lockstep devnet`: four masternodes, a funded wallet, and a first payment that is final in
    milliseconds. Every command but `node` takes --json.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted; `status` has its own.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    # Sums of a few kilobytes want no threads of their own; nothing here multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        code = lockstep.main(args=words, prog_name="lockstep", standalone_mode=False)
    except click.UsageError as fault:
        code = report_failure(describe_usage(fault), as_json=as_json, exit_code=EXIT_USAGE)
    except click.Abort:
        code = EXIT_INTERRUPTED
    except LockstepError as fault:
        code = report_failure(fault, as_json=as_json)
    except BrokenPipeError:
        # Whoever read the output has gone; closing quietly is what a pipe expects.
        sys.stderr.close()
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
