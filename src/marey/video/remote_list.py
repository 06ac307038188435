"""Lists of files on other machines: those below a folder, and those that match a pattern."""

from __future__ import annotations

from typing import Final

from marey.errors import DatasetError
from marey.remote_path import RemotePath
from marey.video.remote_errors import translated
from marey.video.remote_store import store_of

_TIMEOUT: Final = 600.0  # s: a thousand names come with each request


def list_remote(folder: RemotePath) -> list[RemotePath]:
    """Return all files below a folder, sorted.

    Raises:
        DatasetError: it cannot be listed, with the reason.
    """
    with translated(folder, DatasetError, "listed"):
        return [RemotePath(name) for name in store_of(folder).list_files(folder, _TIMEOUT)]


def match_remote(pattern: RemotePath) -> list[RemotePath]:
    """Return the files that match a pattern with `*`, `?` or `[...]`, sorted.

    Raises:
        DatasetError: they cannot be listed, with the reason.
    """
    with translated(pattern, DatasetError, "listed"):
        return [RemotePath(name) for name in store_of(pattern).match(pattern, _TIMEOUT)]


def is_remote_folder(path: RemotePath) -> bool:
    """Return whether there are files below a path, and none of that very name.

    Raises:
        DatasetError: the server cannot be asked, with the reason.
    """
    with translated(path, DatasetError, "listed"):
        return store_of(path).is_folder(path, _TIMEOUT)
