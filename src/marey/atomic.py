"""Write files and folders atomically: complete or not at all, even if the process is killed or the power fails."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from marey.errors import UsageError

if sys.platform != "win32":
    import fcntl

TEMP_SUFFIX: Final = ".part"
"""Suffix of temporary names; a file that keeps it was left by a killed process."""

_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}" + re.escape(TEMP_SUFFIX))
_NO_LOCKS: Final = -1  # in place of the descriptor of a lock, where the file system has none
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF})
_cleaned: Final[set[Path]] = set()


@contextmanager
def atomic_file(path: str | Path, *, single_writer: bool = False, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path, which replaces `path` at the end; after an error it is removed.

    Until then, readers of `path` find the previous file. If several processes write one file, the
    last wins. What killed processes have left in the folder is removed.

    Args:
        path: the file; its folder exists.
        single_writer: no other process writes this file at the same time: what a killed process left is
            then overwritten, and does not accumulate.
        durable: wait until the disk has the file before it takes its name, and the name; not for files
            that are checked when they are read and can be made anew.

    Raises:
        OSError: such as a folder without permission; it names `path`.
    """
    path = Path(path)
    temporary = _temporary(path, single_writer)
    try:
        with _errors_about(path, temporary), nullcontext() if single_writer else _held(temporary, temporary.touch):
            yield temporary
            if durable:
                sync(temporary)
            temporary.replace(path)
            if durable:
                sync(path.parent)
    finally:
        with suppress(OSError):  # the first error is raised already
            temporary.unlink(missing_ok=True)


def write_atomic(path: str | Path, content: bytes | str, *, single_writer: bool = False, durable: bool = True) -> None:
    """Write a file as `atomic_file` does; text as UTF-8, with "?" for what is not text."""
    with atomic_file(path, single_writer=single_writer, durable=durable) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


@contextmanager
def atomic_folder(path: str | Path, *, single_writer: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder, which becomes `path` at the end; after an error it is removed.

    The disk has all of its files before it takes its name.

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
    temporary = _temporary(path, single_writer)
    before = _before(temporary)

    def create() -> None:
        temporary.mkdir(parents=True, exist_ok=True)

    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of a killed process
        with _errors_about(path, temporary), nullcontext() if single_writer else _held(temporary, create):
            create()
            yield temporary
            for each in (*temporary.rglob("*"), temporary):
                sync(each)
            if overwrite and path.exists():
                path.replace(before)
            elif path.exists():
                path.rmdir()  # fails if another process has put a file there since
            temporary.replace(path)
            sync(path.parent)
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


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder; file systems that cannot say so are believed.

    Raises:
        OSError: the disk is full or broken; it names `path`.
    """
    windows = sys.platform == "win32"
    if windows and path.is_dir():  # has no handles of folders
        return
    try:
        descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    except PermissionError:  # it may be written and not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def temp_path(path: Path) -> Path:
    """Return the temporary path for a file or folder that only one process writes."""
    return path.with_name(f".{path.name}{TEMP_SUFFIX}")


def _check_free(path: Path, overwrite: bool = False) -> None:
    if path.exists() and not (path.is_dir() and (overwrite or not any(path.iterdir()))):
        raise UsageError(f"{path} already exists and is not an empty folder: name another one, or remove it")


def _temporary(path: Path, single_writer: bool) -> Path:
    """Return a temporary path; of several writers each has its own, short as that of `path` may have maximum length."""
    return temp_path(path) if single_writer else path.with_name(f".{secrets.token_hex(8)}{TEMP_SUFFIX}")


@contextmanager
def _held(temporary: Path, create: Callable[[], None]) -> Iterator[None]:
    """Make a temporary path of one of several writers, and hold a lock on it, which ends with the process.

    The first time in a folder, what is there without a lock is removed.
    """
    _remove_leftovers(temporary.parent)
    while True:
        create()
        lock = _lock(temporary)
        if lock is not None and temporary.exists():  # and no other process took it for a leftover meanwhile
            break
        _unlock(lock)
    try:
        yield
    finally:
        _unlock(lock)


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders that no process holds, once a process and folder."""
    if folder in _cleaned or sys.platform == "win32":
        return
    _cleaned.add(folder)
    with suppress(OSError), os.scandir(folder) as entries:
        for path in [Path(entry.path) for entry in entries if _TEMPORARY.fullmatch(entry.name)]:
            if _before(path).exists():  # the only copy of a folder that was being replaced
                continue
            lock = _lock(path)
            if lock not in (None, _NO_LOCKS):
                with suppress(OSError):
                    _remove(path)
            _unlock(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _lock(path: Path) -> int | None:
    """Lock a file or a folder, and return its descriptor; None where another process holds it or it is gone."""
    if sys.platform == "win32":
        return _NO_LOCKS
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError:
        return _NO_LOCKS
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if isinstance(error, BlockingIOError) else _NO_LOCKS
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None and lock != _NO_LOCKS:
        os.close(lock)


def _before(temporary: Path) -> Path:
    """Return the name of the old folder while a new one takes its place."""
    return temporary.with_name(f"{temporary.name}-before")


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
