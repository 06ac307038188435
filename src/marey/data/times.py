"""Times and frame numbers as people write them, in seconds."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

from marey.errors import UsageError
from marey.video.frame_times import frame_times
from marey.video.probe import probe

START_COLUMNS: Final = ("start", "begin", "start_time", "start_seconds", "time_start")
"""Names of the column of the starts of clips in lists of other programs."""
END_COLUMNS: Final = ("end", "stop", "end_time", "end_seconds", "time_end")
"""Names of the column of their ends, likewise."""
FRAME_COLUMNS: Final = ("start_frame", "end_frame")
"""Columns of the first and the last frame of a clip, counted from 0."""
FRAMES_CONVERTED: Final = (
    "start_frame and end_frame are converted to seconds by the timestamps of each file; frames count from 0, and the "
    "end frame belongs to the clip"
)
"""Remark on lists with such columns."""

_CLOCK: Final = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,12})?)")
_PLAIN: Final = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")


def parse_seconds(text: str) -> float | None:
    """Return seconds written as a number (12.5) or as a clock shows them (1:02.5, 00:01:02,500); None for all else."""
    text = text.strip()
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock[1], int(clock[2]), float(clock[3].replace(",", "."))
        if seconds >= 60 or (hours is not None and minutes >= 60):
            return None
        return 3600 * int(hours or 0) + 60 * minutes + seconds
    value = float(text) if _PLAIN.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def parse_frame(text: str) -> int | None:
    """Return the number of a frame; None for what is no whole number from 0."""
    value = parse_seconds(text) if ":" not in text else None
    return int(value) if value is not None and value.is_integer() and 0 <= value < 2**53 else None


def seconds_of_frames(path: Path, first: int, last: int, *, frame_rate: float | None = None) -> tuple[float, float]:
    """Return the span in seconds, `[start, end)`, from the first to the last of some frames, by the file's timestamps.

    Args:
        path: the video.
        first: number of the first frame; frames count from 0 in the order in which they are shown.
        last: number of the last frame, which belongs to the span.
        frame_rate: frames per second at which the frames were counted, where it is not the file's own rate.

    Raises:
        UsageError: there are no such frames; the message is the end of a sentence about the clip.
        VideoError: the file cannot be used.
    """
    if first < 0 or last < first:
        raise UsageError(f"has the frames {first} to {last}: frames count from 0, and the last one belongs to the clip")
    if frame_rate is not None:
        start, end = first / frame_rate, (last + 1) / frame_rate
        if start >= (duration := probe(path).duration):
            raise UsageError(f"begins with frame {first}, at {start:g} s, and the file lasts {duration:.3f} s")
        return start, min(end, duration)
    times = frame_times(path)
    # The frame behind the last one is the end of a span that was written without its last frame.
    if first >= len(times) or last > len(times):
        raise UsageError(
            f"has the frames {first} to {last}, and the file has {len(times)}: if they were counted at another frame "
            "rate, state it (marey data import --frame-rate)"
        )
    return float(times[first]), float(times[last + 1]) if last + 1 < len(times) else probe(path).duration
