"""What became of files that were asked for beside an answer: one that fails costs neither the answer nor the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from marey.errors import MareyError


@dataclass(frozen=True)
class Unwritten:
    """A file or folder that was asked for and could not be written.

    Attributes:
        path: where it would be.
        why: in words.
    """

    path: Path
    why: str

    @classmethod
    def of(cls, path: Path, error: MareyError | OSError) -> Self:
        """Return what to say of an error that came up while `path` was written."""
        return cls(path, (isinstance(error, OSError) and error.strerror) or str(error))

    def __str__(self) -> str:
        return f"{self.path} was not written: {self.why}"


@dataclass(frozen=True)
class Written:
    """What became of the files that were asked for.

    Attributes:
        paths: those that are there.
        failed: those that could not be written.
    """

    paths: tuple[Path, ...] = ()
    failed: tuple[Unwritten, ...] = ()

    def __add__(self, other: Written) -> Written:
        return Written(self.paths + other.paths, self.failed + other.failed)


def written(path: Path, write: Callable[[], None]) -> Written:
    """Write one file or folder; a failure is kept, so that those after it are written all the same."""
    try:
        write()
    except (MareyError, OSError) as error:
        return Written(failed=(Unwritten.of(path, error),))
    return Written((path,))
