"""Secrets come by prompt, from a file only its owner can read, or through a file descriptor.

Never from the command line, where every other process could see them.
"""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import rich_click as click
from msgspec import Struct

from lockstep.cli.failure import WrongUsage
from lockstep.errors import Rejected
from lockstep.wallet.wallet import read_private

SECRET_BYTES_MAX: Final = 4096


class SecretUnavailable(Rejected):
    """There is no way to ask for the secret, or what was given is none."""

    code = "secret.unavailable"


class SecretSource(Struct, frozen=True):
    """Where a secret comes from: a file, a descriptor, or, with neither, a prompt."""

    file: Path | None
    descriptor: int | None

    @property
    def is_prompt(self) -> bool:
        """Tell whether the secret has to be asked for."""
        return self.file is None and self.descriptor is None


def passphrase_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--passphrase-file` and `--passphrase-fd`; the parameter is `passphrase_source`."""

    @wraps(function)
    def gathered(*, passphrase_file: Path | None, passphrase_fd: int | None, **rest: Any) -> Any:
        source = SecretSource(passphrase_file, passphrase_fd)
        return function(passphrase_source=source, **rest)

    file = click.option(
        "--passphrase-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read the passphrase from this file, which must be mode 0600.",
    )
    descriptor = click.option(
        "--passphrase-fd",
        type=click.IntRange(min=0),
        metavar="N",
        help="Read the passphrase from this open file descriptor.",
    )
    return file(descriptor(gathered))


def read_secret(what: str, source: SecretSource, *, is_new: bool = False) -> str:
    """Return a secret; prompt where neither a file nor a descriptor is named.

    A new secret is asked for twice.

    Raises:
        WrongUsage: If both are named.
        SecretUnavailable: If it cannot be read, is empty, or there is no terminal to ask on.
        LoosePermissions: If others can read the file.
    """
    file, descriptor = source.file, source.descriptor
    if file is not None and descriptor is not None:
        raise WrongUsage(f"the {what} can come from a file or a descriptor, not from both")
    try:
        if file is not None:
            data = read_private(file)
        elif descriptor is not None:
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                data = stream.read(SECRET_BYTES_MAX + 1)
        elif not sys.stdin.isatty():
            name = what.replace(" ", "-")
            raise SecretUnavailable(f"no terminal to ask for the {what} on; use --{name}-file")
        else:
            text = click.prompt(
                what.capitalize(), hide_input=True, confirmation_prompt=is_new, err=True
            )
            data = str(text).encode()
    except OSError as fault:
        raise SecretUnavailable(f"the {what} cannot be read: {fault.strerror}") from fault
    return _clean(data, what)


def _clean(data: bytes, what: str) -> str:
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as fault:
        raise SecretUnavailable(f"the {what} is not text") from fault
    if not text or len(data) > SECRET_BYTES_MAX:
        raise SecretUnavailable(f"the {what} is empty or longer than {SECRET_BYTES_MAX} bytes")
    return text
