"""Downloads: taken up where they broke, and checked before they count."""

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

from marey.atomic import write_whole
from marey.errors import DatasetError

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, the bytes that are done, and how many there are (0 where nobody knows)."""

RECORD: Final = "downloads.json"
"""The SHA-256 of every file that was downloaded, beside the data."""

_BLOCK: Final = 1 << 20
_TIMEOUT: Final = 60.0  # s without a byte
_RECONNECTIONS: Final = 20
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)  # no network says these
_SIGNATURES: Final = {".zip": b"PK", ".rar": b"Rar!\x1a\x07"}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its publisher offers it.

    Attributes:
        name: what it is called here.
        urls: where it lies; the later ones are asked where the earlier ones fail.
        size: bytes, where they are known for certain.
        sha256: hexadecimal, where it is known for certain. Where it is not, the first download is trusted and
            recorded, and every later one has to be the same.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Note:
    """What a half download is half of: kept beside it, so that it is never joined with another file's end."""

    url: str
    validator: str | None
    total: int | None


class DownloadError(DatasetError):
    """A file is not to be had, or is not the one that was published."""


class _UnavailableError(Exception):
    """This address does not give the file, or no more of it."""


class _OtherPartError(Exception):
    """What the server sends does not go on where the held part ends."""


def download(file: RemoteFile, folder: Path, *, record: Path, on_progress: OnProgress) -> Path:
    """Download a file into a folder, where it appears whole or not at all.

    What was received of a broken download stays beside it under another name, and the next call goes on from
    there (HTTP `Range` with `If-Range`), unless the server has another file by then.

    Args:
        file: what to download, and what is known of it.
        folder: made if needed.
        record: the JSON file of what was downloaded before; this download is added.
        on_progress: hears of received and of checked bytes.

    Raises:
        DownloadError: no address gives the file, or what they give is not what it should be.
        DatasetError: the disk is full.
    """
    target = folder / file.name
    if target.is_file():
        return target  # it was checked before it got its name
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
    kept = f"; {in_words(part.stat().st_size)} are kept, and the same command goes on from there" if _size(part) else ""
    raise DownloadError(f"{file.name} cannot be downloaded ({'; '.join(failures)}){kept}")


def check(path: Path, file: RemoteFile, *, record: Path, on_progress: OnProgress) -> str:
    """Check that a file is the one that was published, and return its SHA-256.

    Raises:
        DatasetError: its size, its kind or its hash is another one.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise DatasetError(f"{path} has {size} bytes, and {file.name} has {file.size}: it is cut off, or another file")
    signature = _SIGNATURES.get(Path(file.name).suffix, b"")
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as opened:
        first = opened.read(_BLOCK)
        if not first.startswith(signature) or not first:
            kind = Path(file.name).suffix[1:]
            raise DatasetError(
                f"what came as {file.name} is no {kind} file (it begins with {first[:16]!r}): it is something else, "
                "such as a page that says that the file has moved"
            )
        block = first
        while block:
            digest.update(block)
            done += len(block)
            on_progress(f"checking {file.name}", done, size)
            block = opened.read(_BLOCK)
    found = digest.hexdigest()
    if file.sha256 is not None and found != file.sha256:
        raise DatasetError(
            f"{file.name} has the SHA-256 {found}, and what was published has {file.sha256}: it is damaged, or "
            "was changed on its way, and another copy of it is needed"
        )
    first_time = _recorded(record).get(file.name)
    if file.sha256 is None and first_time not in (None, found):
        raise DatasetError(
            f"{file.name} has the SHA-256 {found}, and had {first_time} when it was first downloaded: if its publisher "
            f"says that it was changed, take its line out of {record}"
        )
    return found


def remember(record: Path, name: str, digest: str | None) -> None:
    """Write down the hash of a download, or with None forget it."""
    known = _recorded(record)
    known.pop(name, None)
    if digest is not None:
        known[name] = digest
    record.parent.mkdir(parents=True, exist_ok=True)
    write_whole(record, json.dumps(known, indent=2, sort_keys=True) + "\n")


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise a DatasetError where a disk has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(
            f"{purpose} needs {in_words(needed)}, and {folder} has {in_words(free)} free: make room, or set "
            "MAREY_DATA to a folder on a larger disk"
        )


def in_words(size: int) -> str:
    """Bytes as a person reads them, as in '6.9 GB'."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _fetch(url: str, file: RemoteFile, part: Path, note: Path, on_progress: OnProgress) -> None:
    """Receive the file into `part`, over as many connections as it takes while each brings something."""
    most = _size(part)
    for _ in range(_RECONNECTIONS):
        try:
            _receive(url, file, part, note, on_progress)
        except _OtherPartError:
            part.unlink(missing_ok=True)
            most = 0
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # what is held is no beginning of what the server has
                part.unlink(missing_ok=True)
                most = 0
                continue
            raise _UnavailableError(f"the server answers {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise _UnavailableError(str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise DatasetError(
                    f"{file.name} cannot be kept in {part.parent}: {error.strerror}; make room, or set MAREY_DATA to a "
                    "folder on a larger disk: what was received stays, and the same command goes on from there"
                ) from error
            if _size(part) <= most:
                raise _UnavailableError(str(error) or type(error).__name__) from error
            most = _size(part)
        else:
            return
    raise _UnavailableError(f"the connection broke {_RECONNECTIONS} times")


def _receive(url: str, file: RemoteFile, part: Path, note: Path, on_progress: OnProgress) -> None:
    """Receive what one connection brings; a ConnectionError where that is not all."""
    headers = {"User-Agent": f"marey/{version('marey')}", "Accept-Encoding": "identity"}
    held, known = _size(part), _read_note(note)
    if held and known is not None and known.url == url and (known.validator or file.sha256):
        headers["Range"] = f"bytes={held}-"
        if known.validator:
            headers["If-Range"] = known.validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the catalog's addresses
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        goes_on = response.status == 206
        if goes_on and (span is None or int(span[1]) != held or (known and known.total not in (None, int(span[2])))):
            raise _OtherPartError
        done = held if goes_on else 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        if file.size is not None and total not in (None, file.size):
            raise _UnavailableError(f"the server offers {total} bytes, and {file.name} has {file.size}")
        require_space(part.parent, (total or file.size or done) - done, f"downloading {file.name}")
        validator = response.headers.get("ETag", "")
        if not validator or validator.startswith("W/"):  # a weak one does not speak for bytes
            validator = response.headers.get("Last-Modified")
        note.write_text(json.dumps(asdict(_Note(url, validator, total))), encoding="utf-8")
        with part.open("ab" if goes_on else "wb") as opened:
            while block := response.read(_BLOCK):
                opened.write(block)
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
        raise DatasetError(f"{record} cannot be read ({error}): mend it, or remove it") from error
    if not isinstance(known, dict):
        raise DatasetError(f"{record} is no record of downloads: remove it")
    return {str(name): str(digest) for name, digest in known.items()}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
