"""Paths of files on other machines: URLs that are handled like paths, and show neither password nor signature."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

REMOTE_SCHEMES: Final = ("s3", "gs", "az", "hf", "http", "https")
"""The schemes of URLs that are read like files."""

_SCHEME: Final = re.compile(rf"({'|'.join(REMOTE_SCHEMES)}):[/\\]+(?=[^/\\])", re.IGNORECASE)
_WEB: Final = ("http", "https")
_IN_TEXT: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s'\"<>]+)", re.IGNORECASE)

_complete: dict[str, str] = {}
"""Name of a remote path -> its URL with a query, where it has one: in memory only, never in a file."""
_users: dict[str, str] = {}
"""Scheme and host -> the user and the password that a URL had, which hold for other files of the host too."""

if TYPE_CHECKING:
    _LocalPath = Path
else:
    _LocalPath = type(Path())


def is_remote(path: str | Path) -> bool:
    """Return whether a path is a URL of a file on another machine: s3, gs, az, hf, http or https."""
    return isinstance(path, RemotePath) or bool(_SCHEME.match(_text_of(path)))


def as_path(path: str | Path) -> Path:
    """Return a path; a `RemotePath` for a URL, also where `Path` has taken one of its slashes."""
    if isinstance(path, RemotePath):
        return path
    return RemotePath(_text_of(path)) if is_remote(path) else Path(path)


def join_path(folder: Path, name: str) -> Path:
    """Return the path that a table in a folder names: a URL, an absolute path, or one below the folder."""
    if is_remote(name) or os.path.isabs(name):  # noqa: PTH117 - it may be a URL
        return as_path(name)
    return RemotePath(folder, name) if isinstance(folder, RemotePath) else folder / name


def shown_text(text: str) -> str:
    """Return a text in which URLs have neither password nor query, such as the message of a library."""
    return _IN_TEXT.sub(_shown_match, text)


class RemotePath(_LocalPath):
    """The path of a file or a folder on another machine.

    It behaves as a path does, and its text is its URL without user, password and query, so that no message, table or
    run folder holds them. `url` is the complete one. Two URLs that differ in nothing else are one path.
    """

    if sys.version_info >= (3, 12):

        def __init__(self, *segments: str | os.PathLike[str]) -> None:
            super().__init__(_collapse(segments))

    else:

        def __new__(cls, *segments: str | os.PathLike[str]) -> RemotePath:
            """Return the path of segments, as `Path` takes them."""
            return super().__new__(cls, _collapse(segments))

    def __str__(self) -> str:
        first, *others = self.parts or ("",)
        return f"{first}//{'/'.join(others)}" if others and first[:-1] in REMOTE_SCHEMES else super().__str__()

    def __fspath__(self) -> str:
        return str(self)

    def __reduce__(self) -> Any:
        return type(self), (self.url,)

    @property
    def scheme(self) -> str:
        """The scheme of the URL, in small letters."""
        return self.parts[0].removesuffix(":")

    @property
    def url(self) -> str:
        """The complete URL, with a password or a signature: for opening it, not for showing it."""
        url = _complete.get(str(self), str(self))
        host = "//".join(self.parts[:2])
        return url.replace("://", f"://{_users[host]}@", 1) if host in _users else url

    def as_posix(self) -> str:
        """Return the URL without password and query."""
        return str(self)

    def is_absolute(self) -> bool:
        """Return True: a URL does not depend on the working folder."""
        return True

    def absolute(self) -> Self:
        """Return the path itself."""
        return self

    def resolve(self, strict: bool = False) -> Self:
        """Return the path itself."""
        return self


def _text_of(path: str | Path) -> str:
    return path.as_posix() if isinstance(path, Path) else str(path)


def _shown_match(match: re.Match[str]) -> str:
    host, path = _without_secrets(match[1].lower(), match[2])
    return f"{match[1]}://{host}{path}"


def _without_secrets(scheme: str, rest: str) -> tuple[str, str]:
    """Return host and path of a URL, given what follows its scheme: no user, and on the web no query."""
    if scheme in _WEB:  # elsewhere a key may have these letters
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    return host.rpartition("@")[2], slash + path


def _collapse(segments: tuple[str | os.PathLike[str], ...]) -> str:
    """Return the text by which pathlib keeps a URL: `s3:/bucket/key`; remember what it leaves out."""
    given = ""
    for each in segments:
        segment = os.fspath(each)
        starts_anew = not given or segment.startswith("/") or _SCHEME.match(segment)
        given = segment if starts_anew else f"{given.rstrip('/')}/{segment}"
    match = _SCHEME.match(given)
    if match is None:
        return given
    scheme, rest = match[1].lower(), given[match.end() :]
    host, path = _without_secrets(scheme, rest)
    user = rest.partition("/")[0].rpartition("@")[0]
    if user:
        _users[f"{scheme}://{host}"] = user
    parts: list[str] = []
    for part in path.removeprefix("/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    name = "/".join((f"{scheme}://{host}", *filter(None, parts)))
    query = rest.partition("/")[2].removeprefix(path.removeprefix("/")) if scheme in _WEB else ""
    complete = "/".join((f"{scheme}://{host}", *parts)).rstrip("/") + query
    if complete != name:  # a query, or two slashes in a row, which are part of a key
        _complete[name] = complete
    return name.replace("://", ":/", 1)
