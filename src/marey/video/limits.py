"""Limits on the cost of reading untrusted video."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from marey.errors import UsageError, VideoError

STRANGERS_MEMORY: Final = 1536 << 20
"""Bytes of memory for reading a file that a stranger sent: enough for video of 8192 x 4320 pixels in H.264."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits for reading one file; exceeding one raises a `VideoError`.

    Attributes:
        max_pixels: width x height of a frame (`too_large`).
        max_bytes: size of the file (`too_large`).
        timeout: seconds of wall-clock time of one call; for sources that are played, of the wait
            for each frame (`timeout`).
        max_memory: bytes of memory that reading may take (`too_large`). Files are then read in a
            process of their own, which is ended when it takes too long (`timeout`) or breaks down
            (`corrupt`). None reads them in this process, and memory is not limited. On Windows,
            which cannot limit the memory of a process, a warning says so, and it is as with None.
    """

    max_pixels: int = 8192 * 4320
    max_bytes: int = 64 * 2**30
    timeout: float = 60.0
    max_memory: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes", "timeout", "max_memory"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} has to be more than 0, not {value}")


class Deadline:
    """The time at which reading has to be finished."""

    def __init__(self, path: str | Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Allow the same time again, from now on."""
        self._end = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds until then; negative afterwards."""
        return self._end - time.monotonic()

    def check(self) -> None:
        """Raise `VideoError` (`timeout`) after the deadline."""
        if time.monotonic() > self._end:
            raise timeout_error(self._path, self._seconds)


def timeout_error(path: str | Path, seconds: float) -> VideoError:
    """Return the error of a file whose reading takes longer than it may."""
    return VideoError(path, "timeout", f"reading took longer than the {seconds:g} s that it may take")


def memory_error(path: str | Path, most: int | None = None) -> VideoError:
    """Return the error of a file whose reading takes more bytes than it may, or than there are."""
    if most is None:
        return VideoError(path, "too_large", "there is not enough memory to read what it states")
    return VideoError(
        path, "too_large", f"reading takes more than the {most / 2**20:,.0f} MB of memory that it may take"
    )
