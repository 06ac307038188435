"""Files that are there whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PART: Final = ".part"
"""What the name of a file ends in while it is written; one that stays was left by a process that was killed."""


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
    part = part_of(path) if alone else path.with_name(f".{secrets.token_hex(8)}{PART}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.filename is not None and str(error.filename) == str(part):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(OSError):  # what went wrong is on its way already
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, *, alone: bool = False) -> None:
    """Write a file as `whole_file` does; text as UTF-8, with a ? for what is none: a file name may hold such bytes."""
    with whole_file(path, alone=alone) as part:
        part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


def part_of(path: Path) -> Path:
    """Where `path` is written while only one process writes it."""
    return path.with_name(f".{path.name}{PART}")
