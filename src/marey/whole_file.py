"""Files and folders that are there whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from marey.errors import UsageError

PART: Final = ".part"
"""What a name ends in while it is written; one that stays was left by a process that was killed."""


@contextmanager
def whole_file(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the `with` ends; after an error nothing of it is left.

    Whoever reads `path` meanwhile finds what was there before. Several may write one file: the last one's stays.

    Args:
        path: the file; its folder is there.
        alone: nobody else writes this file at the same time: what a killed process has left is then written over, and
            does not pile up.

    Raises:
        OSError: the folder may not be written to, for one; it names `path`.
    """
    part = part_of(path) if alone else _own_part(path)
    try:
        with _errors_about(path, part):
            yield part
            part.replace(path)
    finally:
        with suppress(OSError):  # what went wrong is on its way already
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, *, alone: bool = False) -> None:
    """Write a file as `whole_file` does; text as UTF-8, with a ? for what is none: a file name may hold such bytes."""
    with whole_file(path, alone=alone) as part:
        part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


@contextmanager
def whole_folder(path: Path, *, alone: bool = False, replacing: bool = False) -> Iterator[Path]:
    """An empty folder to fill, which takes the name `path` when the `with` ends; after an error nothing of it is left.

    Args:
        path: the folder, or nothing yet; the folders above it are made.
        alone: as in `whole_file`.
        replacing: a folder that is there goes once the new one is whole; by default it has to be an empty one.

    Raises:
        UsageError: something is in the way, before anything is written: old files among new ones could not be told
            apart.
        OSError: the folder may not be written to, for one; it names `path`.
    """
    _check_room(path, replacing=replacing)
    part = part_of(path) if alone else _own_part(path)
    before = part.with_name(f"{part.name}-before")
    try:
        shutil.rmtree(part, ignore_errors=True)  # a killed run's
        with _errors_about(path, part):
            part.mkdir(parents=True)
            yield part
            if replacing and path.exists():
                path.replace(before)
            elif path.exists():
                path.rmdir()  # which fails where somebody has put something there since
            part.replace(path)
    finally:
        if before.exists() and not path.exists():
            before.replace(path)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Refuse a path that could not be written to, before the work whose result it is to hold.

    Args:
        path: a file or a folder; the folders above it are made when it is written.
        folder: whether it is a new folder, as `whole_folder` makes it.

    Raises:
        UsageError: something is in the way, or the first folder above it that exists may not be written to.
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # a name that is too long fails here
        if folder:
            _check_room(path)
        elif path.is_dir():
            raise UsageError(f"{path} is a folder: name a file")
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir():
            raise UsageError(f"{path} cannot be written: {above} is a file, and no folder")
        with TemporaryFile(dir=above):  # the only answer that holds for every user and every file system
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; name another place") from error


def part_of(path: Path) -> Path:
    """Where `path` is written while only one process writes it."""
    return path.with_name(f".{path.name}{PART}")


def _check_room(path: Path, *, replacing: bool = False) -> None:
    if path.exists() and not (path.is_dir() and (replacing or not any(path.iterdir()))):
        raise UsageError(f"{path} is there already, and is no empty folder: name another one, or remove it")


def _own_part(path: Path) -> Path:
    """A place for this writer alone; its name is short, since that of `path` may have all letters a name may have."""
    return path.with_name(f".{secrets.token_hex(8)}{PART}")


@contextmanager
def _errors_about(path: Path, part: Path) -> Iterator[None]:
    """Errors about the place that `path` is written in become errors about `path`; a full disk names no file."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno is not None
        if unnamed or str(error.filename).startswith(str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
