"""Limits on the cost of reading untrusted video."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from marey.errors import UsageError, VideoError


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits for reading one file; exceeding one raises a `VideoError`.

    Attributes:
        max_pixels: width x height of a frame (`too_large`).
        max_bytes: size of the file (`too_large`).
        timeout: seconds of wall-clock time of one call; for sources that are played, of the wait
            for each frame (`timeout`).
    """

    max_pixels: int = 8192 * 4320
    max_bytes: int = 64 * 2**30
    timeout: float = 60.0

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes", "timeout"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} has to be more than 0, not {getattr(self, name)}")


class Deadline:
    """The time at which reading has to be finished."""

    def __init__(self, path: str | Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Allow the same time again, from now on."""
        self._end = time.monotonic() + self._seconds

    def check(self) -> None:
        """Raise `VideoError` (`timeout`) after the deadline."""
        if time.monotonic() > self._end:
            raise VideoError(
                self._path, "timeout", f"reading took longer than the {self._seconds:g} s that it may take"
            )
