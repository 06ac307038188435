"""Write files and folders atomically: complete or not at all, even if the process is killed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from marey.errors import UsageError

TEMP_SUFFIX: Final = ".part"
"""Suffix of temporary names; a file that keeps it was left by a killed process."""


@contextmanager
def atomic_file(path: str | Path, *, single_writer: bool = False) -> Iterator[Path]:
    """Yield a temporary path, which replaces `path` at the end; after an error it is removed.

    Until then, readers of `path` find the previous file. If several processes write one file, the
    last wins.

    Args:
        path: the file; its folder exists.
        single_writer: no other process writes this file at the same time: what a killed process left is
            then overwritten, and does not accumulate.

    Raises:
        OSError: such as a folder without permission; it names `path`.
    """
    path = Path(path)
    temporary = temp_path(path) if single_writer else _unique_path(path)
    try:
        with _errors_about(path, temporary):
            yield temporary
            temporary.replace(path)
    finally:
        with suppress(OSError):  # the first error is raised already
            temporary.unlink(missing_ok=True)


def write_atomic(path: str | Path, content: bytes | str, *, single_writer: bool = False) -> None:
    """Write a file as `atomic_file` does; text as UTF-8, with "?" for what is not text."""
    with atomic_file(path, single_writer=single_writer) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


@contextmanager
def atomic_folder(path: str | Path, *, single_writer: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder, which becomes `path` at the end; after an error it is removed.

    Args:
        path: the folder; it may exist if it is empty. Its parents are created.
        single_writer: as in `atomic_file`.
        overwrite: remove an existing folder with files once the new one is complete.

    Raises:
        UsageError: the path is in use, before anything is written: old and new files must not mix.
        OSError: such as a folder without permission; it names `path`.
    """
    path = Path(path)
    _check_free(path, overwrite)
    temporary = temp_path(path) if single_writer else _unique_path(path)
    before = temporary.with_name(f"{temporary.name}-before")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of a killed process
        with _errors_about(path, temporary):
            temporary.mkdir(parents=True)
            yield temporary
            if overwrite and path.exists():
                path.replace(before)
            elif path.exists():
                path.rmdir()  # fails if another process has put a file there since
            temporary.replace(path)
    finally:
        if before.exists() and not path.exists():
            before.replace(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def check_writable(path: str | Path, *, folder: bool = False) -> None:
    """Check that a path can be written, before the work whose result it will hold.

    Args:
        path: a file or a folder; its parents are created when it is written.
        folder: whether it is a new folder, for `atomic_folder`.

    Raises:
        UsageError: the path is in use, or its first existing parent may not be written to.
    """
    path = Path(path)
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # fails if the name is too long
        if folder:
            _check_free(path)
        elif path.is_dir():
            raise UsageError(f"{path} is a folder: name a file")
        parent = next(parent for parent in path.absolute().parents if parent.exists())
        if not parent.is_dir():
            raise UsageError(f"{path} cannot be written: {parent} is a file, not a folder")
        with TemporaryFile(dir=parent):  # the only test that is valid for every user and file system
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name another place") from error


def temp_path(path: Path) -> Path:
    """Return the temporary path for a file or folder that only one process writes."""
    return path.with_name(f".{path.name}{TEMP_SUFFIX}")


def _check_free(path: Path, overwrite: bool = False) -> None:
    if path.exists() and not (path.is_dir() and (overwrite or not any(path.iterdir()))):
        raise UsageError(f"{path} already exists and is not an empty folder: name another one, or remove it")


def _unique_path(path: Path) -> Path:
    """Return a temporary path for this writer; short, as that of `path` may have maximum length."""
    return path.with_name(f".{secrets.token_hex(8)}{TEMP_SUFFIX}")


@contextmanager
def _errors_about(path: Path, temporary: Path) -> Iterator[None]:
    """Raise errors about the temporary path, or about no path (a full disk), with `path`."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno is not None
        if unnamed or str(error.filename).startswith(str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
