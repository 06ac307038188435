"""Downloads that are resumed after an interruption and checked before they are used."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from marey.atomic import write_atomic
from marey.data.text import format_bytes
from marey.errors import DatasetError

OnProgress = Callable[[str, int, int], None]
"""Called with the name of the step, the bytes done, and the total number of bytes (0 if unknown)."""

RECORD: Final = "downloads.json"
"""The file beside the data with the SHA-256 of every download."""

_BLOCK: Final = 1 << 20
_TIMEOUT: Final = 60.0  # s without a byte
_RECONNECTIONS: Final = 20
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)  # never from a network
_SIGNATURES: Final = {".zip": b"PK", ".rar": b"Rar!\x1a\x07"}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: its local name.
        urls: its URLs; a later one is tried if those before it fail.
        size: bytes, if known for certain.
        sha256: hexadecimal, if known for certain. Otherwise the first download is trusted and recorded, and every
            later one has to be the same.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Note:
    """The origin of a partial download, kept beside it, so that it is never completed from another file."""

    url: str
    validator: str | None
    total: int | None


class DownloadError(DatasetError):
    """A file that cannot be downloaded, or that differs from the published one."""


class _UnavailableError(Exception):
    """A URL that does not deliver the file, or the rest of it."""


class _WrongRangeError(Exception):
    """A server that sends another part of the file than the one requested."""


def download(file: RemoteFile, folder: Path, *, record: Path, on_progress: OnProgress) -> Path:
    """Download a file into a folder; it appears there only when it is complete.

    A partial download is kept under another name, and the next call resumes it (HTTP `Range` with `If-Range`) unless
    the file on the server has changed.

    Args:
        file: the file to download.
        folder: created if needed.
        record: the JSON file of earlier downloads; this download is added.
        on_progress: called with the numbers of received and of checked bytes.

    Raises:
        DownloadError: no URL delivers the file, or the file is not the published one.
        DatasetError: the disk is full.
    """
    target = folder / file.name
    if target.is_file():
        return target  # it was checked before it was renamed
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part, note = folder / f".{file.name}.part", folder / f".{file.name}.json"
        failures = []
        for url in file.urls:
            try:
                _fetch(url, file, part, note, on_progress)
            except _UnavailableError as failure:
                failures.append(f"{url}: {failure}")
                continue
            try:
                digest = check(part, file, record=record, on_progress=on_progress)
            except DatasetError as error:
                part.unlink()
                note.unlink(missing_ok=True)
                raise DownloadError(str(error)) from error
            remember(record, file.name, digest)
            part.replace(target)
            note.unlink(missing_ok=True)
            return target
    except OSError as error:
        raise DatasetError(f"{file.name} cannot be kept in {folder}: {error.strerror}") from error
    kept = (
        f"; {format_bytes(part.stat().st_size)} are kept, and the same command resumes from there"
        if _size(part)
        else ""
    )
    raise DownloadError(f"{file.name} cannot be downloaded ({'; '.join(failures)}){kept}")


def check(path: Path, file: RemoteFile, *, record: Path, on_progress: OnProgress) -> str:
    """Check that a file is the published one, and return its SHA-256.

    Raises:
        DatasetError: its size, its kind or its hash differs.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise DatasetError(f"{path} has {size} bytes, and {file.name} has {file.size}: it is cut off, or another file")
    signature = _SIGNATURES.get(Path(file.name).suffix, b"")
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as stream:
        first = stream.read(_BLOCK)
        if not first.startswith(signature) or not first:
            kind = Path(file.name).suffix[1:]
            raise DatasetError(
                f"the download {file.name} is no {kind} file (it begins with {first[:16]!r}): it is something else, "
                "such as a page that says that the file has moved"
            )
        block = first
        while block:
            digest.update(block)
            done += len(block)
            on_progress(f"checking {file.name}", done, size)
            block = stream.read(_BLOCK)
    actual = digest.hexdigest()
    if file.sha256 is not None and actual != file.sha256:
        raise DatasetError(
            f"{file.name} has the SHA-256 {actual}, and the published file has {file.sha256}: it is damaged or was "
            "changed on its way; get another copy"
        )
    expected = _recorded(record).get(file.name)
    if file.sha256 is None and expected not in (None, actual):
        raise DatasetError(
            f"{file.name} has the SHA-256 {actual}, and had {expected} when it was first downloaded: if its publisher "
            f"confirms the change, remove its line from {record}"
        )
    return actual


