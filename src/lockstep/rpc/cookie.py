"""The cookie: who can read this file may call the node. It is new at each start."""

import base64
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

COOKIE_USER: Final = "__cookie__"


class Cookie:
    """This run's secret and the file it stands in; made by `write_cookie`."""

    def __init__(self, path: Path, secret: str) -> None:
        """Hold the secret that `path` holds."""
        self._path = path
        self._content = f"{COOKIE_USER}:{secret}".encode()
        self._usual = b"Basic " + base64.b64encode(self._content)

    def is_right(self, authorization: str) -> bool:
        """Judge the value of an Authorization header, in constant time."""
        if hmac.compare_digest(authorization.encode(), self._usual):
            return True
        # The scheme and the encoding have other spellings, which say the same.
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(text.strip(), validate=True)
        except ValueError:
            return False
        return hmac.compare_digest(given, self._content)

    def remove(self) -> None:
        """Remove the file at an orderly stop, unless another run has put its own there."""
        try:
            if self._path.read_bytes().strip() == self._content:
                self._path.unlink()
        except FileNotFoundError:
            return


def write_cookie(path: Path) -> Cookie:
    """Make a new secret and put it into place with one rename, readable by its owner alone."""
    secret = secrets.token_hex(32)
    cookie = Cookie(path, secret)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{COOKIE_USER}:{secret}")
    fresh.replace(path)
    return cookie
