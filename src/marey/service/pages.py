"""The documentation page of the service: Swagger UI from files of this package, so that it works offline."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, RedirectResponse

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

pages = APIRouter(include_in_schema=False)


@pages.get("/")
async def start() -> RedirectResponse:
    """Redirect to the documentation page."""
    return RedirectResponse("docs")


@pages.get("/docs")
async def docs() -> FileResponse:
    """Return the page."""
    return FileResponse(_STATIC / "docs.html", media_type="text/html", headers=_HEADERS)


@pages.get("/static/{name}")
async def static(name: str) -> FileResponse:
    """Return a file of the page."""
    if name not in _FILES:
        raise HTTPException(404)
    path, media_type = _FILES[name]
    return FileResponse(path, media_type=media_type, headers=_HEADERS)
