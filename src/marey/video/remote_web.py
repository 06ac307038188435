"""Files on web servers that send ranges of bytes (RFC 9110, 14)."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

from marey.errors import UsageError
from marey.extras import install_command
from marey.remote_path import RemotePath
from marey.version import __version__
from marey.video.remote_errors import RemoteReadError
from marey.video.remote_store import RemoteState, Store

_TRIES: Final = 4
_WAIT: Final = 0.1  # s before the second try, doubled before each one after it
_BUSY: Final = (429, 500, 502, 503, 504)
_STRONG_AFTER: Final = 60.0  # s: a file that changed later than this before the answer may change again unnoticed
_SAFE: Final = "%/:=&?~#+!$,;'@()*[]"
_HEADERS: Final = {"User-Agent": f"marey/{__version__}", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of a server to a request for a range."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class WebStore(Store):
    """Web servers; each answer says which version it is of."""

    pins = True

    def __init__(self) -> None:
        try:
            self._web: Any = importlib.import_module("aiohttp")
        except ImportError as error:
            raise UsageError(f"http:// is read with aiohttp, which is missing: {install_command('remote')}") from error
        super().__init__("http", client_kwargs={"trust_env": True}, encoded=True)

    def look_up(self, path: RemotePath, timeout: float) -> RemoteState:
        """Return the state of a file, by reading its first byte: signed URLs do not allow HEAD."""
        answer = self._range(path, 0, 1, timeout)
        if answer.status == 416:
            return RemoteState(0, "empty")
        return _state(answer)

    def read(self, path: RemotePath, state: RemoteState, start: int, end: int, timeout: float) -> bytes:
        """Return the bytes `[start, end)` of the version that was looked up; a `RemoteReadError` if it has changed."""
        answer = self._range(path, start, end, timeout)
        now = RemoteState(0, "") if answer.status == 416 else _state(answer)
        if now.size != state.size or (state.version and now.version != state.version):
            raise RemoteReadError("changed", "another version has taken its place while it was read")
        return answer.data

    def is_folder(self, path: RemotePath, timeout: float) -> bool:
        """Return whether the server has a page of links there."""
        if "?" in path.url:
            return False
        try:
            return bool(self._call("ls", timeout, f"{path.url.rstrip('/')}/", detail=False))
        except FileNotFoundError:
            return False

    def list_files(self, folder: RemotePath, timeout: float) -> list[str]:
        """Return the URLs of all files that the pages of links below a folder lead to, sorted."""
        waiting, found = [f"{folder.url.rstrip('/')}/"], set()
        seen = set(waiting)
        while waiting:
            for url in self._call("ls", timeout, waiting.pop(), detail=False):
                if not url.endswith("/"):
                    found.add(url)
                elif url not in seen and url.startswith(min(seen, key=len)):
                    seen.add(url)
                    waiting.append(url)
        return sorted(found)

    def _range(self, path: RemotePath, start: int, end: int, timeout: float) -> _Answer:
        """Request a range; where a connection breaks or a server is busy, again, until the time is over."""
        last = time.monotonic() + timeout
        for attempt in range(1, _TRIES + 1):
            wait = _WAIT * 2 ** (attempt - 1)
            try:
                answer: _Answer = self.wait_for(self._request, last - time.monotonic(), path.url, start, end)
                if answer.status not in _BUSY:
                    return _checked(answer, start, end)
                fault = f"the server answers {answer.status}"
            except (self._web.ClientError, OSError) as error:
                if time.monotonic() >= last:
                    raise
                fault = f"the connection broke off ({type(error).__name__})"
            if attempt == _TRIES or time.monotonic() + wait >= last:
                break
            time.sleep(wait)
        raise RemoteReadError("unreachable", f"{fault}, {attempt} times in a row")

    async def _request(self, url: str, start: int, end: int) -> _Answer:
        session = await self.system.set_session()
        target = self.system.encode_url(quote(url, safe=_SAFE))
        async with session.get(target, headers={**_HEADERS, "Range": f"bytes={start}-{end - 1}"}) as reply:
            if reply.status == 206:
                data = await reply.read()
            elif reply.status >= 400:
                data = await reply.content.read(4096)
            else:
                data = b""  # the whole file: not read
                reply.close()
            return _Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, data)


def _checked(answer: _Answer, start: int, end: int) -> _Answer:
    """Return an answer that is a range, or says that the file is shorter.

    Raises:
        RemoteReadError: it is anything else, with its reason.
    """
    status, text = answer.status, answer.data.decode("utf-8", "replace").lower()
    if status == 416:
        return answer
    if status in (404, 410):
        raise RemoteReadError("missing", f"the server answers {status}: there is no such file")
    if status in (400, 401, 403) and "expired" in text:
        raise RemoteReadError("expired", f"the server answers {status}: the URL or the credentials have expired")
    if status in (401, 403, 407):
        raise RemoteReadError("forbidden", f"the server answers {status}: reading it is refused")
    if status == 200 and answer.headers.get("content-length") == "0":
        return _Answer(416, answer.headers, b"")
    if status == 200:
        raise RemoteReadError("no_ranges", "its server sends whole files only, no ranges of bytes: copy it here first")
    if status != 206:
        raise RemoteReadError("unreachable", f"the server answers {status} where a range of bytes was expected")
    stated = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("content-range", ""))
    if stated is None or int(stated[1]) != start or len(answer.data) != min(end, int(stated[3])) - start:
        raise RemoteReadError("no_ranges", "its server sends other bytes than the range that was requested")
    return answer


def _state(answer: _Answer) -> RemoteState:
    """Return the state that an answer states; a time of change counts only where it is old enough (RFC 9110, 8.8.2)."""
    size = int(answer.headers["content-range"].rpartition("/")[2])
    tag, changed = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    if tag:
        return RemoteState(size, f"{tag} {changed}" if tag.startswith("W/") else tag)
    try:
        age = parsedate_to_datetime(answer.headers["date"]) - parsedate_to_datetime(changed)
    except (KeyError, ValueError, TypeError):
        return RemoteState(size, "")
    return RemoteState(size, changed if age.total_seconds() >= _STRONG_AFTER else "")
