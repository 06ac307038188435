"""Files on other machines that are written: whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from marey.errors import UsageError
from marey.remote_path import RemotePath
from marey.video.remote_errors import translated
from marey.video.remote_store import store_of

_TIMEOUT: Final = 600.0  # s


def write_remote(path: RemotePath, content: bytes) -> None:
    """Write a file in an object store.

    Raises:
        UsageError: it cannot be written, with the reason.
    """
    with _writing(path):
        store_of(path).write(path, content, _TIMEOUT)


def remove_remote(path: RemotePath) -> None:
    """Remove a file in an object store.

    Raises:
        UsageError: it cannot be removed, with the reason.
    """
    with _writing(path):
        store_of(path).remove(path, _TIMEOUT)


@contextmanager
def _writing(path: RemotePath) -> Iterator[None]:
    if path.scheme in ("http", "https"):
        raise UsageError(f"{path} cannot be written: a web server takes no files; name a folder, or one of s3://")
    with translated(path, UsageError, "written"):
        yield
