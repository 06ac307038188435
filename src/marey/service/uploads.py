"""Uploads: bodies of requests written to files in chunks, within the limits."""

from __future__ import annotations

import asyncio
import errno
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from fastapi import Request
from pydantic import ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from marey.service.problems import Problem, client_left
from marey.service.schema import UrlRequest
from marey.service.settings import Settings

_PARTS: Final = 16  # of a form, including the file
_FORM_ROOM: Final = 64 * 1024  # bytes of a form besides its file
_JSON_ROOM: Final = 16 * 1024  # bytes
_NAME_LENGTH: Final = 120
_LAST_PAUSE: Final = 2.0  # s between two chunks of an upload when the service stops
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HOW: Final = "send it as multipart/form-data in a part called 'file', as `curl -F file=@clip.mp4` does"

UPLOAD_SCHEMA: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary", "description": "the video"}},
            }
        },
        "video/*": {"schema": {"type": "string", "format": "binary", "description": "the video itself"}},
        "application/json": {"schema": UrlRequest.model_json_schema()},
    },
}
"""The body of a request with a video, for the OpenAPI page."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A complete upload.

    Attributes:
        path: where it lies; whoever has it removes it.
        name: as the caller called it, fit to be shown, and never a path.
    """

    path: Path
    name: str


class Receiver:
    """Receives the uploads of one service.

    Args:
        folder: where files are written.
        settings: limits.
        on_bytes: hears how many have come.
    """

    def __init__(self, folder: Path, settings: Settings, on_bytes: Callable[[int], None]) -> None:
        self._folder = folder
        self._settings = settings
        self._on_bytes = on_bytes
        self._pauses: set[asyncio.Timeout] = set()
        self._stopping = False

    def stop(self) -> None:
        """Shorten the time that incomplete uploads may pause."""
        self._stopping = True
        until = asyncio.get_running_loop().time() + _LAST_PAUSE
        for pause in self._pauses:
            pause.reschedule(until)

    def media_type(self, request: Request) -> tuple[str, dict[bytes, bytes]]:
        """Return the media type of a request's body."""
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        return kind.decode("latin-1").lower(), options

    async def receive(self, request: Request) -> Upload:
        """Receive the video in the body of a request: the file of a form, or the body itself.

        Raises:
            Problem: 400 no video in it, or cut off; 408 too slow; 413 too large; 415 another media type; 507 no room.
        """
        kind, options = self.media_type(request)
        stated = request.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self._settings.max_upload + _FORM_ROOM:
            raise self._too_large()
        path = self._folder / secrets.token_hex(16)
        try:
            with path.open("xb") as file:
                if kind == "multipart/form-data":
                    name = await self._receive_form(request, file, options.get(b"boundary", b""))
                elif kind.startswith("video/") or kind == "application/octet-stream":
                    name = await self._receive_body(request, file)
                else:
                    raise Problem(415, "media_type", f"the body is '{kind[:100]}', and a video is needed; {_HOW}")
            if path.stat().st_size == 0:
                raise Problem(400, "empty", f"there is no byte of a video in the request; {_HOW}")
            return Upload(path, name)
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno in _NO_SPACE:
                raise Problem(507, "no_space", "the service has no room for the file; try again later") from error
            raise
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    async def receive_link(self, request: Request) -> str:
        """Return the URL in a JSON body.

        Raises:
            Problem: 400 it is no JSON of this kind; 413 too long.
        """
        body = bytearray()
        async for piece in self._pieces(request):
            body += piece
            if len(body) > _JSON_ROOM:
                raise Problem(413, "too_large", f"a body of JSON may have {_JSON_ROOM:,} bytes here")
        try:
            return UrlRequest.model_validate_json(bytes(body)).url
        except ValidationError as error:
            detail = error.errors()[0]["msg"]
            raise Problem(400, "invalid", f'the body has to be {{"url": "https://..."}}: {detail}') from error

    async def _receive_body(self, request: Request, file: BinaryIO) -> str:
        size = 0
        async for piece in self._pieces(request):
            size += len(piece)
            if size > self._settings.max_upload:
                raise self._too_large()
            file.write(piece)
        return "upload"

    async def _receive_form(self, request: Request, file: BinaryIO, boundary: bytes) -> str:
        form = _Form(file, self._settings.max_upload, self._too_large)
        if not boundary:
            raise Problem(400, "malformed", f"the form states no boundary; {_HOW}")
        try:
            parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type] # a TypedDict of the same
            size = 0
            async for piece in self._pieces(request):
                size += len(piece)
                if size > self._settings.max_upload + _FORM_ROOM:
                    raise self._too_large()
                parser.write(piece)
            if size:
                parser.finalize()
        except FormParserError as error:
            raise Problem(400, "malformed", f"the form cannot be read: {error}") from error
        if size and not form.complete:
            raise Problem(400, "cut_off", "the upload ends before the form does: it was cut off on its way")
        if form.name is None:
            raise Problem(400, "empty", f"there is no video in the request; {_HOW}")
        return form.name

    async def _pieces(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the chunks of a body, as long as they arrive in time."""
        loop = asyncio.get_running_loop()
        began, size, more = loop.time(), 0, True
        while more:
            rule = self._settings
            left = rule.upload_grace + size / rule.slowest_upload - (loop.time() - began)
            longest = _LAST_PAUSE if self._stopping else rule.longest_pause
            try:
                async with asyncio.timeout(max(0.0, min(longest, left))) as pause:
                    self._pauses.add(pause)
                    try:
                        message = await request.receive()
                    finally:
                        self._pauses.discard(pause)
            except TimeoutError:
                if self._stopping:
                    raise Problem(503, "stopping", "the service stops; try again in a while") from None
                detail = f"{size:,} bytes came in {loop.time() - began:.0f} s, which is too slow to wait for"
                raise Problem(408, "too_slow", detail) from None
            if message["type"] == "http.disconnect":
                raise client_left()
            more = message.get("more_body", False)
            piece = message.get("body", b"")
            size += len(piece)
            self._on_bytes(len(piece))
            if piece:
                yield piece

    def _too_large(self) -> Problem:
        limit = self._settings.max_upload / 2**20
        return Problem(413, "too_large", f"the file has more than the {limit:g} MB that it may have here")


class _Form:
    """Multipart parser: writes the part `file` to disk, and ignores other parts."""

    def __init__(self, file: BinaryIO, max_size: int, too_large: Callable[[], Problem]) -> None:
        self._file = file
        self._left = max_size
        self._too_large = too_large
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._writing = False
        self.name: str | None = None
        self.complete = False

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Return the callbacks for the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise Problem(400, "too_many_parts", f"the form has more than {_PARTS} parts, and one is needed; {_HOW}")
        self._disposition, self._writing = b"", False

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != b"file":
            return
        if self.name is not None:
            raise Problem(400, "two_files", "the form has two parts called 'file': send one video a request")
        self.name = display_name(options.get(b"filename", b"").decode("utf-8", "replace"))
        self._writing = True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._writing:
            self._left -= end - start
            if self._left < 0:
                raise self._too_large()
            self._file.write(data[start:end])

    def _end(self) -> None:
        self.complete = True


def display_name(given: str) -> str:
    """Return the last part of a caller's file name, without control characters."""
    last = re.split(r"[/\\]", given)[-1]
    plain = "".join(letter for letter in last if letter.isprintable()).strip()
    return plain[:_NAME_LENGTH] or "upload"