def remember(record: Path, name: str, digest: str | None) -> None:
    """Record the hash of a download, or remove it if `digest` is None."""
    known = _recorded(record)
    known.pop(name, None)
    if digest is not None:
        known[name] = digest
    record.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(record, json.dumps(known, indent=2, sort_keys=True) + "\n")


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise a DatasetError if the disk of `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(
            f"{purpose} needs {format_bytes(needed)}, and {folder} has {format_bytes(free)} free: make room, or set "
            "MAREY_DATA to a folder on a larger disk"
        )


def _fetch(url: str, file: RemoteFile, part: Path, note: Path, on_progress: OnProgress) -> None:
    """Receive the file into `part`; reconnect as long as every connection delivers some bytes."""
    longest = _size(part)
    for _ in range(_RECONNECTIONS):
        try:
            _receive(url, file, part, note, on_progress)
        except _WrongRangeError:
            part.unlink(missing_ok=True)
            longest = 0
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # the partial download is longer than the file on the server
                part.unlink(missing_ok=True)
                longest = 0
                continue
            raise _UnavailableError(f"the server answers {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise _UnavailableError(str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise DatasetError(
                    f"{file.name} cannot be kept in {part.parent}: {error.strerror}; make room, or set MAREY_DATA to a "
                    "folder on a larger disk: the partial download is kept, and the same command resumes it"
                ) from error
            if _size(part) <= longest:
                raise _UnavailableError(str(error) or type(error).__name__) from error
            longest = _size(part)
        else:
            return
    raise _UnavailableError(f"the connection broke {_RECONNECTIONS} times")


def _receive(url: str, file: RemoteFile, part: Path, note: Path, on_progress: OnProgress) -> None:
    """Receive the file, or the rest of it, over one connection; raise ConnectionError if it is incomplete."""
    headers = {"User-Agent": f"marey/{version('marey')}", "Accept-Encoding": "identity"}
    received, known = _size(part), _read_note(note)
    if received and known is not None and known.url == url and (known.validator or file.sha256):
        headers["Range"] = f"bytes={received}-"
        if known.validator:
            headers["If-Range"] = known.validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the registry's URLs
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        resumed = response.status == 206
        if resumed and (
            content_range is None
            or int(content_range[1]) != received
            or (known and known.total not in (None, int(content_range[2])))
        ):
            raise _WrongRangeError
        done = received if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        if file.size is not None and total not in (None, file.size):
            raise _UnavailableError(f"the server offers {total} bytes, and {file.name} has {file.size}")
        require_space(part.parent, (total or file.size or done) - done, f"downloading {file.name}")
        validator = response.headers.get("ETag", "")
        if not validator or validator.startswith("W/"):  # a weak ETag does not identify bytes
            validator = response.headers.get("Last-Modified")
        note.write_text(json.dumps(asdict(_Note(url, validator, total))), encoding="utf-8")
        with part.open("ab" if resumed else "wb") as stream:
            while block := response.read(_BLOCK):
                stream.write(block)
                done += len(block)
                on_progress(f"downloading {file.name}", done, total or file.size or 0)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke after {done} of {total} bytes")


def _read_note(note: Path) -> _Note | None:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return _Note(str(known["url"]), known["validator"], known["total"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _recorded(record: Path) -> dict[str, str]:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DatasetError(f"{record} cannot be read ({error}): repair or remove it") from error
    if not isinstance(known, dict):
        raise DatasetError(f"{record} is no record of downloads: remove it")
    return {str(name): str(digest) for name, digest in known.items()}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
