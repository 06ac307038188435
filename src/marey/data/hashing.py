"""Hashes of the contents of files and of data sets, independent of their paths."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from marey.data.clip import Clip, Manifest
from marey.errors import UsageError, VideoError
from marey.remote_path import RemotePath, as_path
from marey.video.remote_file import open_binary, remote_state
from marey.video.remote_store import RemoteState

_blake2b = partial(hashlib.blake2b, digest_size=16)
_PIECE: Final = 1 << 20


def content_hash(path: str | Path) -> str:
    """Hash the bytes of a file: BLAKE2b with 128 bits, 32 hexadecimal digits.

    The hash is cached until the file changes. For a file on another machine see `remote_hash`.

    Raises:
        VideoError: the file does not exist, or cannot be read (`missing`, or a reason of its server); it is a device or
            a pipe, which would never end (`not_video`).
    """
    path = as_path(path)
    if isinstance(path, RemotePath):
        return remote_hash(path)
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
            raise VideoError(path, "not_video", "it is a device or a pipe, not a file")
        return _digest(os.fspath(path.absolute()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    except FileNotFoundError as error:
        raise VideoError(path, "missing", "there is no such file") from error
    except OSError as error:
        raise VideoError(path, "missing", f"it cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null character in the path
        raise VideoError(path, "missing", f"it cannot be opened: {error}") from error


@lru_cache(maxsize=1 << 16)
def _digest(path: str, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, _blake2b).hexdigest()


def remote_hash(path: RemotePath) -> str:
    """Hash a file on another machine without reading it: its URL, its size, and the version that its server states.

    The version is the ETag, or what takes its place there; it differs after each change. Where the server states none,
    or `MAREY_REMOTE_HASH` is "content", the whole file is read, and the hash is that of a local file with these bytes.

    Raises:
        VideoError: the file cannot be read, with the reason.
        UsageError: `MAREY_REMOTE_HASH` has another value.
    """
    chosen = os.environ.get("MAREY_REMOTE_HASH") or "version"
    if chosen not in ("version", "content"):
        raise UsageError(f"MAREY_REMOTE_HASH is '{chosen}': set it to version, the default, or to content")
    state = remote_state(path)
    if not state.version:
        return _read_remote(path)
    if chosen == "content":
        return _remote_digest(path, state)
    return values_hash(["remote", str(path), state.size, state.version])


@lru_cache(maxsize=1 << 16)
def _remote_digest(path: RemotePath, _state: RemoteState) -> str:
    return _read_remote(path)


def _read_remote(path: RemotePath) -> str:
    digest = _blake2b()
    with open_binary(path) as file:
        while block := file.read(_PIECE):
            digest.update(block)
    return digest.hexdigest()


def bytes_hash(data: bytes) -> str:
    """Hash bytes as `content_hash` hashes those of a file."""
    return _blake2b(data).hexdigest()


def values_hash(values: object) -> str:
    """Hash a value as JSON, independent of the order of keys."""
    return bytes_hash(json.dumps(values, sort_keys=True).encode())


def data_hash(manifest: Manifest) -> str:
    """Hash a data set: contents, spans, labels, groups and splits, independent of its path and order.

    An unreadable file counts as missing, so that the data set still has a hash, but a different one.
    """
    rows = sorted(json.dumps(_row(clip)) for clip in manifest.clips)
    return bytes_hash("\n".join(rows).encode())


def _row(clip: Clip) -> list[str | float | None]:
    try:
        content = content_hash(clip.path)
    except VideoError as error:
        content = error.reason
    start = None if clip.start is None else float(clip.start)
    end = None if clip.end is None else float(clip.end)
    return [content, clip.label, clip.group, start, end, clip.split]
