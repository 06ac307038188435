"""The server: the HTTP app of a service on a socket, with its documentation page, which works offline."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from marey.errors import UsageError
from marey.service.guard import LoopbackGuard
from marey.service.jobs import JobStore
from marey.service.metrics import CountRequests
from marey.service.problems import add_handlers, answer_of, too_many
from marey.service.routes import check_page_token, open_routes, routes
from marey.service.schema import ProblemAnswer
from marey.service.service import Service
from marey.service.settings import Layout, Settings
from marey.version import __version__

_CONNECTIONS: Final = 512  # open at a time: a process may have 1024 files by default
_UNHEARD: Final = 10.0  # s in which a connection may send data without a request in progress
_GRACE: Final = 30  # s to finish accepted requests when the server stops
_ABOUT: Final = "Human action recognition in video. Upload a file to `/predict` for one label, to `/jobs` for segments."

_PACKAGE: Final = Path(str(resources.files("marey")))
_STATIC: Final = _PACKAGE / "service" / "static"
_FILES: Final = {
    "docs.js": (_STATIC / "docs.js", "text/javascript"),
    "mark.svg": (_PACKAGE / "app" / "static" / "mark.svg", "image/svg+xml"),
    "swagger-ui-bundle.js": (_STATIC / "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (_STATIC / "swagger-ui.css", "text/css"),
}
_HEADERS: Final = {
    # A script of the page can connect only to this server.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Served:
    """Statistics of a server that has ended.

    Attributes:
        address: its URL.
        requests: number of requests answered.
        seconds: time that it ran.
    """

    address: str
    requests: int
    seconds: float


# The documentation page: Swagger UI from files of this package.
_pages = APIRouter(include_in_schema=False)


@_pages.get("/")
async def _start() -> RedirectResponse:
    return RedirectResponse("docs")


@_pages.get("/docs", dependencies=[Depends(check_page_token)])
async def _docs() -> FileResponse:
    return FileResponse(_STATIC / "docs.html", media_type="text/html", headers=_HEADERS)


@_pages.get("/openapi.json", dependencies=[Depends(check_page_token)])
async def _openapi(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


@_pages.get("/static/{name}")
async def _static(name: str) -> FileResponse:
    if name not in _FILES:
        raise HTTPException(404)
    path, media_type = _FILES[name]
    return FileResponse(path, media_type=media_type, headers=_HEADERS)


def create_app(service: Service) -> FastAPI:
    """Return the ASGI app of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # FastAPI's own pages load their scripts from the internet.
    app = FastAPI(
        title="marey",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.service = service
    app.include_router(open_routes)
    app.include_router(routes)
    app.include_router(_pages)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    add_handlers(app)
    app.add_middleware(LoopbackGuard, token=service.settings.token is not None)
    app.add_middleware(CountRequests, metrics=service.metrics)
    return app


def run(
    models: Mapping[str, Path],
    *,
    host: str,
    port: int,
    device: str,
    engine: str | None = None,
    settings: Settings,
    layout: Layout,
    jobs: Path,
    on_listening: Callable[[str], None],
    on_ready: Callable[[], None],
) -> Served:
    """Serve until a signal ends it.

    Args:
        models: folders by name, as `find_models` gives them.
        host: the IP address to listen on.
        port: the port to listen on; 0 for any free one.
        device: the device of the encoders.
        engine: the engine of the encoders, as for `marey.encoders.load_encoder`.
        settings: the limits for callers.
        layout: the threads of the work.
        jobs: folder of jobs.
        on_listening: called with the URL once requests are answered.
        on_ready: called once models are loaded.

    Raises:
        UsageError: the port or the folder is not available.
        MareyError: a model that cannot be loaded.
    """
    began = time.monotonic()
    with listen(host, port) as listener:
        address = address_of(host, listener)
        store = JobStore(jobs)
        try:
            service = Service(models, device=device, engine=engine, settings=settings, layout=layout, store=store)
            server = Server(service, on_listening=lambda: on_listening(address), on_ready=on_ready)
            with suppress(KeyboardInterrupt):  # uvicorn raises it again when all is finished
                server.run(sockets=[listener])
            if service.failure is not None:
                raise service.failure
            return Served(address, server.server_state.total_requests, time.monotonic() - began)
        finally:
            store.close()


def _describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with the schema of errors."""
    if not app.openapi_schema:
        page = FastAPI.openapi(app)
        page["components"]["schemas"]["ProblemAnswer"] = ProblemAnswer.model_json_schema()
    return app.openapi_schema or {}


class Server(uvicorn.Server):
    """A server that stops its service with itself, and stops if the service cannot start.

    Args:
        service: the service.
        on_listening: called once requests are answered.
        on_ready: called once models are loaded.
    """

    def __init__(
        self,
        service: Service,
        *,
        on_listening: Callable[[], None] = lambda: None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        config = uvicorn.Config(
            create_app(service),
            http=partial(_Connection, Addresses(service.settings.max_connections)),  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)
        self._service = service
        self._on_listening = on_listening
        self._on_ready = on_ready
        self._announced = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests."""
        await super().startup(sockets)
        self._on_listening()

    async def on_tick(self, counter: int) -> bool:
        """Return true to stop; called ten times a second."""
        if self._service.failure is not None:
            return True
        if not self._announced and self._service.status == "ready":
            self._announced = True
            self._on_ready()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the accepted requests."""
        self._service.stop()
        await super().shutdown(sockets)


class Addresses:
    """The number of open connections of each address.

    Args:
        most: of one address.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection; return whether its address may have it."""
        self._open[address] += 1
        return self._open[address] <= self._most

    def leave(self, address: str) -> None:
        """Count a connection no longer."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    @property
    def refusal(self) -> bytes:
        """The answer to a connection too many, as it is sent."""
        detail = f"this address has {self._most} open connections already; close some, or try again in a moment"
        answer = answer_of(too_many("too_many_connections", detail, retry_after=1))
        headers = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        return b"HTTP/1.1 429 Too Many Requests\r\n" + headers + b"connection: close\r\n\r\n" + bytes(answer.body)


class _Connection(H11Protocol):
    """A connection that is closed when it keeps sending without a request in progress, or is one too many.

    It may send its headers too slowly (slow loris), or continue an upload that was refused: uvicorn keeps reading,
    because many clients read the answer only after sending all, and would never stop.

    Args:
        addresses: counts the connections of all callers.
        options: of uvicorn.
    """

    _limit: asyncio.TimerHandle | None = None

    def __init__(self, addresses: Addresses, **options: Any) -> None:
        super().__init__(**options)
        self._addresses = addresses
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        if not self._addresses.enter(self._address):
            transport.write(self._addresses.refusal)
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._addresses.leave(self._address)
        self._unwatch()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._limit is None:
            self._limit = self.loop.call_later(_UNHEARD, self.transport.close)

    def _unwatch(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free port.

    Raises:
        UsageError: the port is not available.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"nothing can listen at {host}, port {port} ({why}); choose another --port") from error


def address_of(host: str, listener: socket.socket) -> str:
    """Return the URL of a socket."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
