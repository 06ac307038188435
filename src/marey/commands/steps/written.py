"""Requested output files: one that fails affects neither the answer nor the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from marey.errors import MareyError


@dataclass(frozen=True)
class Unwritten:
    """A requested file or folder that could not be written.

    Attributes:
        path: its path.
        why: the reason in words.
    """

    path: Path
    why: str

    @classmethod
    def of(cls, path: Path, error: MareyError | OSError) -> Self:
        """Return the failure of an error that was raised while `path` was written."""
        return cls(path, (isinstance(error, OSError) and error.strerror) or str(error))

    def __str__(self) -> str:
        return f"{self.path} was not written: {self.why}"


@dataclass(frozen=True)
class Written:
    """Requested files, written and failed.

    Attributes:
        paths: files that were written.
        failed: files that could not be written.
    """

    paths: tuple[Path, ...] = ()
    failed: tuple[Unwritten, ...] = ()

    def __add__(self, other: Written) -> Written:
        return Written(self.paths + other.paths, self.failed + other.failed)


def written(path: Path, write: Callable[[], None]) -> Written:
    """Write one file or folder; a failure is kept, so that the following ones are still written."""
    try:
        write()
    except (MareyError, OSError) as error:
        return Written(failed=(Unwritten.of(path, error),))
    return Written((path,))
