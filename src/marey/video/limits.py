"""What a video from a stranger may cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from marey.errors import UsageError, VideoError


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that reading one file may cost; what asks for more ends in a `VideoError`.

    Attributes:
        max_pixels: width x height of a picture (`too_large`).
        max_bytes: size of the file (`too_large`).
        timeout: seconds of wall-clock time of one call, and of the wait for each frame where a source is played
            (`timeout`).
    """

    max_pixels: int = 8192 * 4320
    max_bytes: int = 64 * 2**30
    timeout: float = 60.0

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes", "timeout"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} has to be more than 0, not {getattr(self, name)}")


class Deadline:
    """The moment at which reading has to be over."""

    def __init__(self, path: str | Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def restart(self) -> None:
        """Grant the same time once more, from now on."""
        self._end = time.monotonic() + self._seconds

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self._end

    def check(self) -> None:
        """Raise `VideoError` (`timeout`) once the time is up."""
        if time.monotonic() > self._end:
            raise VideoError(
                self._path, "timeout", f"reading took longer than the {self._seconds:g} s that it may take"
            )
