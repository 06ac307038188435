"""Guard of a service without a token against web pages: only this machine may speak to its loopback address."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from marey.service.problems import Problem, answer_of


class LoopbackGuard:
    """Middleware that refuses what a page of another site sends to a service on this machine.

    A browser lets any page send requests to 127.0.0.1, and a name of that page may come to stand for 127.0.0.1 (DNS
    rebinding). So the header Host must name this machine, and Origin, which pages cannot change, this service. Callers
    with a token are not pages; where one is asked for, nothing is checked here.

    Args:
        app: the app behind it.
        token: true if callers are asked for a token.
    """

    def __init__(self, app: ASGIApp, *, token: bool) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 403, or let the request pass."""
        server = scope.get("server")
        if scope["type"] == "http" and not self._token and server and is_loopback(str(server[0])):
            problem = _fault(Headers(scope=scope))
            if problem is not None:
                await answer_of(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Return True if an address or a name stands for this machine, whoever is asked."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _fault(headers: Headers) -> Problem | None:
    host = headers.get("host", "")
    try:
        named = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        named = ""
    if not is_loopback(named):
        return Problem(
            403,
            "foreign_host",
            f"the request is for '{host[:100]}', and this service is for programs of its own machine: let a proxy send "
            "'Host: 127.0.0.1', or set MAREY_TOKEN to ask callers for a token",
        )
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return Problem(
            403,
            "foreign_origin",
            f"the request comes from a page of '{origin[:100]}': set MAREY_TOKEN to ask callers for a token",
        )
    return None
