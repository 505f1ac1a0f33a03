"""The gate before every route: who may come in, by Host, Origin and cookie.

A web page in somebody's browser can reach a loopback port; the Host check ends DNS rebinding, the
Origin check ends requests across sites. Probes and metrics need no cookie from the same machine.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lockstep.rpc.cookie import Cookie

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class Gate:
    """ASGI middleware that lets a request through or answers 401 or 403."""

    def __init__(self, app: ASGIApp, cookie: Cookie, hosts: Iterable[str]) -> None:
        """Guard `app`; `hosts` are the names it may be called by besides those of loopback."""
        self._app = app
        self._cookie = cookie
        self._hosts = frozenset({*LOOPBACK_NAMES, *(host.lower() for host in hosts)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request or WebSocket handshake."""
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        hosts: list[str] = []
        origin, authorization = None, ""
        # One look at each header: this is done for every request.
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value.decode("latin-1"))
            elif name == b"origin" and origin is None:
                origin = value.decode("latin-1")
            elif name == b"authorization" and not authorization:
                authorization = value.decode("latin-1")
        if len(hosts) != 1 or _host_of(f"//{hosts[0]}") not in self._hosts:
            return _refuse(403, "rpc.host", "the Host header names no address of this node")
        if origin is not None and _host_of(origin) not in self._hosts:
            return _refuse(403, "rpc.origin", "pages of other sites may not call this node")
        if scope["path"] in OPEN_PATHS and _is_local(scope):
            return None
        if not self._cookie.is_right(authorization):
            sentence = "authenticate with the user and password in the node's .cookie file"
            return _refuse(401, "rpc.unauthorized", sentence)
        return None


@lru_cache(maxsize=16)
def _host_of(url: str) -> str:
    """Return the host a URL names, in lower case; nothing where it is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and ipaddress.ip_address(client[0]).is_loopback


def _refuse(status: int, code: str, sentence: str) -> JSONResponse:
    headers = {"WWW-Authenticate": 'Basic realm="lockstep"'} if status == 401 else None
    return JSONResponse({"error": {"code": code, "message": sentence}}, status, headers)
