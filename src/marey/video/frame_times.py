"""Read the timestamps of all frames of a video without decoding them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.remote_path import as_path
from marey.video.limits import Limits
from marey.video.reader import Reader
from marey.video.reading_process import is_apart, read_apart
from marey.video.source import demux, file_state, open_video, translate_errors

_TOLERANCE = 1e-6  # s


def frame_times(path: str | Path, *, limits: Limits = Limits()) -> npt.NDArray[np.float64]:  # noqa: B008 - frozen
    """Return the timestamps of all frames in seconds from the first, (N,), ascending and not writable.

    Packets are read and not decoded. Frames without timestamps are placed by the frame rate. The result is cached
    until the file changes.

    Raises:
        VideoError: the file cannot be used.
    """
    file = as_path(path)
    return _read(file, file_state(file), limits)


@lru_cache(maxsize=256)
def _read(path: Path, _state: tuple[int | str, ...] | None, limits: Limits) -> npt.NDArray[np.float64]:
    if is_apart(limits):
        _, found = read_apart("times", path, limits)
        found.flags.writeable = False
        return found
    with open_video(path, limits) as source:
        reader = Reader(source)  # which finds the timestamp of the first frame
    stated: list[float] = []
    times: npt.NDArray[np.float64]
    count = 0
    with open_video(path, limits) as source, translate_errors(source.path, source.deadline):
        for packet in demux(source, source.stream):
            source.deadline.check()
            if not packet.size or packet.is_discard:
                continue
            count += 1
            pts = packet.pts if packet.pts is not None else packet.dts
            if pts is not None:
                stated.append(reader.to_seconds(pts))
        if len(stated) < count:
            times = np.arange(count, dtype=np.float64) * source.frame_period
        else:
            times = np.unique(np.array([time for time in stated if time >= -_TOLERANCE], dtype=np.float64))
    times.flags.writeable = False
    return times
