"""How a command fails: one sentence with its code and the next step, and an exit code.

Exit codes: 0 done, 1 failed (or a promise broken), 2 wrong usage, 130 interrupted.
"""

import sys
from typing import Final

import msgspec
import rich_click as click
from msgspec import Struct

from lockstep.errors import LockstepError, Rejected

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130


class WrongUsage(Rejected):
    """The command line asks for something that makes no sense."""

    code = "usage"


class Failure(Struct, frozen=True):
    """What went wrong, for programs and people."""

    code: str
    message: str
    hint: str


def describe_usage(fault: click.UsageError) -> Failure:
    """Put click's complaint into our words."""
    place = fault.ctx.command_path if fault.ctx else "lockstep"
    sentence = fault.format_message().rstrip(".")
    return Failure("usage", sentence[:1].lower() + sentence[1:], f"see `{place} --help`")


def report_failure(
    fault: LockstepError | Failure, *, as_json: bool, exit_code: int = EXIT_FAILED
) -> int:
    """Write the failure where it belongs and return the exit code.

    With `as_json` it is the only line of standard output, else it goes to standard error.
    """
    if isinstance(fault, LockstepError):
        if isinstance(fault, WrongUsage):
            exit_code = EXIT_USAGE
        fault = Failure(fault.code, str(fault), fault.hint)
    if as_json:
        sys.stdout.write(msgspec.json.encode({"error": fault}).decode() + "\n")
    else:
        sys.stderr.write(f"error: {fault.message} ({fault.code})\n")
        if fault.hint:
            sys.stderr.write(f"hint: {fault.hint}\n")
    return exit_code
