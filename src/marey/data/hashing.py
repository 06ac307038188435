"""Hashes of the contents of files and of data sets, independent of their paths."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache, partial
from pathlib import Path

from marey.data.clip import Clip, Manifest
from marey.errors import VideoError

_blake2b = partial(hashlib.blake2b, digest_size=16)


def content_hash(path: str | Path) -> str:
    """Hash the bytes of a file: BLAKE2b with 128 bits, 32 hexadecimal digits.

    The hash is cached until the file changes.

    Raises:
        VideoError: the file does not exist, or cannot be read (`missing`).
    """
    path = Path(path)
    try:
        state = path.stat()
        return _digest(os.fspath(path.absolute()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    except FileNotFoundError as error:
        raise VideoError(path, "missing", "there is no such file") from error
    except OSError as error:
        raise VideoError(path, "missing", f"it cannot be read: {error.strerror}") from error


@lru_cache(maxsize=1 << 16)
def _digest(path: str, inode: int, size: int, mtime_ns: int, ctime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, _blake2b).hexdigest()


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
